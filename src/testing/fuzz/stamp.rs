//! Putting in what names a format: magic numbers, versions, a page size. Taken from encodings of the real thing.

use crate::format::bundle::{Content, FRONT_SIZE, ObjectBuilder, Summary, TRAILER_SIZE};
use crate::format::footer::Footer;
use crate::format::meta::{META_SLOT_SIZE, Meta};
use crate::format::restore_journal::{Progress, RESTORE_SLOT_SIZE};
use crate::format::segment_header::{SEAL_OFFSET, Seal, SegmentHeader};
use crate::format::segment_index::encode_index;
use crate::types::{Level, LogId, PageSize};

const LOG: LogId = LogId(uuid::Uuid::from_u128(7));

fn page_size() -> PageSize {
    PageSize::new(512).unwrap_or_else(|| unreachable!("512 is a page size"))
}

/// The bytes of `whole` from `from` on, `len` of them, at `at`.
fn copy(bytes: &mut [u8], at: usize, whole: &[u8], from: usize, len: usize) {
    if let Some(place) = bytes.get_mut(at..at + len) {
        place.copy_from_slice(&whole[from..from + len]);
    }
}

/// Magic, version and page size of the header, and the magic of the seal.
pub fn segment(bytes: &mut [u8]) {
    let header = SegmentHeader {
        log_id: LOG,
        page_size: page_size(),
        start_frame_no: 1,
        created_us: 0,
        salt: 0,
        previous_crc: 0,
    };
    copy(bytes, 0, &header.encode_head(), 0, 16);
    let seal = Seal { end_frame_no: 1, sealed_us: 0, last_crc: 0, index_crc: 0 };
    copy(bytes, SEAL_OFFSET, &seal.encode(&header), 0, 8);
}

pub fn segment_index(bytes: &mut [u8]) {
    copy(bytes, 0, &encode_index(&[]), 0, 8);
}

pub fn footer(bytes: &mut [u8]) {
    let footer = Footer {
        frame_no: 0,
        log_id: LOG,
        page_size: page_size(),
        db_size_pages: 1,
        change_counter: 0,
        version_valid_for: 0,
        commit_us: 0,
        parent: None,
    };
    copy(bytes, 0, &footer.encode(), 0, 10);
}

pub fn meta(bytes: &mut [u8]) {
    let meta = Meta {
        sequence: 0,
        log_id: LOG,
        page_size: page_size(),
        checkpointed_frame_no: 0,
        intent_frame_no: 0,
        db_size_pages: 0,
        change_counter: 0,
        version_valid_for: 0,
        has_footer: false,
        commit_us: 0,
        parent: None,
        stored: Default::default(),
        places: Default::default(),
    };
    for at in [0, META_SLOT_SIZE] {
        copy(bytes, at, &meta.encode(), 0, 16);
    }
}

pub fn restore_journal(bytes: &mut [u8]) {
    let slot = Progress { sequence: 0, group: 0, done_page_no: 0 }.encode("");
    for at in [0, RESTORE_SLOT_SIZE] {
        copy(bytes, at, &slot, 0, 12);
    }
}

pub fn database_header(bytes: &mut [u8]) {
    copy(bytes, 0, b"SQLite format 3\0", 0, 16);
}

/// The front of an object, and of its trailer the page size, and from the level on everything that is not a count.
pub fn bundle(bytes: &mut [u8]) {
    let summary = Summary {
        log_id: LOG,
        level: Level::ZERO,
        content: Content::EveryFrame,
        start_frame_no: 1,
        end_frame_no: 1,
        db_size_pages: 1,
        nonce: 0,
    };
    let (object, _) = ObjectBuilder::new(page_size()).finish(&summary, 0);
    copy(bytes, 0, &object, 0, FRONT_SIZE);
    if let Some(trailer) = bytes.len().checked_sub(TRAILER_SIZE) {
        copy(bytes, trailer + 136, &object, FRONT_SIZE + 136, 4);
        copy(bytes, trailer + 148, &object, FRONT_SIZE + 148, TRAILER_SIZE - 148);
    }
}
