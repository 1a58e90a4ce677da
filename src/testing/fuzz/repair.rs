//! Putting checksums right, in bytes that may be anything.

use crate::format::bundle::TRAILER_SIZE;
use crate::format::crc32;
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::meta::META_SLOT_SIZE;
use crate::format::restore_journal::RESTORE_SLOT_SIZE;
use crate::format::segment_header::{SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEAD_SIZE, SEGMENT_HEADER_SIZE};
use crate::format::segment_index::{index_offset, index_size};
use crate::types::PageSize;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

/// A record of `size` bytes that ends with its checksum.
pub fn record(bytes: &mut [u8], size: usize, seed: u32) {
    if let Some(record) = bytes.get_mut(..size) {
        let crc = crc32(seed, &[&record[..size - 4]]);
        put(record, size - 4, crc);
    }
}

/// A frame alone. With `previous`: as the next one of a chain. Its checksum.
pub fn frame(bytes: &mut [u8], seed: u32, previous: Option<u32>) -> u32 {
    if bytes.len() < FRAME_HEADER_SIZE {
        return 0;
    }
    if let Some(previous) = previous {
        put(bytes, FRAME_HEADER_SIZE - 8, previous);
    }
    let crc = crc32(seed, &[&bytes[..FRAME_HEADER_SIZE - 4], &bytes[FRAME_HEADER_SIZE..]]);
    put(bytes, FRAME_HEADER_SIZE - 4, crc);
    crc
}

/// Both slots of a metadata file.
pub fn meta(bytes: &mut [u8]) {
    const RECORD: usize = 124;
    record(bytes, RECORD, 0);
    if let Some(second) = bytes.get_mut(META_SLOT_SIZE..) {
        record(second, RECORD, 0);
    }
}

/// Both slots of the journal of a restore.
pub fn restore_journal(bytes: &mut [u8]) {
    let Some((slots, text)) = bytes.split_at_mut_checked(2 * RESTORE_SLOT_SIZE) else { return };
    let text_crc = crc32(0, &[text]);
    for slot in slots.chunks_mut(RESTORE_SLOT_SIZE) {
        put(slot, 28, text_crc);
        record(slot, RESTORE_SLOT_SIZE, 0);
    }
}

/// The header of a segment, and its seal if there is one.
pub fn segment_head(bytes: &mut [u8]) {
    record(bytes, SEGMENT_HEADER_SIZE, 0);
    let seed = word(bytes, SEGMENT_HEADER_SIZE - 4).unwrap_or(0);
    if let Some(seal) = bytes.get_mut(SEAL_OFFSET..)
        && seal.get(..SEAL_SIZE).is_some_and(|seal| seal.iter().any(|&byte| byte != 0))
    {
        record(seal, SEAL_SIZE, seed);
    }
}

/// A segment: the chain of its frames, its index, its head.
pub fn segment(bytes: &mut [u8]) {
    segment_head(bytes);
    let (Some(seed), Some(page_size)) = (word(bytes, SEGMENT_HEADER_SIZE - 4), word(bytes, 12)) else {
        return;
    };
    let Some(page_size) = PageSize::new(page_size) else { return };
    let frame_size = FRAME_HEADER_SIZE + page_size.bytes();
    let index = repair_index(bytes, seed, frame_size);
    let frames_end = index.unwrap_or(bytes.len());
    let mut chain = seed;
    if let Some(frames) = bytes.get_mut(SEGMENT_HEAD_SIZE..frames_end) {
        for bytes in frames.chunks_exact_mut(frame_size) {
            chain = frame(bytes, seed, Some(chain));
        }
    }
    if index.is_some() {
        put(bytes, SEAL_OFFSET + 24, chain);
    }
    segment_head(bytes);
}

/// The checksum of the index of a sealed segment. Where it is.
fn repair_index(bytes: &mut [u8], seed: u32, frame_size: usize) -> Option<usize> {
    let (start, end) = (long(bytes, 32)?, long(bytes, SEAL_OFFSET + 8)?);
    let frames = end.checked_sub(start)?.checked_add(1)?;
    let frames_end = (SEGMENT_HEAD_SIZE as u64).checked_add(frames.checked_mul(frame_size as u64)?)?;
    if frames_end > bytes.len() as u64 {
        return None;
    }
    let from = index_offset(frames_end);
    let index = bytes.get(from as usize..(from + index_size(frames)) as usize)?;
    let crc = crc32(seed, &[index]);
    put(bytes, SEAL_OFFSET + 28, crc);
    Some(from as usize)
}

/// An object: its blocks, its indexes, and its trailer. What is too long or too short goes to the account of the page blocks.
pub fn bundle(bytes: &mut [u8]) {
    const FRONT: usize = 16;
    const PAGES_LEN: usize = 96;
    let Some(trailer) = bytes.len().checked_sub(TRAILER_SIZE).filter(|&at| at >= FRONT) else { return };
    let field = |bytes: &[u8], at: usize| word(bytes, trailer + at).unwrap_or(0) as usize;
    let lens = [116, 112, 120].map(|at| field(bytes, at));
    let commits_len = long(bytes, trailer + 104).unwrap_or(0);
    let rest = (trailer - FRONT) as u64;
    let others = lens.iter().fold(commits_len, |sum, &len| sum.saturating_add(len as u64));
    if let Some(pages_len) = rest.checked_sub(others) {
        let [commit_index_len, page_index_len, parts_len] = lens;
        bytes[trailer + PAGES_LEN..trailer + PAGES_LEN + 8].copy_from_slice(&pages_len.to_be_bytes());
        let commits = FRONT + pages_len as usize;
        let page_index = commits + commits_len as usize;
        let commit_index = page_index + page_index_len;
        let parts = commit_index + commit_index_len;
        blocks(bytes, FRONT, page_index..commit_index, 32, 16, 20);
        blocks(bytes, commits, commit_index..parts, 48, 36, 40);
        for (from, to, at) in
            [(page_index, commit_index, 124), (commit_index, parts, 128), (parts, parts + parts_len, 132)]
        {
            let crc = crc32(0, &[&bytes[from..to]]);
            put(bytes, trailer + at, crc);
        }
    }
    put(bytes, trailer + 176, 0);
    let crc = crc32(0, &[&bytes[trailer..]]);
    put(bytes, trailer + 176, crc);
}

/// The checksums of blocks that follow each other from `at` on, in their records.
fn blocks(
    bytes: &mut [u8],
    mut at: usize,
    index: std::ops::Range<usize>,
    record: usize,
    len_at: usize,
    crc_at: usize,
) {
    for place in index.clone().step_by(record).filter(|place| place + record <= index.end) {
        let len = word(bytes, place + len_at).unwrap_or(0) as usize;
        let Some(block) = at.checked_add(len).and_then(|end| bytes.get(at..end)) else { return };
        let crc = crc32(0, &[block]);
        put(bytes, place + crc_at, crc);
        at += len;
    }
}
