//! Every decoder of bytes that may come from a damaged disk or a hostile store, as functions of bytes: for libFuzzer (`fuzz/`),
//! and for the mutations that `cargo test` makes (`fuzz/tests.rs`).
//!
//! A target must not panic, whatever the bytes are, and must not allocate much more than their length calls for. What decodes
//! must be what its encoding decodes to.
//!
//! The first byte says whether the magic numbers and the checksums are put right before the rest is decoded: hardly anything
//! would get behind them otherwise.

use std::path::Path;

use crate::error::Result;
use crate::format::bundle::{BlockReader, CommitReader, Trailer, check_front};
use crate::format::database_header::DatabaseHeader;
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::frame::{FRAME_HEADER_SIZE, commit_time, verify};
use crate::format::meta::{META_SLOT_SIZE, Meta};
use crate::format::restore_journal::{Progress, RESTORE_SLOT_SIZE};
use crate::format::segment_header::{SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEADER_SIZE, Seal, SegmentHeader};
use crate::format::segment_index::{decode_index, encode_index, index_crc};
use crate::io::{File, SyncSite};
use crate::options::Options;
use crate::segment::{headless_witness, load, parse_segment_name, scan};
use crate::storage::keys::Key;
use crate::types::PageSize;

mod repair;
mod stamp;
#[cfg(test)]
mod tests;

/// A decoder.
pub struct Target {
    /// Its name, for `fuzz/run`.
    pub name: &'static str,
    /// Feed it.
    pub run: fn(&[u8]),
    /// What it may allocate at most beside a multiple of its input.
    pub memory: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "segment_head", run: segment_head, memory: 1 << 16 },
    Target { name: "segment_index", run: segment_index, memory: 1 << 12 },
    Target { name: "frame", run: frame, memory: 1 << 12 },
    Target { name: "footer", run: footer, memory: 1 << 12 },
    Target { name: "meta", run: meta, memory: 1 << 16 },
    Target { name: "restore_journal", run: restore_journal, memory: 1 << 12 },
    Target { name: "database_header", run: database_header, memory: 1 << 12 },
    // It reads frames in pieces of 1 MiB.
    Target { name: "segment_file", run: segment_file, memory: 3 << 20 },
    // An image and its difference, of the largest page size.
    Target { name: "bundle", run: bundle, memory: 1 << 18 },
    Target { name: "storage_key", run: storage_key, memory: 1 << 12 },
    Target { name: "option", run: option, memory: 1 << 16 },
];

/// The rest, made right where the first byte says so: what names the format (`stamp`), and the checksums (`repair`).
fn prepared(data: &[u8], stamp: fn(&mut [u8]), repair: fn(&mut [u8])) -> Vec<u8> {
    let (&first, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut bytes = rest.to_vec();
    if first & 2 != 0 {
        stamp(&mut bytes);
    }
    if first & 1 != 0 {
        repair(&mut bytes);
    }
    bytes
}

fn nothing(_: &mut [u8]) {}

fn segment_head(data: &[u8]) {
    let bytes = prepared(data, stamp::segment, repair::segment_head);
    let _ = SegmentHeader::is_of_another_version(&bytes, 1);
    let Ok(header) = SegmentHeader::decode(&bytes) else { return };
    let encoded = header.encode_head();
    assert_eq!(encoded[..SEGMENT_HEADER_SIZE], bytes[..SEGMENT_HEADER_SIZE]);
    let _ = Seal::is_whole(&bytes, header.crc());
    if let Ok(Some(seal)) = Seal::decode(&bytes, &header) {
        assert_eq!(seal.encode(&header), bytes[SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE]);
        assert!(seal.end_frame_no >= header.start_frame_no);
    }
}

fn segment_index(data: &[u8]) {
    let bytes = prepared(data, stamp::segment_index, nothing);
    let frames = (bytes.len() as u64 / 8).saturating_sub(1);
    let mut marks = Vec::new();
    if decode_index(&bytes, frames, 7, index_crc(&bytes, 7), &mut marks).is_ok() {
        assert_eq!(encode_index(&marks), bytes);
    }
    assert!(decode_index(&bytes, u64::MAX, 7, 7, &mut Vec::new()).is_err());
}

fn frame(data: &[u8]) {
    let bytes = prepared(data, nothing, |bytes| {
        repair::frame(bytes, 7, None);
    });
    let number = bytes.get(24..32).and_then(|number| number.try_into().ok()).map_or(0, u64::from_be_bytes);
    let _ = commit_time(&bytes);
    if let Ok(header) = verify(&bytes, number, 7) {
        assert!(header.page_no.get() > 0 && bytes.len() >= FRAME_HEADER_SIZE);
    }
}

fn footer(data: &[u8]) {
    let bytes = prepared(data, stamp::footer, |bytes| repair::record(bytes, FOOTER_SIZE, 0));
    if let Ok(footer) = Footer::decode(&bytes) {
        assert_eq!(Footer::decode(&footer.encode()), Ok(footer));
    }
}

fn meta(data: &[u8]) {
    let bytes = prepared(data, stamp::meta, repair::meta);
    for slot in [&bytes[..], &bytes[bytes.len().min(META_SLOT_SIZE)..]] {
        if let Ok(Some(meta)) = Meta::decode(slot) {
            assert_eq!(Meta::decode(&meta.encode()), Ok(Some(meta)));
        }
    }
}

fn restore_journal(data: &[u8]) {
    let bytes = prepared(data, stamp::restore_journal, repair::restore_journal);
    let text = bytes.get(2 * RESTORE_SLOT_SIZE..).map(String::from_utf8_lossy).unwrap_or_default();
    if let Some(progress) = Progress::of_journal(&bytes, &text) {
        assert_eq!(Progress::decode(&progress.encode(&text), &text), Ok(progress));
    }
}

fn database_header(data: &[u8]) {
    let _ = DatabaseHeader::parse(&prepared(data, stamp::database_header, nothing));
}

/// A file of these bytes.
struct Bytes(Vec<u8>);

impl File for Bytes {
    fn path(&self) -> &Path {
        Path::new("fuzz.seg")
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        panic!("a decoder writes");
    }
    fn set_len(&self, _: u64) -> Result<()> {
        panic!("a decoder writes");
    }
    fn size(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn sync(&self, _: SyncSite) -> Result<()> {
        panic!("a decoder writes");
    }
}

/// A whole segment file: what recovery makes of it, and what `vwal verify` does.
fn segment_file(data: &[u8]) {
    let file = Bytes(prepared(data, stamp::segment, repair::segment));
    for in_base in [0, 3, u64::MAX / 2] {
        let scanned = scan(&file, in_base, |_| {});
        if let (Ok(scanned), Ok(loaded)) = (scanned, load(&file, in_base))
            && scanned.index_problem.is_none()
            && scanned.skipped.is_none()
            && scanned.end.is_none_or(|end| end.proof.is_none())
        {
            assert_eq!((loaded.marks, loaded.last_crc), (scanned.marks, scanned.last_crc));
        }
        if let Some(page_size) = PageSize::new(512) {
            let _ = headless_witness(&file, 1, page_size, in_base);
        }
    }
}

/// A whole object, with every check that a reader makes.
fn bundle(data: &[u8]) {
    let bytes = prepared(data, stamp::bundle, repair::bundle);
    let _ = read_bundle(&bytes);
}

fn read_bundle(bytes: &[u8]) -> std::result::Result<(), String> {
    check_front(bytes)?;
    let trailer = Trailer::decode(bytes, bytes.len() as u64)?;
    assert_eq!(trailer.object_size(), bytes.len() as u64);
    // What is out of range here is a panic, and a trailer that decodes has no range of that kind.
    let part = |span: std::ops::Range<u64>| &bytes[span.start as usize..span.end as usize];
    if let Ok(blocks) = trailer.page_blocks(part(trailer.page_index_span())) {
        for block in blocks {
            let Ok(mut reader) = BlockReader::new(&block, part(block.span.clone()), trailer.page_size) else {
                continue;
            };
            let mut before = (0, 0);
            while let Ok(Some((page_no, frame_no, image))) = reader.next_image() {
                assert!((page_no, frame_no) > before || before == (0, 0), "images out of order");
                assert!((block.first_page_no..=block.last_page_no).contains(&page_no));
                assert!(frame_no <= block.max_frame_no && image.len() == trailer.page_size.bytes());
                before = (page_no, frame_no);
            }
        }
    }
    if let Ok(blocks) = trailer.commit_blocks(part(trailer.commit_index_span())) {
        for block in blocks {
            let Ok(mut reader) = CommitReader::new(&block, part(block.span.clone())) else { continue };
            let mut before = None;
            while let Ok(Some(commit)) = reader.next_commit() {
                assert!(Some(commit.frame_no) > before && commit.frame_no <= block.last_frame_no);
                before = Some(commit.frame_no);
            }
        }
    }
    trailer.parts(part(trailer.parts_span())).map(drop)
}

/// Names: of objects, and of segment files.
fn storage_key(data: &[u8]) {
    let bytes = prepared(data, nothing, nothing);
    let text = String::from_utf8_lossy(&bytes);
    if let Some(key) = Key::parse(&text) {
        assert_eq!(key.to_string(), text);
    }
    if let Some(frame_no) = parse_segment_name(&text) {
        assert_eq!(crate::segment::segment_name(frame_no), text);
    }
}

/// `key=value`, as in a URI that somebody else wrote.
fn option(data: &[u8]) {
    let bytes = prepared(data, nothing, nothing);
    let text = String::from_utf8_lossy(&bytes);
    let (key, value) = text.split_once('=').unwrap_or(("vwal_storage", &text));
    let _ = Options::new().set_param(key, value);
}
