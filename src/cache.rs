//! The frame cache: pages of recent frames, so that reads of the log need no system call.
//!
//! One cache serves all databases of a process. It holds at most a configured number of bytes, allocated as used. Keys
//! are (log, frame number): a published frame never changes, so an entry is never stale. The entries of a tentative
//! commit that is rolled back are removed ([`FrameCache::remove`]).
//!
//! Replacement is CLOCK: an entry that was read since the hand last passed gets another round.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Shards, so that readers of different frames do not wait for each other.
const SHARDS: usize = 16;

/// Names a log within the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheId(u64);

type Key = (CacheId, u64);

/// Multiplicative hashing: keys are small consecutive numbers, and nobody else chooses them.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        // The table looks at the low bits first, and of a product those depend on the low bits of its factors alone:
        // within a shard they are all the same.
        self.0.rotate_left(32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

struct Entry {
    key: Option<Key>,
    referenced: bool,
    page: Box<[u8]>,
}

#[derive(Default)]
struct Shard {
    slots: HashMap<Key, usize, BuildHasherDefault<KeyHasher>>,
    entries: Vec<Entry>,
    hand: usize,
    bytes: usize,
}

/// See the module.
pub struct FrameCache {
    shards: Vec<Mutex<Shard>>,
    shard_bytes: usize,
    next_id: AtomicU64,
}

impl FrameCache {
    /// A cache of at most `bytes` bytes of pages; 0 keeps nothing.
    pub fn new(bytes: usize) -> FrameCache {
        FrameCache {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes: bytes / SHARDS,
            next_id: AtomicU64::new(1),
        }
    }

    /// A name for a log that has just been opened; never given twice.
    pub fn new_id(&self) -> CacheId {
        CacheId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Bytes of pages held now, for tests.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        // Neighbouring frames go to different shards.
        &self.shards[(key.1 as usize) % SHARDS]
    }

    /// Copy bytes of a frame's page, from `offset` on, into `buf`. False: it is not here.
    pub fn read(&self, id: CacheId, frame_no: u64, offset: usize, buf: &mut [u8]) -> bool {
        if self.shard_bytes == 0 {
            return false;
        }
        let key = (id, frame_no);
        let mut shard = self.shard(key).lock();
        let Some(&slot) = shard.slots.get(&key) else { return false };
        let entry = &mut shard.entries[slot];
        let Some(part) = entry.page.get(offset..offset + buf.len()) else { return false };
        buf.copy_from_slice(part);
        entry.referenced = true;
        true
    }

    /// Keep a frame's page.
    pub fn insert(&self, id: CacheId, frame_no: u64, page: &[u8]) {
        if page.len() > self.shard_bytes {
            return;
        }
        let key = (id, frame_no);
        let mut guard = self.shard(key).lock();
        let shard = &mut *guard;
        if let Some(&slot) = shard.slots.get(&key) {
            shard.entries[slot].page.copy_from_slice(page);
            return;
        }
        if shard.bytes + page.len() <= self.shard_bytes {
            shard.bytes += page.len();
            shard.slots.insert(key, shard.entries.len());
            shard.entries.push(Entry { key: Some(key), referenced: false, page: page.into() });
            return;
        }
        let slot = shard.victim();
        let entry = &mut shard.entries[slot];
        if let Some(old) = entry.key.replace(key) {
            shard.slots.remove(&old);
        }
        if entry.page.len() == page.len() {
            entry.page.copy_from_slice(page);
        } else {
            // Databases with different page sizes share the cache; the budget may be exceeded by one page.
            shard.bytes = shard.bytes - entry.page.len() + page.len();
            entry.page = page.into();
        }
        entry.referenced = false;
        shard.slots.insert(key, slot);
        while shard.bytes > self.shard_bytes && shard.entries.len() > 1 {
            shard.drop_one_but(key);
        }
    }

    /// Forget frames whose numbers will be used again.
    pub fn remove(&self, id: CacheId, frames: std::ops::RangeInclusive<u64>) {
        for frame_no in frames {
            let key = (id, frame_no);
            let mut shard = self.shard(key).lock();
            if let Some(slot) = shard.slots.remove(&key) {
                shard.entries[slot].key = None;
                shard.entries[slot].referenced = false;
            }
        }
    }

    /// Forget a log that is closed, and give its memory back.
    pub fn remove_log(&self, id: CacheId) {
        for shard in &self.shards {
            let mut guard = shard.lock();
            let shard = &mut *guard;
            shard.entries.retain(|entry| entry.key.is_some_and(|key| key.0 != id));
            shard.entries.shrink_to_fit();
            shard.bytes = shard.entries.iter().map(|entry| entry.page.len()).sum();
            shard.hand = 0;
            shard.slots = shard
                .entries
                .iter()
                .enumerate()
                .filter_map(|(slot, entry)| entry.key.map(|key| (key, slot)))
                .collect();
        }
    }
}

impl Shard {
    /// The next entry to give up. There is at least one.
    fn victim(&mut self) -> usize {
        loop {
            let slot = self.hand % self.entries.len();
            self.hand = slot + 1;
            let entry = &mut self.entries[slot];
            if entry.key.is_none() || !entry.referenced {
                return slot;
            }
            entry.referenced = false;
        }
    }

    /// Give up one entry, but not `keep`.
    fn drop_one_but(&mut self, keep: Key) {
        let mut slot = self.victim();
        if self.entries[slot].key == Some(keep) {
            slot = (slot + 1) % self.entries.len();
        }
        let entry = self.entries.swap_remove(slot);
        self.bytes -= entry.page.len();
        if let Some(key) = entry.key {
            self.slots.remove(&key);
        }
        if let Some(moved) = self.entries.get(slot).and_then(|entry| entry.key) {
            self.slots.insert(moved, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_at_most_what_it_may_and_finds_what_it_holds() {
        let cache = FrameCache::new(SHARDS * 4 * 512);
        let id = cache.new_id();
        for frame_no in 0..1000u64 {
            cache.insert(id, frame_no, &[frame_no as u8; 512]);
            assert!(cache.used() <= SHARDS * 4 * 512);
            let mut byte = [0];
            assert!(cache.read(id, frame_no, 511, &mut byte));
            assert_eq!(byte[0], frame_no as u8);
        }
        let held = (0..1000).filter(|&frame_no| cache.read(id, frame_no, 0, &mut [0; 512])).count();
        assert_eq!(held, SHARDS * 4);
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
        let cache = FrameCache::new(SHARDS * 65536);
        let (small, large) = (cache.new_id(), cache.new_id());
        for frame_no in 0..4000 {
            cache.insert(small, frame_no, &[1; 512]);
            if frame_no % 7 == 0 {
                cache.insert(large, frame_no, &[2; 65536]);
            }
        }
        assert!(cache.used() <= SHARDS * 65536);
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
