//! Absorption: a checkpoint that moves no data.
//!
//! The *view* of the database file is, for each page, its newest absorbed frame, or else the base file. When `wal.c`
//! believes that it has copied frames into the database file, those frames become part of the view: their pages' entries
//! in the index now point at them.
//!
//! Frames are absorbed as a prefix, up to a commit. `wal.c` tells how far it went in `nBackfillAttempted`, which is never
//! beyond the snapshot of any reader that reads the WAL, and it keeps readers of the bare database file away meanwhile
//! (`WAL_READ_LOCK(0)`): so no open read transaction sees the view change (invariant 4).

use super::Log;
use crate::error::Result;

impl Log {
    /// Make the committed frames up to `frame_no` part of the view. `frame_no` is rounded down to a commit.
    pub fn absorb(&self, frame_no: u64) {
        self.publish(frame_no);
        let _guard = self.absorbing.lock();
        let from = self.absorbed_frame_no() + 1;
        let to = frame_no.min(self.published_frame_no());
        if to < from {
            return;
        }
        // Two passes, since frames behind the last commit that is covered must not be absorbed.
        let mut last_commit = None;
        self.for_each_mark(from, to, |frame_no, db_size_pages, _| {
            if db_size_pages != 0 {
                last_commit = Some((frame_no, db_size_pages));
            }
        });
        let Some((last, db_size_pages)) = last_commit else { return };
        self.index.advance(last);
        self.for_each_mark(from, last, |frame_no, _, page_no| self.index.set(page_no, frame_no));
        self.positions.absorb(last, db_size_pages);
        if self.backlog_bytes() >= self.options.checkpoint_size {
            self.checkpointer.notify();
        }
    }

    fn for_each_mark(&self, from: u64, to: u64, mut visit: impl FnMut(u64, u32, u32)) {
        let segments = self.segments.read();
        for segment in segments.iter().filter(|segment| segment.end() >= from && segment.start() <= to) {
            segment
                .for_each_mark(from, to, |frame_no, mark| visit(frame_no, mark.db_size_pages, mark.page_no));
        }
    }

    /// A page that was read from the base file, at `version` of it. `offset` is that of the page in the file.
    pub fn keep_base_page(&self, page: &[u8], offset: u64, version: u64) {
        let page_size = self.page_size.bytes();
        let is_page = page.len() == page_size && offset.is_multiple_of(page_size as u64);
        if let (true, Ok(page_no)) = (is_page, u32::try_from(offset / page_size as u64 + 1)) {
            self.cache.keep_base(page_no, page, version);
        }
    }

    /// Read bytes of the database file from the view. `Ok(None)`: the caller reads the range from the base file, in
    /// which all of it lies. `Ok(Some(n))`: `n` bytes are in `buf`, the rest is behind the end of the file.
    pub fn read_view(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>> {
        let page_size = self.page_size.bytes();
        let page_no = offset / page_size as u64 + 1;
        let within = (offset % page_size as u64) as usize;
        if within + buf.len() <= page_size {
            return self.read_view_page(page_no, within, buf);
        }
        // Not what SQLite does, but what the interface allows: page by page.
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let within = (at % page_size as u64) as usize;
            let len = (page_size - within).min(buf.len() - done);
            let part = &mut buf[done..done + len];
            let got = match self.read_view_page(at / page_size as u64 + 1, within, part)? {
                Some(got) => got,
                None => self.base.read_at(part, at)?,
            };
            done += got;
            if got < len {
                break;
            }
        }
        Ok(Some(done))
    }

    fn read_view_page(&self, page_no: u64, within: usize, buf: &mut [u8]) -> Result<Option<usize>> {
        let Ok(page_no) = u32::try_from(page_no) else { return Ok(Some(0)) };
        while let Some(frame_no) = self.index.get(page_no) {
            match self.read_page(frame_no, within, buf) {
                Ok(()) => return Ok(Some(buf.len())),
                // A checkpoint pass may have moved the page to the base file since the index was read.
                Err(error) if self.index.get(page_no) == Some(frame_no) => return Err(error),
                Err(_) => {}
            }
        }
        if page_no > self.positions.base_pages() {
            return Ok(Some(0));
        }
        Ok(self.cache.read_base(page_no, within, buf).then_some(buf.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::Place;
    use super::*;
    use crate::cache::{FrameCache, LogCache};

    const PAGE: usize = 512;
    const PAGES: u32 = 24;

    fn commit(log: &Log, db_size_pages: u32, pages: &[(u32, u8)]) {
        let from = log.published_frame_no() + 1;
        for (&(page_no, byte), frame_no) in pages.iter().zip(from..) {
            let is_last = frame_no == from + pages.len() as u64 - 1;
            let mut header = [0; 24];
            header[..4].copy_from_slice(&page_no.to_be_bytes());
            header[4..8].copy_from_slice(&if is_last { db_size_pages } else { 0 }.to_be_bytes());
            log.write(frame_no, 0, &header).unwrap();
            log.write(frame_no, 24, &[byte; PAGE]).unwrap();
        }
        log.end_transaction(from + pages.len() as u64 - 1);
    }

    /// The page as a connection reads it, which keeps a copy of what it found in the base file. `before_keeping` happens in between.
    fn read(log: &Log, page_no: u32, before_keeping: impl FnOnce()) -> Option<u8> {
        let offset = u64::from(page_no - 1) * PAGE as u64;
        let mut page = [0; PAGE];
        let got = match log.read_view(&mut page, offset).unwrap() {
            Some(got) => got,
            None => {
                let version = log.cache.base_version();
                let got = log.base.read_at(&mut page, offset).unwrap();
                before_keeping();
                log.keep_base_page(&page[..got], offset, version);
                got
            }
        };
        assert!(page[..got].iter().all(|&byte| byte == page[0]), "page {page_no} is of two versions");
        (got == PAGE).then_some(page[0])
    }

    /// Commits, absorption, passes and reads in random order: the view is always that of the last absorbed commit, whatever
    /// the cache, which has room for two thirds of the pages, keeps.
    #[test]
    fn the_cache_never_shows_an_old_page() {
        for seed in 1..=60 {
            let mut random = seed;
            let mut random = |below: u64| crate::testing::io::splitmix(&mut random) % below;
            let place = Place::new();
            let mut log = place.open_with(crate::options::Options::new()).unwrap();
            log.cache = LogCache::new(Arc::new(FrameCache::new(16 * 4096)), log.page_size);
            // Page 1 is the header of the database, and stays as it is.
            let mut published = vec![0; 2];
            let mut absorbed = published.clone();
            for _ in 0..600 {
                match random(10) {
                    0..3 => {
                        let size = 2 + random(u64::from(PAGES) - 1) as u32;
                        let mut pages: Vec<(u32, u8)> = (published.len() as u32 + 1..=size)
                            .map(|page_no| (page_no, random(256) as u8))
                            .collect();
                        for _ in 0..=random(3) {
                            pages.push((2 + random(u64::from(size) - 1) as u32, random(256) as u8));
                        }
                        commit(&log, size, &pages);
                        published.resize(size as usize, 0);
                        for (page_no, byte) in pages {
                            published[page_no as usize - 1] = byte;
                        }
                    }
                    3 => {
                        log.absorb(log.published_frame_no());
                        log.set_generation_base(log.published_frame_no());
                        absorbed.clone_from(&published);
                    }
                    4 => drop(log.checkpoint().unwrap()),
                    _ => {
                        let page_no = 2 + random(absorbed.len() as u64 - 1) as u32;
                        let expected = Some(absorbed[page_no as usize - 1]);
                        let with_a_pass = random(8) == 0;
                        let found = read(&log, page_no, || {
                            if with_a_pass {
                                log.absorb(log.published_frame_no());
                                log.checkpoint().unwrap();
                            }
                        });
                        assert_eq!(found, expected, "page {page_no}, seed {seed}");
                        if with_a_pass {
                            log.absorb(log.published_frame_no());
                            absorbed.clone_from(&published);
                        }
                    }
                }
            }
        }
    }
}
