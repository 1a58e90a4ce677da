//! The page index: for each page of the database the newest *absorbed* frame that holds it.
//!
//! Four bytes per page, in chunks that are allocated before a page in them is first committed. An entry is the frame number
//! modulo 2^32 - 1, plus one (0: the page is in the base file). Entries lie in a window of less than 2^32 - 1 frames
//! that ends at the newest absorbed frame, so the number can be told from its remainder.
//!
//! Readers take no lock: chunks never move once they are there, and the list of chunks only grows.

use std::sync::OnceLock;

use crate::error::Result;
use crate::memory;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Entries in a chunk: 64 KiB of them.
const CHUNK: usize = if cfg!(all(test, shuttle)) { 64 } else { 16384 };
/// Chunks in a group, groups in the index: enough for 2^32 pages. (A model makes thousands of indexes, of a few pages each.)
const GROUP: usize = 512;
const GROUPS: usize = if cfg!(all(test, shuttle)) { 1 } else { (1 << 32) / (CHUNK * GROUP) };
/// Frame numbers in an entry are modulo this.
const MODULUS: u64 = u32::MAX as u64;

type Chunk = Box<[AtomicU32]>;
type Group = Box<[OnceLock<Chunk>]>;

/// See the module.
pub struct PageIndex {
    groups: Box<[OnceLock<Group>]>,
    /// No entry is of a newer frame.
    newest: AtomicU64,
}

/// The longest window of frames that the index can tell apart.
pub const MAX_WINDOW: u64 = MODULUS - 1;

fn encode(frame_no: u64) -> u32 {
    (frame_no % MODULUS) as u32 + 1
}

impl PageIndex {
    /// An index without entries.
    pub fn new() -> Result<PageIndex> {
        Ok(PageIndex {
            groups: memory::filled(GROUPS, "the page index", OnceLock::new)?,
            newest: AtomicU64::new(0),
        })
    }

    fn slot(&self, page_no: u32) -> Option<&AtomicU32> {
        let page = page_no as usize;
        let group = self.groups[page / (CHUNK * GROUP)].get()?;
        let chunk = group[page / CHUNK % GROUP].get()?;
        Some(&chunk[page % CHUNK])
    }

    /// The newest absorbed frame of a page; `None`: the base file has it.
    pub fn get(&self, page_no: u32) -> Option<u64> {
        let entry = self.slot(page_no)?.load(Ordering::Acquire);
        if entry == 0 {
            return None;
        }
        let newest = self.newest.load(Ordering::Acquire);
        let behind = (newest % MODULUS + MODULUS - u64::from(entry - 1)) % MODULUS;
        newest.checked_sub(behind)
    }

    /// Announce that entries of frames up to `frame_no` follow. Must come before the first [`PageIndex::set`] of them.
    pub fn advance(&self, frame_no: u64) {
        self.newest.fetch_max(frame_no, Ordering::AcqRel);
    }

    /// Have memory for the entry of a page. It comes before the first [`PageIndex::set`] of the page, which cannot fail then.
    pub fn prepare(&self, page_no: u32) -> Result<()> {
        if self.slot(page_no).is_some() {
            return Ok(());
        }
        let page = page_no as usize;
        let group = &self.groups[page / (CHUNK * GROUP)];
        if group.get().is_none() {
            // Of two threads that come here at once one has made it in vain.
            let _ = group.set(memory::filled(GROUP, "the page index", OnceLock::new)?);
        }
        let chunk = group.get().and_then(|group| group.get(page / CHUNK % GROUP));
        if let Some(chunk) = chunk.filter(|chunk| chunk.get().is_none()) {
            let _ = chunk.set(memory::filled(CHUNK, "the page index", || AtomicU32::new(0))?);
        }
        Ok(())
    }

    /// The page's newest absorbed frame is `frame_no`. The page has been [prepared](PageIndex::prepare).
    pub fn set(&self, page_no: u32, frame_no: u64) {
        let slot = self.slot(page_no);
        debug_assert!(slot.is_some(), "page {page_no} has no entry");
        if let Some(slot) = slot {
            slot.store(encode(frame_no), Ordering::Release);
        }
    }

    /// The base file has the page as of `frame_no`: drop the entry, unless a newer frame has been absorbed since.
    pub fn clear(&self, page_no: u32, frame_no: u64) {
        if let Some(slot) = self.slot(page_no) {
            let _ = slot.compare_exchange(encode(frame_no), 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_set_for_any_page() {
        let index = PageIndex::new().expect("memory");
        index.advance(50);
        for page_no in [1, 2, 16383, 16384, 8_388_608, u32::MAX - 1] {
            assert_eq!(index.get(page_no), None);
            index.prepare(page_no).expect("memory");
            index.set(page_no, 7);
            assert_eq!(index.get(page_no), Some(7));
            index.clear(page_no, 6);
            assert_eq!(index.get(page_no), Some(7), "a newer frame stays");
            index.clear(page_no, 7);
            assert_eq!(index.get(page_no), None);
        }
    }

    #[test]
    fn frame_numbers_beyond_32_bits_are_told_apart() {
        for base in [0, MODULUS - 3, MODULUS, 5 * MODULUS - 1, 1 << 40, (1 << 50) + 12345] {
            let index = PageIndex::new().expect("memory");
            for step in 1..200 {
                let frame_no = base + step;
                index.advance(frame_no);
                index.prepare(step as u32).expect("memory");
                index.set(step as u32, frame_no);
            }
            index.advance(base + MAX_WINDOW);
            for step in 1..200 {
                assert_eq!(index.get(step as u32), Some(base + step), "base {base}");
            }
        }
    }
}
