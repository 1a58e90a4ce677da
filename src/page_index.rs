//! The page index: where the view has the content of each page of the database.
//!
//! An entry is set when a frame of its page is absorbed, and stays when a pass has brought the frame to the base file: the content is the
//! same, so it keeps its name, the number of the frame. Whether it is read from the log or from the base file is a question of the
//! position *checkpointed* alone, so a pass changes nothing here, and it may be another process that runs it.
//!
//! Four bytes per page, in chunks that are allocated before a page in them is first committed. An entry is one of three marks, or the
//! number of a frame modulo 2^32 - 3. Entries of frames lie in a window of less than that many frames, which ends at the newest absorbed
//! frame, so the number can be told from its remainder. Before the window could get longer, entries of frames that are in the base
//! file are *retired*: their pages are then known as pages of the base file.
//!
//! Readers take no lock: chunks never move once they are there, and the list of chunks only grows. One thread at a time absorbs.

use std::sync::OnceLock;

use crate::error::Result;
use crate::memory;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Entries in a chunk: 4 KiB of them, since a process may have thousands of small databases open.
const CHUNK: usize = if cfg!(all(test, shuttle)) { 64 } else { 1024 };
/// Chunks in a group, groups in a range, ranges in the index: enough for 2^32 pages. (A model makes thousands of indexes, of a few pages each.)
const GROUP: usize = 256;
const RANGE: usize = if cfg!(all(test, shuttle)) { 1 } else { 128 };
const RANGES: usize = if cfg!(all(test, shuttle)) { 1 } else { (1 << 32) / (CHUNK * GROUP * RANGE) };

/// The page was not written since the log was opened.
const NONE: u32 = 0;
/// The page was cut off: the database became smaller, and what is there since then was written by no frame.
const CUT: u32 = 1;
/// The entry was that of a frame that is in the base file.
const RETIRED: u32 = 2;
/// The entry of a frame that is a multiple of the modulus.
const FRAMES: u32 = 3;
/// Frame numbers in an entry are modulo this.
const MODULUS: u64 = (u32::MAX - FRAMES) as u64 + 1;

type Chunk = Box<[AtomicU32]>;
type Group = Box<[OnceLock<Chunk>]>;
type Range = Box<[OnceLock<Group>]>;

/// Names what the view has of a page. The content that goes with [`Content::Frame`], or with [`Content::Base`] and the number of the page,
/// is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The page in this frame. Once the frame is checkpointed the base file has it as well.
    Frame(u64),
    /// The page of the base file, which no absorbed frame changes.
    Base {
        /// How often entries had been retired.
        retired: u32,
    },
    /// Beyond an end that the database once had, and not written since: whatever the base file has there. It may change in any pass.
    Cut,
}

/// See the module.
pub struct PageIndex {
    ranges: Box<[OnceLock<Range>]>,
    /// No entry is of a newer frame.
    newest: AtomicU64,
    /// No entry is of this frame or an older one.
    oldest: AtomicU64,
    /// The smallest number of pages that the database has had since the log was opened. What has no entry and is beyond them is cut off.
    smallest: AtomicU32,
    /// How often entries were retired.
    retired: AtomicU32,
    modulus: Modulus,
}

impl PageIndex {
    /// An index without entries: the base file, of `pages` pages, has everything up to frame `checkpointed`.
    pub fn new(checkpointed: u64, pages: u32) -> Result<PageIndex> {
        Ok(PageIndex {
            ranges: memory::filled(RANGES, "the page index", OnceLock::new)?,
            newest: AtomicU64::new(checkpointed),
            oldest: AtomicU64::new(checkpointed),
            smallest: AtomicU32::new(pages),
            retired: AtomicU32::new(0),
            modulus: Modulus::new(),
        })
    }

    /// The longest window of frames that the index can tell apart. A log with more than half of it that is not checkpointed must not grow,
    /// or there would be entries that can be neither kept nor retired.
    pub fn window(&self) -> u64 {
        self.modulus.get() - 1
    }

    /// How often entries were retired, for tests.
    #[cfg(test)]
    pub fn retired(&self) -> u32 {
        self.retired.load(Ordering::Relaxed)
    }

    fn encode(&self, frame_no: u64) -> u32 {
        (frame_no % self.modulus.get()) as u32 + FRAMES
    }

    /// The frame of an entry, given that it is not newer than `newest`.
    fn decode(&self, entry: u32, newest: u64) -> u64 {
        let modulus = self.modulus.get();
        let behind = (newest % modulus + modulus - u64::from(entry - FRAMES)) % modulus;
        newest.wrapping_sub(behind)
    }

    fn chunk(&self, page: usize) -> Option<&Chunk> {
        let range = self.ranges[page / (CHUNK * GROUP * RANGE)].get()?;
        range[page / (CHUNK * GROUP) % RANGE].get()?[page / CHUNK % GROUP].get()
    }

    fn slot(&self, page_no: u32) -> Option<&AtomicU32> {
        let page = page_no as usize;
        Some(&self.chunk(page)?[page % CHUNK])
    }

    /// What the view has of a page.
    pub fn get(&self, page_no: u32) -> Content {
        let Some(slot) = self.slot(page_no) else { return self.without_entry(page_no) };
        loop {
            let entry = slot.load(Ordering::Acquire);
            match entry {
                NONE => return self.without_entry(page_no),
                CUT => return Content::Cut,
                // Counted before the first entry is retired, so this is not the count of before.
                RETIRED => return Content::Base { retired: self.retired.load(Ordering::Acquire) },
                _ => {
                    let newest = self.newest.load(Ordering::Acquire);
                    // Retired meanwhile, it could be outside the window that ends at this `newest`, which only moves on after that.
                    if slot.load(Ordering::Acquire) == entry {
                        return Content::Frame(self.decode(entry, newest));
                    }
                }
            }
        }
    }

    fn without_entry(&self, page_no: u32) -> Content {
        if page_no > self.smallest.load(Ordering::Acquire) {
            return Content::Cut;
        }
        Content::Base { retired: self.retired.load(Ordering::Acquire) }
    }

    /// Have memory for the entry of a page. It comes before the first frame of the page is absorbed, which cannot fail then.
    pub fn prepare(&self, page_no: u32) -> Result<()> {
        if self.slot(page_no).is_some() {
            return Ok(());
        }
        let page = page_no as usize;
        let range = made(&self.ranges[page / (CHUNK * GROUP * RANGE)], RANGE, OnceLock::new)?;
        let group = made(&range[page / (CHUNK * GROUP) % RANGE], GROUP, OnceLock::new)?;
        made(&group[page / CHUNK % GROUP], CHUNK, || AtomicU32::new(NONE)).map(drop)
    }

    /// Begin to absorb the frames up to `to`, into a view of `pages` pages that has everything before them. `checkpointed`: the base file
    /// has everything up to this frame.
    /// `largest`: no entry is of a page after this one.
    pub fn absorb(&self, to: u64, checkpointed: u64, largest: u32, pages: u32) -> Absorption<'_> {
        // A quarter of the window is more than enough for what is absorbed between two looks; `to` is at most half of it after `checkpointed`.
        if to.saturating_sub(self.oldest.load(Ordering::Relaxed)) > self.window() / 4 * 3 {
            self.retire(checkpointed);
        }
        self.newest.fetch_max(to, Ordering::AcqRel);
        Absorption { index: self, pages, largest }
    }

    /// Frames up to `checkpointed` are in the base file: their entries say so from now on, and no more which frames they were.
    ///
    /// Copies of base pages that are in a cache may be of the time before those pages were written, so it may not find any of them
    /// any more: the count of retirements is part of their names.
    pub fn retire(&self, checkpointed: u64) {
        self.retired.fetch_add(1, Ordering::AcqRel);
        let newest = self.newest.load(Ordering::Relaxed);
        let ranges = self.ranges.iter().filter_map(OnceLock::get);
        let groups = ranges.flatten().filter_map(OnceLock::get);
        for slot in groups.flatten().filter_map(OnceLock::get).flatten() {
            let entry = slot.load(Ordering::Relaxed);
            if entry >= FRAMES && self.decode(entry, newest) <= checkpointed {
                slot.store(RETIRED, Ordering::Release);
            }
        }
        self.oldest.store(checkpointed, Ordering::Relaxed);
        self.newest.fetch_max(checkpointed, Ordering::AcqRel);
    }

    /// No entry is of a newer frame.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The smallest number of pages that the database has had, as far as the index knows.
    pub fn smallest(&self) -> u32 {
        self.smallest.load(Ordering::Acquire)
    }

    /// The database may have had so few pages once.
    pub fn shrink(&self, pages: u32) {
        self.smallest.fetch_min(pages, Ordering::AcqRel);
    }

    /// The database ends after page `pages`. There are no entries of frames after page `largest`.
    fn cut(&self, pages: u32, largest: u32) {
        self.smallest.fetch_min(pages, Ordering::AcqRel);
        let mut page = pages as usize + 1;
        while page <= largest as usize {
            let end = (page / CHUNK + 1) * CHUNK;
            if let Some(chunk) = self.chunk(page) {
                let last = (end - 1).min(largest as usize);
                chunk[page % CHUNK..=last % CHUNK].iter().for_each(|slot| slot.store(CUT, Ordering::Release));
            }
            page = end;
        }
    }
}

/// What is in a cell; made now if there is nothing.
fn made<T>(cell: &OnceLock<Box<[T]>>, count: usize, make: impl Fn() -> T) -> Result<&[T]> {
    if let Some(there) = cell.get() {
        return Ok(there);
    }
    let new = memory::filled(count, "the page index", make)?;
    // Of two threads that come here at once one has made it in vain.
    Ok(cell.get_or_init(|| new))
}

/// Absorbs frames, in order. See [`PageIndex::absorb`].
pub struct Absorption<'a> {
    index: &'a PageIndex,
    /// Pages of the database as of the last commit.
    pages: u32,
    /// No entry is of a page after this one.
    largest: u32,
}

impl Absorption<'_> {
    /// The next frame, of a page that has been [prepared](PageIndex::prepare). `db_size_pages`: if it ends a commit, pages of the database
    /// after it, else 0.
    pub fn frame(&mut self, frame_no: u64, page_no: u32, db_size_pages: u32) {
        let slot = self.index.slot(page_no);
        debug_assert!(slot.is_some(), "page {page_no} has no entry");
        if let Some(slot) = slot {
            slot.store(self.index.encode(frame_no), Ordering::Release);
        }
        self.largest = self.largest.max(page_no);
        if db_size_pages != 0 {
            // The transaction may have spilled a page that it cut off in the end.
            self.index.cut(db_size_pages, self.largest);
            self.pages = db_size_pages;
            self.largest = db_size_pages;
        }
    }

    /// Pages of the database as of the last commit.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// No entry is of a page after this one.
    pub fn largest(&self) -> u32 {
        self.largest
    }
}

#[cfg(not(test))]
struct Modulus;

#[cfg(not(test))]
impl Modulus {
    fn new() -> Modulus {
        Modulus
    }

    fn get(&self) -> u64 {
        MODULUS
    }
}

#[cfg(test)]
pub(crate) use small::Modulus;

/// A window that a test can fill.
#[cfg(test)]
mod small {
    use std::cell::Cell;

    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(super::MODULUS) };
    }

    pub(crate) struct Modulus(u64);

    impl Modulus {
        pub(super) fn new() -> Modulus {
            Modulus(NEXT.get())
        }

        pub(super) fn get(&self) -> u64 {
            self.0
        }

        /// Indexes that this thread makes meanwhile have this modulus.
        pub(crate) fn set_to<T>(modulus: u64, make: impl FnOnce() -> T) -> T {
            let before = NEXT.replace(modulus);
            let made = make();
            NEXT.set(before);
            made
        }
    }
}

#[cfg(test)]
mod tests;
