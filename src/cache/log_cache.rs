//! What the cache keeps for one log: contents of pages, by names that never stand for another content.
//!
//! The page in a frame is known by the number of the frame, wherever it is read: in the log, or in the base file when a pass has brought it
//! there. So a pass changes nothing here, in whichever process it runs, and no page leaves the cache because of it. A page that no frame of the log has is known by its
//! number. Whether a copy is what its name says is decided before it is kept; after that it may come at any time, and be forgotten at any
//! time. Only the numbers of frames that were rolled back are given again ([`LogCache::remove_frames`]).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{CacheId, FrameCache};
use crate::types::PageSize;

/// Names the content of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKey {
    /// The page in a frame.
    Frame(u64),
    /// A page of the base file.
    Base {
        /// Its number.
        page_no: u32,
        /// Counts the times when pages changed without a change of their names.
        since: u32,
    },
}

/// See the module.
pub struct LogCache {
    cache: Arc<FrameCache>,
    frames: CacheId,
    base: CacheId,
}

impl LogCache {
    /// For a log that has just been opened.
    pub fn new(cache: Arc<FrameCache>, page_size: PageSize) -> LogCache {
        let (frames, base) = (cache.new_id(page_size), cache.new_id(page_size));
        LogCache { cache, frames, base }
    }

    fn locate(&self, key: PageKey) -> (CacheId, u64) {
        match key {
            PageKey::Frame(frame_no) => (self.frames, frame_no),
            PageKey::Base { page_no, since } => (self.base, u64::from(since) << 32 | u64::from(page_no)),
        }
    }

    /// Copy bytes of a page, from `offset` on, into `buf`. False: they are not here.
    pub fn read(&self, key: PageKey, offset: usize, buf: &mut [u8]) -> bool {
        let (id, number) = self.locate(key);
        self.cache.read(id, number, offset, buf)
    }

    /// Keep a page that had to be read from a file.
    pub fn keep(&self, key: PageKey, page: &[u8]) {
        let (id, number) = self.locate(key);
        self.cache.insert(id, number, page);
    }

    /// Keep the page of a new frame, in the place of its `old` version.
    pub fn keep_commit(&self, old: Option<PageKey>, frame_no: u64, page: &[u8]) {
        let new = (self.frames, frame_no);
        match old {
            Some(old) => self.cache.insert_instead_of(self.locate(old), new, page),
            None => self.cache.insert(new.0, new.1, page),
        }
    }

    /// Have memory at hand for the next pages.
    pub fn prepare(&self) {
        self.cache.prepare();
    }

    /// Forget frames whose numbers will be used again.
    pub fn remove_frames(&self, frames: RangeInclusive<u64>) {
        self.cache.remove(self.frames, frames);
    }
}

impl Drop for LogCache {
    fn drop(&mut self) {
        self.cache.remove_log(self.frames);
        self.cache.remove_log(self.base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_cache() -> LogCache {
        LogCache::new(Arc::new(FrameCache::new(1 << 20)), PageSize::new(4096).unwrap())
    }

    fn find(cache: &LogCache, key: PageKey) -> Option<u8> {
        let mut byte = [0];
        cache.read(key, 100, &mut byte).then_some(byte[0])
    }

    #[test]
    fn a_new_frame_takes_the_place_of_the_version_before() {
        let cache = log_cache();
        let base = PageKey::Base { page_no: 7, since: 0 };
        cache.keep(base, &[1; 4096]);
        assert_eq!(find(&cache, base), Some(1));
        cache.keep_commit(Some(base), 20, &[2; 4096]);
        assert_eq!((find(&cache, base), find(&cache, PageKey::Frame(20))), (None, Some(2)));
        cache.keep_commit(Some(PageKey::Frame(20)), 30, &[3; 4096]);
        cache.keep_commit(None, 31, &[4; 4096]);
        let found = [20, 30, 31].map(|frame_no| find(&cache, PageKey::Frame(frame_no)));
        assert_eq!(found, [None, Some(3), Some(4)]);
    }

    #[test]
    fn names_of_one_number_are_not_taken_for_each_other() {
        let cache = log_cache();
        let keys = [
            PageKey::Frame(7),
            PageKey::Base { page_no: 7, since: 0 },
            PageKey::Base { page_no: 7, since: 1 },
            PageKey::Frame(1 << 32 | 7),
        ];
        for (key, byte) in keys.into_iter().zip(1..) {
            assert_eq!(find(&cache, key), None);
            cache.keep(key, &[byte; 4096]);
        }
        assert_eq!(keys.map(|key| find(&cache, key)), [Some(1), Some(2), Some(3), Some(4)]);
        cache.remove_frames(7..=7);
        assert_eq!(keys.map(|key| find(&cache, key)), [None, Some(2), Some(3), Some(4)]);
    }
}
