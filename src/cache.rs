//! The frame cache: pages of recent frames, so that reads of the log need no system call.
//!
//! One cache serves all databases of a process. It holds at most a configured number of bytes, allocated as used. Keys
//! are (log, frame number): a published frame never changes, so an entry is never stale. The entries of a tentative
//! commit that is rolled back are removed ([`FrameCache::remove`]).
//!
//! It is a table of small sets, as in a processor's cache: a key can be in one set only, and everything about a set lies
//! together, since what a look-up costs is the memory that it touches. Consecutive frames go to consecutive sets, so the
//! frames of a log fill them evenly. There are about twice as many places as pages of the usual size fit, and a set is
//! seldom full before the cache is.
//!
//! Replacement is CLOCK: an entry that was read since the hand last passed gets another round.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Places in a set.
const WAYS: usize = 8;
/// Bytes of the budget for each place. Databases with smaller pages than this use less than the budget.
const BYTES_PER_PLACE: usize = 2048;

/// Names a log within the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheId(u32);

impl CacheId {
    /// There were 2^32 logs already: nothing of this one is kept.
    const NONE: CacheId = CacheId(0);
}

/// Some of the frames that could be here. A place whose page is `None` is free; its key means nothing.
#[derive(Default)]
#[repr(align(64))]
struct Set {
    /// The next place that the hand looks at.
    hand: u8,
    /// A bit for each place that was read since the hand passed.
    referenced: u8,
    logs: [u32; WAYS],
    frames: [u64; WAYS],
    pages: [Option<Box<[u8]>>; WAYS],
}

impl Set {
    fn find(&self, id: CacheId, frame_no: u64) -> Option<usize> {
        (0..WAYS)
            .find(|&way| self.frames[way] == frame_no && self.logs[way] == id.0 && self.pages[way].is_some())
    }

    fn put(&mut self, way: usize, id: CacheId, frame_no: u64, page: Box<[u8]>) -> Option<Box<[u8]>> {
        self.logs[way] = id.0;
        self.frames[way] = frame_no;
        self.referenced &= !(1 << way);
        self.pages[way].replace(page)
    }

    /// Move the hand to the end of the set, or to the next entry to give up, whichever comes first.
    fn advance(&mut self) -> Option<usize> {
        while usize::from(self.hand) < WAYS {
            let way = usize::from(self.hand);
            self.hand += 1;
            let bit = 1 << way;
            if self.pages[way].is_some() && self.referenced & bit == 0 {
                return Some(way);
            }
            self.referenced &= !bit;
        }
        self.hand = 0;
        None
    }
}

/// See the module.
pub struct FrameCache {
    /// A power of two of them; made when the first page is to be kept.
    sets: OnceLock<Box<[Mutex<Set>]>>,
    budget: usize,
    /// Bytes of pages held, or about to be.
    used: AtomicUsize,
    /// The set that the hand is in.
    hand: AtomicUsize,
    next_id: AtomicU64,
}

impl FrameCache {
    /// A cache of at most `bytes` bytes of pages; 0 keeps nothing.
    pub fn new(bytes: usize) -> FrameCache {
        FrameCache {
            sets: OnceLock::new(),
            budget: bytes,
            used: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
        }
    }

    /// A name for a log that has just been opened; never given twice.
    pub fn new_id(&self) -> CacheId {
        CacheId(u32::try_from(self.next_id.fetch_add(1, Ordering::Relaxed)).unwrap_or(CacheId::NONE.0))
    }

    /// Bytes of pages held now, for tests.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn sets(&self) -> &[Mutex<Set>] {
        self.sets.get_or_init(|| {
            let count = (self.budget / BYTES_PER_PLACE / WAYS).max(1).next_power_of_two();
            (0..count).map(|_| Mutex::default()).collect()
        })
    }

    fn set(sets: &[Mutex<Set>], id: CacheId, frame_no: u64) -> MutexGuard<'_, Set> {
        // The logs of a process begin far from each other.
        let at = frame_no.wrapping_add(u64::from(id.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
        sets[at as usize & (sets.len() - 1)].lock()
    }

    /// Copy bytes of a frame's page, from `offset` on, into `buf`. False: it is not here.
    pub fn read(&self, id: CacheId, frame_no: u64, offset: usize, buf: &mut [u8]) -> bool {
        let Some(sets) = self.sets.get() else { return false };
        let mut set = Self::set(sets, id, frame_no);
        let Some(way) = set.find(id, frame_no) else { return false };
        let page = set.pages[way].as_deref().unwrap_or_default();
        let Some(part) = page.get(offset..offset + buf.len()) else { return false };
        buf.copy_from_slice(part);
        set.referenced |= 1 << way;
        true
    }

    /// Keep a frame's page.
    pub fn insert(&self, id: CacheId, frame_no: u64, page: &[u8]) {
        self.insert_instead_of(id, None, frame_no, page);
    }

    /// Keep a frame's page, and give up an `old` frame for it if that is here: another version of the same page. Who changes
    /// a page has just read it, so the old version looks as if it was in use and its memory is close to the processor.
    pub fn insert_instead_of(&self, id: CacheId, old: Option<u64>, frame_no: u64, page: &[u8]) {
        if page.len() > self.budget || page.is_empty() || id == CacheId::NONE {
            return;
        }
        let sets = self.sets();
        let taken = old.and_then(|old| {
            let mut set = Self::set(sets, id, old);
            let way = set.find(id, old)?;
            set.pages[way].take()
        });
        let buffer = match taken {
            Some(buffer) if buffer.len() == page.len() => Some(buffer),
            taken => {
                self.used.fetch_sub(taken.map_or(0, |buffer| buffer.len()), Ordering::Relaxed);
                let Some(reserved) = self.reserve(sets, page.len()) else { return };
                reserved
            }
        };
        let buffer = match buffer {
            Some(mut buffer) => {
                buffer.copy_from_slice(page);
                buffer
            }
            None => page.into(),
        };
        let mut set = Self::set(sets, id, frame_no);
        let free = || set.pages.iter().position(Option::is_none);
        let way = set.find(id, frame_no).or_else(free);
        let way = way.or_else(|| set.advance()).or_else(|| set.advance()).unwrap_or(0);
        if let Some(old) = set.put(way, id, frame_no, buffer) {
            self.used.fetch_sub(old.len(), Ordering::Relaxed);
        }
    }

    /// Make room for `len` bytes, and count them as used. Perhaps with a buffer of that length. `None`: there is no room.
    fn reserve(&self, sets: &[Mutex<Set>], len: usize) -> Option<Option<Box<[u8]>>> {
        // Every entry is looked at twice at most: when the hand comes by for the second time, nobody may have read it.
        let mut looks = 2 * sets.len() + 1;
        loop {
            let used = self.used.load(Ordering::Relaxed);
            if used + len <= self.budget {
                let taken =
                    self.used.compare_exchange_weak(used, used + len, Ordering::Relaxed, Ordering::Relaxed);
                if taken.is_ok() {
                    return Some(None);
                }
                continue;
            }
            let hand = self.hand.load(Ordering::Relaxed);
            let mut set = sets[hand & (sets.len() - 1)].lock();
            let Some(way) = set.advance() else {
                drop(set);
                looks = looks.checked_sub(1)?;
                // If another thread was faster, it is one step all the same.
                let _ = self.hand.compare_exchange(
                    hand,
                    hand.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                continue;
            };
            if let Some(page) = set.pages[way].take() {
                if page.len() == len {
                    return Some(Some(page));
                }
                self.used.fetch_sub(page.len(), Ordering::Relaxed);
            }
        }
    }

    /// Forget frames whose numbers will be used again.
    pub fn remove(&self, id: CacheId, frames: std::ops::RangeInclusive<u64>) {
        let Some(sets) = self.sets.get() else { return };
        for frame_no in frames {
            let mut set = Self::set(sets, id, frame_no);
            if let Some(way) = set.find(id, frame_no) {
                self.free(&mut set, way);
            }
        }
    }

    /// Forget a log that is closed, and give its memory back.
    pub fn remove_log(&self, id: CacheId) {
        for set in self.sets.get().into_iter().flatten() {
            let mut set = set.lock();
            for way in 0..WAYS {
                if set.logs[way] == id.0 {
                    self.free(&mut set, way);
                }
            }
        }
    }

    fn free(&self, set: &mut Set, way: usize) {
        if let Some(page) = set.pages[way].take() {
            self.used.fetch_sub(page.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_at_most_what_it_may_and_finds_what_it_holds() {
        let cache = FrameCache::new(64 * 4096);
        let id = cache.new_id();
        for frame_no in 0..1000u64 {
            cache.insert(id, frame_no, &[frame_no as u8; 4096]);
            assert!(cache.used() <= 64 * 4096);
            let mut byte = [0];
            assert!(cache.read(id, frame_no, 4095, &mut byte));
            assert_eq!(byte[0], frame_no as u8);
        }
        let held = |from: u64| (from..1000).filter(|&frame_no| cache.read(id, frame_no, 0, &mut [0])).count();
        assert_eq!(held(0), 64);
    }

    #[test]
    fn a_frame_that_is_inserted_again_takes_no_more_room() {
        let cache = FrameCache::new(64 * 4096);
        let id = cache.new_id();
        cache.insert(id, 1, &[1; 4096]);
        cache.insert(id, 1, &[2; 4096]);
        let mut byte = [0];
        assert!(cache.read(id, 1, 0, &mut byte));
        assert_eq!((cache.used(), byte[0]), (4096, 2));
    }

    #[test]
    fn what_was_read_stays_longer_than_what_was_not() {
        let cache = FrameCache::new(64 * 4096);
        let id = cache.new_id();
        cache.insert(id, 0, &[1; 4096]);
        for frame_no in 1..1000u64 {
            assert!(cache.read(id, 0, 0, &mut [0]), "read each time, gone at {frame_no}");
            cache.insert(id, frame_no, &[0; 4096]);
        }
    }

    #[test]
    fn many_threads_find_the_right_pages_in_a_cache_that_is_too_small() {
        let cache = FrameCache::new(32 * 1024);
        let id = cache.new_id();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for step in 0..20_000u64 {
                        let frame_no = (step * 7 + thread) % 100;
                        let mut page = [0; 1024];
                        if cache.read(id, frame_no, 0, &mut page) {
                            assert!(page.iter().all(|&byte| u64::from(byte) == frame_no));
                        } else if step % 13 == 0 {
                            cache.remove(id, frame_no..=frame_no + 3);
                        } else {
                            cache.insert(id, frame_no, &[frame_no as u8; 1024]);
                        }
                    }
                });
            }
        });
        assert!(cache.used() <= 32 * 1024);
        cache.remove_log(id);
        assert_eq!(cache.used(), 0);
    }

    #[test]
    fn logs_do_not_see_each_other_and_removed_frames_are_gone() {
        let cache = FrameCache::new(1 << 20);
        let (a, b) = (cache.new_id(), cache.new_id());
        cache.insert(a, 1, &[1; 512]);
        cache.insert(b, 1, &[2; 1024]);
        let mut byte = [0];
        assert!(cache.read(a, 1, 0, &mut byte) && byte[0] == 1);
        assert!(!cache.read(a, 1, 512, &mut byte), "past the end of the page");
        cache.remove(a, 1..=3);
        assert!(!cache.read(a, 1, 0, &mut byte));
        cache.insert(a, 1, &[3; 512]);
        assert!(cache.read(a, 1, 0, &mut byte) && byte[0] == 3);
        cache.remove_log(b);
        assert!(!cache.read(b, 1, 0, &mut byte));
        assert!(cache.read(a, 1, 0, &mut byte) && byte[0] == 3);
    }

    #[test]
    fn pages_of_different_sizes_share_the_budget() {
        let cache = FrameCache::new(16 * 65536);
        let (small, large) = (cache.new_id(), cache.new_id());
        for frame_no in 0..4000 {
            cache.insert(small, frame_no, &[1; 512]);
            if frame_no % 7 == 0 {
                cache.insert(large, frame_no, &[2; 65536]);
            }
        }
        assert!(cache.used() <= 16 * 65536);
        assert!(cache.read(small, 3999, 0, &mut [0; 512]));
    }

    #[test]
    fn zero_keeps_nothing() {
        let cache = FrameCache::new(0);
        let id = cache.new_id();
        cache.insert(id, 1, &[0; 512]);
        assert_eq!(cache.used(), 0);
    }
}
