//! The frame cache: pages of recent frames, and of the base file, so that reads need no system call.
//!
//! One cache serves all databases of a process. It holds at most a configured number of bytes, allocated as used. Keys
//! are (log, number); what they mean, and that they never mean two things, is the business of `log_cache.rs`.
//!
//! Pages are kept in blocks of 4 KiB (`slabs.rs`): one for a page of that size or less, several for a larger one. Which
//! block has what is in a table of small sets, as in a processor's cache: a key can be in one set only, and a set lies in two
//! cache lines, since what a look-up costs is the memory that it touches. Consecutive frames go to consecutive sets, so the
//! frames of a log fill them evenly. There are about twice as many entries as blocks, so a set is seldom full.
//!
//! Replacement is CLOCK with small counts: the hand takes one off the count of each entry that it passes, and evicts an entry whose count is
//! 0. A new entry has 1, since the hand may be just before its set; an entry that is read has 2 again.

mod log_cache;
mod slabs;

use std::ops::RangeInclusive;
use std::sync::OnceLock;

pub use log_cache::{LogCache, PageKey};

use crate::memory;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::types::PageSize;
use slabs::{BLOCK, SLAB_BLOCKS, Slabs};

/// Entries in a set.
const WAYS: usize = 7;
/// How often the hand passes an entry that is new, or was just read.
const ROUNDS_NEW: u8 = 1;
const ROUNDS_READ: u8 = 2;
/// How many pieces of memory are made ready before they are needed.
const SLABS_AHEAD: usize = 2;
/// No block.
const NONE: u32 = u32::MAX;

/// Names a log within the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheId {
    /// 0: there were 2^32 logs already, and nothing of this one is kept.
    log: u32,
    /// Blocks of a page.
    parts: u32,
}

impl CacheId {
    /// The name of a part of a page within its log.
    fn part(self, number: u64, at: usize) -> u64 {
        // A number from a forged file may be of any size.
        number.wrapping_mul(u64::from(self.parts)).wrapping_add(at as u64)
    }
}

/// Which of the parts of pages that could be here are.
struct Set {
    /// Number times parts of a page, plus the part.
    parts: [u64; WAYS],
    logs: [u32; WAYS],
    /// [`NONE`]: the entry is free.
    blocks: [u32; WAYS],
    /// The next entry that the hand looks at.
    hand: u8,
    /// How often the hand passes each entry before that goes.
    rounds: [u8; WAYS],
}

/// A set in two cache lines of its own.
#[repr(align(128))]
struct Locked(Mutex<Set>);

#[cfg(not(all(test, shuttle)))]
const _: () = assert!(size_of::<Locked>() == 128);

impl Set {
    const EMPTY: Set =
        Set { parts: [0; WAYS], logs: [0; WAYS], blocks: [NONE; WAYS], hand: 0, rounds: [0; WAYS] };

    fn find(&self, log: u32, part: u64) -> Option<usize> {
        (0..WAYS).find(|&way| self.parts[way] == part && self.logs[way] == log && self.blocks[way] != NONE)
    }

    fn take(&mut self, way: usize) -> u32 {
        std::mem::replace(&mut self.blocks[way], NONE)
    }

    /// Move the hand to the next entry to give up, or to the end of the set, whichever comes first.
    fn advance(&mut self) -> Option<usize> {
        while usize::from(self.hand) < WAYS {
            let way = usize::from(self.hand);
            self.hand += 1;
            if self.blocks[way] != NONE {
                match self.rounds[way].checked_sub(1) {
                    Some(left) => self.rounds[way] = left,
                    None => return Some(way),
                }
            }
        }
        self.hand = 0;
        None
    }
}

/// Blocks that are in no set, and in no thread's hands.
#[derive(Default)]
struct FreeBlocks {
    /// Blocks from here on were never used.
    unused: u32,
    /// Those before it that have been given back.
    returned: Vec<u32>,
}

/// See the module.
pub struct FrameCache {
    /// Made when the first page is to be kept.
    sets: OnceLock<Box<[Locked]>>,
    slabs: Slabs,
    /// How many blocks there may be.
    capacity: u32,
    free: Mutex<FreeBlocks>,
    /// No block is free: those who need one need not look.
    full: AtomicBool,
    /// The set that the hand is in.
    hand: AtomicUsize,
    next_log: AtomicU64,
}

impl FrameCache {
    /// A cache of at most `bytes` bytes of pages; 0 keeps nothing.
    pub fn new(bytes: usize) -> FrameCache {
        let capacity = u32::try_from(bytes / BLOCK).unwrap_or(NONE - 1);
        FrameCache {
            sets: OnceLock::new(),
            slabs: Slabs::new(capacity as usize),
            capacity,
            free: Mutex::default(),
            full: AtomicBool::new(false),
            hand: AtomicUsize::new(0),
            next_log: AtomicU64::new(1),
        }
    }

    /// A name for a log that has just been opened; never given twice.
    pub fn new_id(&self, page_size: PageSize) -> CacheId {
        CacheId {
            log: u32::try_from(self.next_log.fetch_add(1, Ordering::Relaxed)).unwrap_or(0),
            parts: page_size.bytes().div_ceil(BLOCK) as u32,
        }
    }

    /// Blocks held now, for tests.
    #[cfg(test)]
    fn used(&self) -> usize {
        let free = self.free.lock();
        free.unused as usize - free.returned.len()
    }

    fn set(sets: &[Locked], log: u32, part: u64) -> MutexGuard<'_, Set> {
        // The logs of a process begin far from each other.
        let at = part.wrapping_add(u64::from(log).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
        sets[(at % sets.len() as u64) as usize].0.lock()
    }

    /// Copy bytes of a frame's page, from `offset` on, into `buf`. The bytes must lie in the page. False: not all of them are
    /// here.
    pub fn read(&self, id: CacheId, frame_no: u64, offset: usize, buf: &mut [u8]) -> bool {
        let Some(sets) = self.sets.get() else { return false };
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done;
            let len = (BLOCK - at % BLOCK).min(buf.len() - done);
            let part = id.part(frame_no, at / BLOCK);
            let mut set = Self::set(sets, id.log, part);
            let Some(way) = set.find(id.log, part) else { return false };
            if !self.slabs.read(set.blocks[way], at % BLOCK, &mut buf[done..done + len]) {
                return false;
            }
            set.rounds[way] = ROUNDS_READ;
            done += len;
        }
        true
    }

    /// Keep a page.
    pub fn insert(&self, id: CacheId, number: u64, page: &[u8]) {
        self.insert_with((id, number), page, |sets, _| self.reserve(sets));
    }

    /// Keep a page, and give up an `old` version of it if that is here. Who changes a page has just read it, so the old version looks
    /// as if it was in use, and its memory is close to the processor.
    pub fn insert_instead_of(&self, old: (CacheId, u64), key: (CacheId, u64), page: &[u8]) {
        let take = |sets: &[Locked], part| {
            Self::take(sets, old.0.log, old.0.part(old.1, part)).or_else(|| self.reserve(sets))
        };
        self.insert_with(key, page, take);
    }

    fn insert_with(
        &self,
        (id, number): (CacheId, u64),
        page: &[u8],
        block_for: impl Fn(&[Locked], usize) -> Option<u32>,
    ) {
        if self.capacity < id.parts || id.log == 0 {
            return;
        }
        let Some(sets) = self.sets() else { return };
        for (at, bytes) in page.chunks(BLOCK).enumerate() {
            let Some(block) = block_for(sets, at) else { return };
            if !self.slabs.write(block, bytes) {
                return self.give_back(block);
            }
            self.put(sets, id.log, id.part(number, at), block);
        }
    }

    /// The sets, made now if there are none. `None`: there is no memory for them, so nothing is kept.
    fn sets(&self) -> Option<&[Locked]> {
        if self.sets.get().is_none() {
            let count = (2 * self.capacity as usize).div_ceil(WAYS);
            let made = memory::filled(count, "the frame cache", || Locked(Mutex::new(Set::EMPTY))).ok()?;
            // Of two threads that come here at once one has made them in vain.
            let _ = self.sets.set(made);
        }
        self.sets.get().map(|sets| &**sets)
    }

    /// Take the block of a part out of its set.
    fn take(sets: &[Locked], log: u32, part: u64) -> Option<u32> {
        let mut set = Self::set(sets, log, part);
        let way = set.find(log, part)?;
        Some(set.take(way))
    }

    fn put(&self, sets: &[Locked], log: u32, part: u64, block: u32) {
        let mut set = Self::set(sets, log, part);
        let free = || set.blocks.iter().position(|&block| block == NONE);
        let way = set.find(log, part).or_else(free);
        // In a full set somebody has to go.
        let way = way.or_else(|| (0..=ROUNDS_READ).find_map(|_| set.advance())).unwrap_or(0);
        set.logs[way] = log;
        set.parts[way] = part;
        set.rounds[way] = ROUNDS_NEW;
        let before = std::mem::replace(&mut set.blocks[way], block);
        drop(set);
        if before != NONE {
            self.give_back(before);
        }
    }

    /// A block to be filled: a free one, or that of an entry which is given up for it.
    fn reserve(&self, sets: &[Locked]) -> Option<u32> {
        if !self.full.load(Ordering::Relaxed) {
            let mut free = self.free.lock();
            if let Some(block) = free.returned.pop() {
                return Some(block);
            }
            if free.unused < self.capacity {
                free.unused += 1;
                return Some(free.unused - 1);
            }
            self.full.store(true, Ordering::Relaxed);
        }
        // In that many rounds it finds somebody, unless all are being read; and it may start in the middle of a set.
        for _ in 0..=(usize::from(ROUNDS_READ) + 1) * sets.len() {
            let hand = self.hand.load(Ordering::Relaxed);
            let mut set = sets[hand % sets.len()].0.lock();
            if let Some(way) = set.advance() {
                return Some(set.take(way));
            }
            drop(set);
            // If another thread was faster, it is one step all the same.
            let next = hand.wrapping_add(1);
            let _ = self.hand.compare_exchange(hand, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        None
    }

    /// Have memory at hand for the next pages, so that no commit waits for it. For a background thread.
    pub fn prepare(&self) {
        let unused = self.free.lock().unused;
        if unused == 0 {
            // Nobody uses the cache yet.
            return;
        }
        for block in (unused..self.capacity).step_by(SLAB_BLOCKS).take(1 + SLABS_AHEAD) {
            self.slabs.prepare(block);
        }
    }

    fn give_back(&self, block: u32) {
        let mut free = self.free.lock();
        // A block that cannot be noted is not used any more, until the cache is empty.
        if free.returned.try_reserve(1).is_err() {
            return;
        }
        free.returned.push(block);
        self.full.store(false, Ordering::Relaxed);
    }

    /// Forget frames whose numbers will be used again.
    pub fn remove(&self, id: CacheId, frames: RangeInclusive<u64>) {
        let Some(sets) = self.sets.get() else { return };
        for part in frames.flat_map(|number| (0..id.parts as usize).map(move |at| id.part(number, at))) {
            if let Some(block) = Self::take(sets, id.log, part) {
                self.give_back(block);
            }
        }
    }

    /// Forget a log that is closed. When nothing else is kept, the memory goes back to the system.
    pub fn remove_log(&self, id: CacheId) {
        for set in self.sets.get().into_iter().flatten() {
            let mut set = set.0.lock();
            for way in 0..WAYS {
                if set.logs[way] == id.log && set.blocks[way] != NONE {
                    self.give_back(set.take(way));
                }
            }
        }
        let mut free = self.free.lock();
        if free.returned.len() == free.unused as usize {
            // Nobody is about to write to a block, since all of them are here.
            self.slabs.clear();
            *free = FreeBlocks::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_size(bytes: u32) -> PageSize {
        PageSize::new(bytes).unwrap()
    }

    #[test]
    fn holds_at_most_what_it_may_and_finds_what_it_holds() {
        let cache = FrameCache::new(64 * BLOCK);
        let id = cache.new_id(page_size(4096));
        for frame_no in 0..1000u64 {
            cache.insert(id, frame_no, &[frame_no as u8; 4096]);
            assert!(cache.used() <= 64);
            let mut byte = [0];
            assert!(cache.read(id, frame_no, 4095, &mut byte));
            assert_eq!(byte[0], frame_no as u8);
        }
        let held = (0..1000).filter(|&frame_no| cache.read(id, frame_no, 0, &mut [0])).count();
        assert_eq!(held, 64);
    }

    #[test]
    fn what_was_read_stays_longer_than_what_was_not() {
        let cache = FrameCache::new(64 * BLOCK);
        let id = cache.new_id(page_size(1024));
        cache.insert(id, 0, &[1; 1024]);
        for frame_no in 1..1000u64 {
            assert!(cache.read(id, 0, 0, &mut [0]), "read each time, gone at {frame_no}");
            cache.insert(id, frame_no, &[0; 1024]);
        }
    }

    #[test]
    fn a_version_takes_the_place_of_the_one_before() {
        let cache = FrameCache::new(64 * BLOCK);
        let id = cache.new_id(page_size(8192));
        cache.insert(id, 1, &[1; 8192]);
        cache.insert(id, 1, &[2; 8192]);
        assert_eq!(cache.used(), 2, "inserted twice, held once");
        cache.insert_instead_of((id, 1), (id, 9), &[3; 8192]);
        let mut bytes = [0; 2];
        assert!(cache.read(id, 9, 4095, &mut bytes), "across two blocks");
        assert_eq!((bytes, cache.used()), ([3; 2], 2));
        assert!(!cache.read(id, 1, 0, &mut bytes));
    }

    #[test]
    fn logs_do_not_see_each_other_and_removed_frames_are_gone() {
        let cache = FrameCache::new(1 << 20);
        let (a, b) = (cache.new_id(page_size(512)), cache.new_id(page_size(65536)));
        cache.insert(a, 1, &[1; 512]);
        cache.insert(b, 1, &[2; 65536]);
        let mut byte = [0];
        assert!(cache.read(a, 1, 0, &mut byte) && byte[0] == 1);
        cache.remove(a, 1..=3);
        assert!(!cache.read(a, 1, 0, &mut byte));
        cache.insert(a, 1, &[3; 512]);
        assert!(cache.read(a, 1, 511, &mut byte) && byte[0] == 3);
        cache.remove_log(b);
        assert!(!cache.read(b, 1, 0, &mut byte));
        assert!(cache.read(a, 1, 0, &mut byte) && byte[0] == 3);
        assert_eq!(cache.used(), 1);
        cache.remove_log(a);
        assert!(!cache.read(a, 1, 0, &mut byte));
        assert_eq!(cache.free.lock().unused, 0, "the memory is given back");
    }

    #[test]
    fn pages_of_different_sizes_share_the_budget() {
        let cache = FrameCache::new(256 * BLOCK);
        let (small, large) = (cache.new_id(page_size(512)), cache.new_id(page_size(65536)));
        for frame_no in 0..4000 {
            cache.insert(small, frame_no, &[1; 512]);
            if frame_no % 7 == 0 {
                cache.insert(large, frame_no, &[2; 65536]);
                assert!(cache.read(large, frame_no, 0, &mut [0; 65536]));
            }
        }
        assert!(cache.used() <= 256);
        assert!(cache.read(small, 3999, 0, &mut [0; 512]));
    }

    #[test]
    fn many_threads_find_the_right_pages_in_a_cache_that_is_too_small() {
        let cache = FrameCache::new(32 * BLOCK);
        let id = cache.new_id(page_size(8192));
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for step in 0..20_000u64 {
                        let frame_no = (step * 7 + thread) % 100;
                        let content = &[frame_no as u8; 8192];
                        let mut page = [0; 8192];
                        if cache.read(id, frame_no, 0, &mut page) {
                            assert!(page.iter().all(|&byte| u64::from(byte) == frame_no));
                        } else if step % 13 == 0 {
                            cache.remove(id, frame_no..=frame_no + 3);
                        } else {
                            cache.insert_instead_of((id, (frame_no + 1) % 100), (id, frame_no), content);
                        }
                    }
                });
            }
        });
        assert!(cache.used() <= 32);
        cache.remove_log(id);
        assert_eq!(cache.used(), 0);
    }

    #[test]
    fn memory_is_made_ready_ahead_of_the_blocks_in_use_and_no_further() {
        let cache = FrameCache::new(10 * SLAB_BLOCKS * BLOCK);
        let id = cache.new_id(page_size(4096));
        let mapped =
            || (0..10).filter(|slab| cache.slabs.is_mapped(slab * SLAB_BLOCKS as u32)).collect::<Vec<u32>>();
        cache.prepare();
        assert!(mapped().is_empty(), "nobody has used it");
        cache.insert(id, 1, &[0; 4096]);
        assert_eq!(mapped(), [0]);
        cache.prepare();
        assert_eq!(mapped(), [0, 1, 2]);
        (2..=9 * SLAB_BLOCKS as u64).for_each(|frame_no| cache.insert(id, frame_no, &[0; 4096]));
        cache.prepare();
        assert_eq!(mapped().len(), 10);
    }

    #[test]
    fn zero_keeps_nothing() {
        let cache = FrameCache::new(0);
        let id = cache.new_id(page_size(512));
        cache.insert(id, 1, &[0; 512]);
        assert_eq!(cache.used(), 0);
    }
}
