//! What the cache keeps for one log: pages of its frames, and pages that are read from the base file again and again.
//!
//! An entry of the base file must never outlive what it was copied from. A checkpoint pass is all that changes the file, so a pass
//! replaces or removes the entry of each page that it has written before readers are sent to the file for that page; and a copy that
//! a reader took before the pass is not let in afterwards ([`LogCache::base_changes`]).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{CacheId, FrameCache};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::PageSize;

/// See the module.
pub struct LogCache {
    cache: Arc<FrameCache>,
    frames: CacheId,
    base: CacheId,
    /// Counts what changes the base file.
    base_version: AtomicU64,
}

impl LogCache {
    /// For a log that has just been opened.
    pub fn new(cache: Arc<FrameCache>, page_size: PageSize) -> LogCache {
        let (frames, base) = (cache.new_id(page_size), cache.new_id(page_size));
        LogCache { cache, frames, base, base_version: AtomicU64::new(0) }
    }

    /// Copy bytes of a frame's page, from `offset` on, into `buf`. False: they are not here.
    pub fn read_frame(&self, frame_no: u64, offset: usize, buf: &mut [u8]) -> bool {
        self.cache.read(self.frames, frame_no, offset, buf)
    }

    /// Keep the page of a frame that had to be read from a segment.
    pub fn keep_frame(&self, frame_no: u64, page: &[u8]) {
        self.cache.insert(self.frames, frame_no, page);
    }

    /// Keep the page of a new frame, in the place of the version before it: frame `old`, or page `page_no` of the base file.
    pub fn keep_commit(&self, page_no: u32, old: Option<u64>, frame_no: u64, page: &[u8]) {
        let old = match old {
            Some(old) => (self.frames, old),
            None => (self.base, u64::from(page_no)),
        };
        self.cache.insert_instead_of(old, (self.frames, frame_no), page);
    }

    /// Have memory at hand for the next pages.
    pub fn prepare(&self) {
        self.cache.prepare();
    }

    /// Forget frames whose numbers will be used again.
    pub fn remove_frames(&self, frames: RangeInclusive<u64>) {
        self.cache.remove(self.frames, frames);
    }

    /// Copy bytes of a page of the base file, from `offset` on, into `buf`. False: they are not here.
    pub fn read_base(&self, page_no: u32, offset: usize, buf: &mut [u8]) -> bool {
        self.cache.read(self.base, u64::from(page_no), offset, buf)
    }

    /// Counts the changes of the base file. To be asked for before a page is read that may be kept.
    pub fn base_version(&self) -> u64 {
        self.base_version.load(Ordering::Acquire)
    }

    /// Keep a page of the base file, unless the file has changed since `version`.
    pub fn keep_base(&self, page_no: u32, page: &[u8], version: u64) {
        let unchanged = || self.base_version() == version;
        if unchanged() {
            self.cache.insert_if((self.base, u64::from(page_no)), page, unchanged);
        }
    }

    /// Pages of the base file are about to change, or have changed: what was read before is not kept any more. The check for it and
    /// [`LogCache::moved`] exclude each other, so a copy that is let in before this is replaced or removed after it.
    pub fn base_changes(&self) {
        self.base_version.fetch_add(1, Ordering::AcqRel);
    }

    /// The base file has the page of a frame now. If that is here, it is kept as a page of the file.
    pub fn moved(&self, frame_no: u64, page_no: u32) {
        self.cache.rename((self.frames, frame_no), (self.base, u64::from(page_no)));
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

    fn base(cache: &LogCache, page_no: u32) -> Option<u8> {
        let mut byte = [0];
        cache.read_base(page_no, 100, &mut byte).then_some(byte[0])
    }

    fn frame(cache: &LogCache, frame_no: u64) -> Option<u8> {
        let mut byte = [0];
        cache.read_frame(frame_no, 100, &mut byte).then_some(byte[0])
    }

    #[test]
    fn a_page_that_a_pass_moved_is_found_as_one_of_the_base_file() {
        let cache = log_cache();
        cache.keep_base(7, &[1; 4096], cache.base_version());
        assert_eq!(base(&cache, 7), Some(1));
        cache.keep_commit(7, None, 20, &[2; 4096]);
        assert_eq!(
            (base(&cache, 7), frame(&cache, 20)),
            (None, Some(2)),
            "it takes the place of the version before"
        );
        cache.keep_commit(7, Some(20), 30, &[3; 4096]);
        assert_eq!((frame(&cache, 20), frame(&cache, 30)), (None, Some(3)));
        cache.moved(30, 7);
        assert_eq!((base(&cache, 7), frame(&cache, 30)), (Some(3), None));
    }

    #[test]
    fn a_page_that_a_pass_moved_and_that_is_not_here_leaves_no_old_version() {
        let cache = log_cache();
        cache.keep_base(7, &[1; 4096], cache.base_version());
        cache.moved(30, 7);
        assert_eq!(base(&cache, 7), None);
    }

    #[test]
    fn a_copy_from_before_a_change_is_not_let_in_after_it() {
        let cache = log_cache();
        let before = cache.base_version();
        cache.base_changes();
        cache.keep_base(7, &[1; 4096], before);
        assert_eq!(base(&cache, 7), None);
        cache.keep_base(7, &[2; 4096], cache.base_version());
        assert_eq!(base(&cache, 7), Some(2));
    }

    #[test]
    fn frames_and_pages_of_one_number_are_not_taken_for_each_other() {
        let cache = log_cache();
        cache.keep_frame(7, &[1; 4096]);
        assert_eq!((frame(&cache, 7), base(&cache, 7)), (Some(1), None));
        cache.remove_frames(7..=7);
        assert_eq!(frame(&cache, 7), None);
    }
}
