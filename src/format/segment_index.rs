//! The index of a sealed segment: of which page each of its frames is.
//!
//! It is written behind the frames when the segment is sealed, and recovery reads it instead of the frames. It has no
//! checksum of its own: that stands in the seal, so a seal that is whole belongs to one index and to no other.

use zerocopy::byteorder::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Problem, crc32};

const MAGIC: [u8; 8] = *b"VWALINDX";

/// The index begins at a multiple of this, so that writing it touches no block of the disk that holds a frame: the frames
/// are durable by then, and a torn write must not reach them.
pub const INDEX_ALIGN: u64 = 4096;
/// Bytes before the first record.
pub const INDEX_MAGIC_SIZE: usize = MAGIC.len();
/// Bytes of a record.
pub const INDEX_RECORD_SIZE: usize = 8;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawMark {
    page_no: U32,
    db_size_pages: U32,
}

const _: () = {
    assert!(size_of::<RawMark>() == INDEX_RECORD_SIZE);
    assert!(std::mem::offset_of!(RawMark, db_size_pages) == 4);
};

/// What the log remembers of a frame: eight bytes per frame of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMark {
    /// The page.
    pub page_no: u32,
    /// For a commit frame the size of the database in pages, else 0.
    pub db_size_pages: u32,
}

/// Where the index of a segment is whose frames end at `frames_end`.
pub fn index_offset(frames_end: u64) -> u64 {
    frames_end.next_multiple_of(INDEX_ALIGN)
}

/// Bytes of the index of so many frames.
pub fn index_size(frames: u64) -> u64 {
    frames.saturating_mul(INDEX_RECORD_SIZE as u64).saturating_add(INDEX_MAGIC_SIZE as u64)
}

/// The bytes of the index of a segment with these frames.
pub fn encode_index(marks: &[FrameMark]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_index(marks, &mut bytes);
    bytes
}

/// Append the index of a segment with these frames: [`index_size`] bytes.
pub fn append_index(marks: &[FrameMark], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&MAGIC);
    for mark in marks {
        let raw = RawMark { page_no: mark.page_no.into(), db_size_pages: mark.db_size_pages.into() };
        bytes.extend_from_slice(raw.as_bytes());
    }
}

/// The checksum of an index. The checksum of the segment's header is its seed, so an index that a file holds from its
/// former life is not taken for one of this life.
pub fn index_crc(bytes: &[u8], header_crc: u32) -> u32 {
    crc32(header_crc, &[bytes])
}

/// Check and read an index of `frames` frames that should have the checksum `crc`, into `marks`, which is empty.
pub fn decode_index(
    bytes: &[u8],
    frames: u64,
    header_crc: u32,
    crc: u32,
    marks: &mut Vec<FrameMark>,
) -> Result<(), Problem> {
    if bytes.len() as u64 != index_size(frames) {
        return Err(format!(
            "the index has {} bytes, that of {frames} frames has {}",
            bytes.len(),
            index_size(frames)
        ));
    }
    let found = index_crc(bytes, header_crc);
    if found != crc {
        return Err(format!("the index has checksum {found:08x}, the seal says {crc:08x}"));
    }
    let Some(records) = bytes.strip_prefix(&MAGIC) else {
        return Err("this is not the index of a segment (wrong magic)".into());
    };
    let raw = <[RawMark]>::ref_from_bytes(records).map_err(|error| error.to_string())?;
    let mark =
        |raw: &RawMark| FrameMark { page_no: raw.page_no.get(), db_size_pages: raw.db_size_pages.get() };
    marks.extend(raw.iter().map(mark));
    if let Some(at) = marks.iter().position(|mark| mark.page_no == 0) {
        return Err(format!("the index says that frame {} of the segment is for page 0", at + 1));
    }
    match marks.last() {
        Some(last) if last.db_size_pages != 0 => Ok(()),
        _ => Err("the index does not end with a commit".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode_index as decode_into, *};

    fn decode_index(bytes: &[u8], frames: u64, header_crc: u32, crc: u32) -> Result<Vec<FrameMark>, Problem> {
        let mut marks = Vec::new();
        decode_into(bytes, frames, header_crc, crc, &mut marks).map(|()| marks)
    }

    fn marks(pages: &[(u32, u32)], last: u32) -> Vec<FrameMark> {
        let mark = |&(page_no, db_size_pages)| FrameMark { page_no, db_size_pages };
        pages.iter().map(mark).chain([mark(&(last, last))]).collect()
    }

    #[test]
    fn the_bytes_of_an_index() {
        let bytes = encode_index(&marks(&[(0x0102_0304, 0)], 0x1112_1314));
        assert_eq!(bytes, *b"VWALINDX\x01\x02\x03\x04\0\0\0\0\x11\x12\x13\x14\x11\x12\x13\x14");
        assert_eq!(index_crc(&bytes, 5), crc32(5, &[&bytes]));
        assert_eq!((index_offset(4096), index_offset(4097), index_size(2)), (4096, 8192, 24));
    }

    #[test]
    fn what_no_segment_has_is_refused_though_the_checksum_is_right() {
        for (bytes, frames, what) in [
            (encode_index(&[]), 0, "does not end with a commit"),
            (encode_index(&[FrameMark { page_no: 1, db_size_pages: 0 }]), 1, "does not end with a commit"),
            (encode_index(&marks(&[(0, 0)], 7)), 2, "page 0"),
            (b"VWALSEAL\0\0\0\x01\0\0\0\x01".to_vec(), 1, "wrong magic"),
        ] {
            let problem = decode_index(&bytes, frames, 9, index_crc(&bytes, 9)).unwrap_err();
            assert!(problem.contains(what), "{problem}");
        }
    }

    proptest! {
        /// Nothing but the very bytes is taken for an index: no other length, no flipped bits, no other segment's.
        #[test]
        fn only_the_index_that_was_written_is_read(
            pages in prop::collection::vec((1..=u32::MAX, 0..3_u32), 0..60),
            last in 1..=u32::MAX,
            seed: u32,
            cut in any::<prop::sample::Index>(),
            bit in any::<prop::sample::Index>(),
            frames: u64,
        ) {
            let written = marks(&pages, last);
            let count = written.len() as u64;
            let bytes = encode_index(&written);
            prop_assert_eq!(bytes.len() as u64, index_size(count));
            let crc = index_crc(&bytes, seed);
            prop_assert_eq!(decode_index(&bytes, count, seed, crc), Ok(written));
            prop_assert!(decode_index(&bytes[..cut.index(bytes.len())], count, seed, crc).is_err());
            prop_assert!(decode_index(&bytes, count, seed ^ 1, crc).is_err());
            prop_assert!(decode_index(&bytes, count, seed, crc ^ 1).is_err());
            prop_assert!(frames == count || decode_index(&bytes, frames, seed, crc).is_err());
            let mut bad = bytes.clone();
            let bit = bit.index(bytes.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode_index(&bad, count, seed, crc).is_err());
        }

        /// Any bytes under any checksum: an error or marks that a segment may have, never a panic.
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool, frames in 0..30_u64) {
            if magic && bytes.len() >= INDEX_MAGIC_SIZE {
                bytes[..INDEX_MAGIC_SIZE].copy_from_slice(&MAGIC);
            }
            if let Ok(marks) = decode_index(&bytes, frames, 3, index_crc(&bytes, 3)) {
                prop_assert_eq!(marks.len() as u64, frames);
                prop_assert!(marks.iter().all(|mark| mark.page_no > 0));
            }
        }
    }
}
