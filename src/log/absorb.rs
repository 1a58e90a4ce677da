//! Absorption: a checkpoint that moves no data.
//!
//! The *view* of the database file is, for each page, its newest absorbed frame, or else the base file. When `wal.c`
//! believes that it has copied frames into the database file, those frames become part of the view: their pages' entries
//! in the index now point at them.
//!
//! Frames are absorbed as a prefix, up to a commit. `wal.c` tells how far it went in `nBackfillAttempted`, which is never
//! beyond the snapshot of any reader that reads the WAL, and it keeps readers of the bare database file away meanwhile
//! (`WAL_READ_LOCK(0)`): so no open read transaction sees the view change (invariant 4).

use std::sync::atomic::Ordering;

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
        self.control.view_pages.store(db_size_pages, Ordering::Release);
        self.control.absorbed.store(last, Ordering::Release);
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
        if page_no > self.control.base_pages.load(Ordering::Acquire) {
            return Ok(Some(0));
        }
        Ok(None)
    }
}
