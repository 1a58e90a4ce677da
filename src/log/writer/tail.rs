//! The tail: the transaction that is being written.
//!
//! SQLite writes a frame as two writes, header and page, and may write again to any frame of the transaction: pages that
//! a cache spill wrote before they were final, then the headers of all frames behind them, since SQLite's own checksums
//! are chained too. So the frames are collected in memory, and go to the segment in one write when the last frame is
//! complete and has a commit mark. A transaction that outgrows the buffer is written in pieces; what SQLite overwrites
//! in a piece that is written already is patched in the file, and the checksums behind it are made anew at the commit.
//!
//! A commit is *tentative* until `wal.c` has published it: it can still fail, and then the next transaction writes
//! other frames under the same numbers.

use std::sync::Arc;

use crate::error::{Error, FileOp, Result};
use crate::format::frame::{FRAME_HEADER_SIZE, FrameStamp, SQLITE_FRAME_HEADER_SIZE};
use crate::log::shared::Shared;
use crate::log::view::View;
use crate::memory;
use crate::segment::{FrameMark, Segment};
use crate::shm::TailState;

/// A transaction larger than this goes to the segment in pieces of about this size.
const FLUSH_BYTES: usize = 1 << 20;
/// Where our fields begin in a frame header.
const STAMP: usize = SQLITE_FRAME_HEADER_SIZE;

/// See the module. Guarded by one mutex; only the holder of `WAL_WRITE_LOCK` changes it.
pub(super) struct Tail {
    shared: Arc<Shared>,
    view: Arc<View>,
    /// Where frames go now.
    segment: Option<Arc<Segment>>,
    /// No other segment is begun before this frame: none could be.
    pub(super) stays_until: u64,
    /// Bytes of a frame on disk.
    frame_size: usize,
    /// Checksum of frame `first - 1`.
    crc: u32,
    /// The first frame that is not published.
    first: u64,
    /// Frames from `first` on. What a rollback left behind stays until it is overwritten or cut off by a commit mark.
    marks: Vec<FrameMark>,
    /// The last frame that the transaction has begun. Those beyond the end were cut off; in a file they would still be there.
    reached: u64,
    /// The first frame in `buffer`; those before it are in the segment.
    buffered_from: u64,
    buffer: Vec<u8>,
    /// Checksum of frame `buffered_from - 1` as it is in the segment.
    flushed_crc: u32,
    /// The first frame in the segment whose checksum no longer holds.
    restamp_from: Option<u64>,
    /// The page of the last frame is there, not just its header.
    complete: bool,
    /// The frame that was last read as a whole. `wal.c` does that before it renews the header's checksum, and then no
    /// page follows the header.
    reread: Option<u64>,
    /// The frames are in the segment, as a tentative commit whose last frame has this checksum.
    commit: Option<u32>,
}

impl Tail {
    /// Of the log as it is now; see [`Tail::follow`].
    pub(super) fn new(shared: &Arc<Shared>, view: &Arc<View>) -> Tail {
        let published = shared.positions.published();
        let crc = shared.memory.state().tail().crc;
        Tail {
            shared: Arc::clone(shared),
            view: Arc::clone(view),
            frame_size: shared.frame_size(),
            segment: None,
            stays_until: 0,
            crc,
            first: published + 1,
            marks: Vec::new(),
            reached: published,
            buffered_from: published + 1,
            buffer: Vec::new(),
            flushed_crc: crc,
            restamp_from: None,
            complete: false,
            reread: None,
            commit: None,
        }
    }

    /// The last frame that has been begun; `first - 1` when there is none.
    pub(super) fn end(&self) -> u64 {
        self.first + self.marks.len() as u64 - 1
    }

    /// Whether there is a tentative commit.
    pub(super) fn is_committed(&self) -> bool {
        self.commit.is_some()
    }

    /// Whether no frame is open.
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether the last frame is there, and ends the transaction.
    pub(super) fn ends_with_commit(&self) -> bool {
        self.complete && self.marks.last().is_some_and(|mark| mark.db_size_pages != 0)
    }

    /// Invariant 1: a published frame is never overwritten, and none is left out. `wal.c` would have to be broken for an error.
    pub(super) fn check_open(&self, frame_no: u64, at: usize) -> Result<()> {
        if frame_no >= self.first && (frame_no <= self.end() || (frame_no == self.end() + 1 && at == 0)) {
            return Ok(());
        }
        Err(Error::corrupt(
            &self.shared.dir,
            None,
            format!(
                "SQLite writes to frame {frame_no}, but only frames {} to {} are open",
                self.first,
                self.end() + 1
            ),
        ))
    }

    /// Write bytes into an open frame. `at` counts from the start of the frame as SQLite sees it: 24 bytes of header, then the
    /// page. The bytes lie in that one frame.
    pub(super) fn write(&mut self, frame_no: u64, at: usize, bytes: &[u8]) -> Result<()> {
        let split = bytes.len().min(SQLITE_FRAME_HEADER_SIZE.saturating_sub(at));
        let (header, page) = bytes.split_at(split);
        if !header.is_empty() {
            self.write_header(frame_no, at, header)?;
        }
        if !page.is_empty() {
            let from = at.max(SQLITE_FRAME_HEADER_SIZE) - SQLITE_FRAME_HEADER_SIZE;
            self.put(frame_no, FRAME_HEADER_SIZE + from, page)?;
            if frame_no == self.end() && from + page.len() == self.shared.page_size.bytes() {
                self.complete = true;
            }
        }
        self.reread = None;
        Ok(())
    }

    fn write_header(&mut self, frame_no: u64, at: usize, header: &[u8]) -> Result<()> {
        self.put(frame_no, at, header)?;
        let mut words = [0; 8];
        self.get(frame_no, 0, &mut words)?;
        let mark = FrameMark {
            page_no: u32::from_be_bytes([words[0], words[1], words[2], words[3]]),
            db_size_pages: u32::from_be_bytes([words[4], words[5], words[6], words[7]]),
        };
        self.marks[(frame_no - self.first) as usize] = mark;
        if mark.db_size_pages != 0 && frame_no < self.end() {
            // A commit ends the transaction: what lies behind it was rolled back.
            self.cut(frame_no);
        }
        if frame_no == self.end() && self.reread != Some(frame_no) {
            self.complete = false;
        }
        Ok(())
    }

    /// Open a frame behind the last one.
    pub(super) fn append(&mut self) -> Result<()> {
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        if self.end() - self.shared.positions.checkpointed() >= self.view.index.window() / 2 {
            return Err(Error::Full { op: FileOp::Append, path: self.shared.dir.clone() });
        }
        // Both before either is changed, so that a frame is begun wholly or not at all.
        memory::reserve(&mut self.marks, 1, "the list of a transaction's frames")?;
        let len = self.buffer.len() + self.frame_size;
        memory::resize(&mut self.buffer, len, "the frames of a transaction")?;
        self.marks.push(FrameMark { page_no: 0, db_size_pages: 0 });
        self.reached = self.reached.max(self.end());
        self.complete = false;
        Ok(())
    }

    /// Frames behind `last` do not belong to the transaction any more.
    fn cut(&mut self, last: u64) {
        self.marks.truncate((last + 1 - self.first) as usize);
        if last < self.buffered_from {
            self.buffer.clear();
            self.buffered_from = last + 1;
            // The frame before the new start of the buffer may be among those to be stamped anew; if it is not, its
            // stamp in the file holds, and stamping it again finds its checksum.
            self.restamp_from = Some(self.restamp_from.unwrap_or(last).min(last));
        } else {
            self.buffer.truncate((last + 1 - self.buffered_from) as usize * self.frame_size);
        }
    }

    fn segment(&self) -> Result<&Arc<Segment>> {
        self.segment.as_ref().ok_or_else(|| Error::Usage("a frame is written outside a transaction".into()))
    }

    /// Offset in the buffer of byte `at` of a frame, or `None` when the frame is in the segment.
    fn buffer_offset(&self, frame_no: u64, at: usize) -> Option<usize> {
        let index = frame_no.checked_sub(self.buffered_from)? as usize;
        Some(index * self.frame_size + at)
    }

    /// Write bytes of a frame record, ours included, that is in the buffer or in the segment already.
    fn put(&mut self, frame_no: u64, at: usize, bytes: &[u8]) -> Result<()> {
        if let Some(offset) = self.buffer_offset(frame_no, at) {
            self.buffer[offset..offset + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        self.restamp_from = Some(self.restamp_from.unwrap_or(frame_no).min(frame_no));
        self.segment()?.write_frames(frame_no, at, bytes)
    }

    /// Read bytes of a frame record.
    fn get(&self, frame_no: u64, at: usize, buf: &mut [u8]) -> Result<()> {
        if let Some(offset) = self.buffer_offset(frame_no, at) {
            buf.copy_from_slice(&self.buffer[offset..offset + buf.len()]);
            return Ok(());
        }
        self.segment()?.read_raw(frame_no, at, buf)
    }

    /// Read bytes of a frame that the tail [holds](Tail::holds), `at` as in [`Tail::write`]. Frames that were cut off are zeros.
    pub(super) fn read(&mut self, frame_no: u64, at: usize, buf: &mut [u8]) -> Result<()> {
        if frame_no > self.end() {
            // After ROLLBACK TO over frames that were overwritten, SQLite before 3.50 asks at the commit for the checksum of
            // a frame that was rolled back. In a file it finds an old one there, which is as wrong as zeros: only SQLite's own
            // recovery would compare it. But "end of file" would make the commit fail.
            buf.fill(0);
            return Ok(());
        }
        if at == 0 && buf.len() == SQLITE_FRAME_HEADER_SIZE + self.shared.page_size.bytes() {
            self.reread = Some(frame_no);
        }
        let split = buf.len().min(SQLITE_FRAME_HEADER_SIZE.saturating_sub(at));
        let (header, page) = buf.split_at_mut(split);
        if !header.is_empty() {
            self.get(frame_no, at, header)?;
        }
        if !page.is_empty() {
            let from = at.max(SQLITE_FRAME_HEADER_SIZE) - SQLITE_FRAME_HEADER_SIZE;
            self.get(frame_no, FRAME_HEADER_SIZE + from, page)?;
        }
        Ok(())
    }

    /// The last frame that the open transaction has begun, cut off or not; `first - 1` when there is none.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// Whether the open transaction has begun a frame.
    pub(super) fn holds(&self, frame_no: u64) -> bool {
        (self.first..=self.reached).contains(&frame_no)
    }

    /// Stamp the buffered frames and write them. Returns the checksum of the last one.
    fn write_buffer(&mut self) -> Result<u32> {
        let segment = self.segment.as_ref().ok_or_else(|| Error::Usage("no segment is open".into()))?;
        let seed = segment.seed();
        let synced_frame_no = self.shared.positions.synced();
        let mut previous_crc = self.flushed_crc;
        let frames = self.buffer.chunks_exact_mut(self.frame_size);
        for (frame_no, frame) in (self.buffered_from..).zip(frames) {
            let is_commit = self.marks[(frame_no - self.first) as usize].db_size_pages != 0;
            let commit_us = if is_commit { self.shared.io.now_us() } else { 0 };
            previous_crc =
                FrameStamp { seed, frame_no, commit_us, synced_frame_no, previous_crc }.apply(frame);
        }
        if !self.buffer.is_empty() {
            segment.write_frames(self.buffered_from, 0, &self.buffer)?;
        }
        Ok(previous_crc)
    }

    /// Move the buffer to the segment, to make room for more of the same transaction.
    fn flush(&mut self) -> Result<()> {
        self.flushed_crc = self.write_buffer()?;
        self.buffered_from = self.end() + 1;
        self.buffer.clear();
        Ok(())
    }

    /// Make the checksums of frames in the segment hold again, from the first one that was overwritten.
    fn restamp(&mut self) -> Result<()> {
        let Some(from) = self.restamp_from else { return Ok(()) };
        let segment = Arc::clone(self.segment()?);
        let mut previous_crc = if from == self.first {
            self.crc
        } else {
            let mut crc = [0; 4];
            segment.read_raw(from - 1, FRAME_HEADER_SIZE - 4, &mut crc)?;
            u32::from_be_bytes(crc)
        };
        let synced_frame_no = self.shared.positions.synced();
        let mut frame = Vec::new();
        memory::resize(&mut frame, self.frame_size, "a frame")?;
        for frame_no in from..self.buffered_from {
            segment.read_raw(frame_no, 0, &mut frame)?;
            let is_commit = self.marks[(frame_no - self.first) as usize].db_size_pages != 0;
            let commit_us = if is_commit { self.shared.io.now_us() } else { 0 };
            let stamp =
                FrameStamp { seed: segment.seed(), frame_no, commit_us, synced_frame_no, previous_crc };
            previous_crc = stamp.apply(&mut frame);
            segment.write_frames(frame_no, STAMP, &frame[STAMP..FRAME_HEADER_SIZE])?;
        }
        self.flushed_crc = previous_crc;
        self.restamp_from = None;
        Ok(())
    }

    /// The transaction is complete: everything goes to the segment, as a tentative commit.
    pub(super) fn write_commit(&mut self) -> Result<()> {
        // What publishing and absorbing the commit needs: they come when it stands already, and cannot fail any more.
        self.segment()?.reserve(self.marks.len())?;
        self.marks.iter().try_for_each(|mark| self.view.index.prepare(mark.page_no))?;
        self.restamp()?;
        let crc = self.write_buffer()?;
        for (frame_no, frame) in (self.buffered_from..).zip(self.buffer.chunks_exact(self.frame_size)) {
            let page_no = self.marks[(frame_no - self.first) as usize].page_no;
            self.view.cache.keep_commit(self.view.key(page_no), frame_no, &frame[FRAME_HEADER_SIZE..]);
        }
        self.commit = Some(crc);
        self.shared.positions.write(self.end());
        Ok(())
    }

    /// SQLite changes or drops frames of the tentative commit: it is none any more.
    pub(super) fn take_back(&mut self) {
        self.commit = None;
        self.view.cache.remove_frames(self.first..=self.end());
    }

    /// `wal.c` has published the tentative commit. `None`: there is none.
    pub(super) fn publish(&mut self) -> Option<()> {
        let crc = self.commit.take()?;
        let end = self.end();
        if let Some(segment) = &self.segment {
            segment.publish(&self.marks);
        }
        // Before the position: who finds the position where it was, and this process dead, finds the checksum in the frame.
        self.tell(crc);
        self.shared.positions.publish(end, self.marks.last().map(|mark| mark.db_size_pages));
        self.reset(end, crc);
        Some(())
    }

    /// The write transaction ended without publishing: drop its frames. There is no tentative commit any more.
    pub(super) fn drop_open(&mut self) {
        if !self.is_empty() {
            self.reset(self.first - 1, self.crc);
        }
    }

    fn reset(&mut self, published: u64, crc: u32) {
        self.crc = crc;
        self.first = published + 1;
        self.reached = published;
        self.marks.clear();
        self.buffered_from = self.first;
        self.buffer.clear();
        if self.buffer.capacity() > 2 * FLUSH_BYTES || self.marks.capacity() > FLUSH_BYTES {
            self.buffer = Vec::new();
            self.marks = Vec::new();
        }
        self.flushed_crc = crc;
        self.restamp_from = None;
        self.complete = false;
        self.reread = None;
        self.commit = None;
    }

    /// The next transaction begins a new segment, which continues the chain here. There is no open frame.
    pub(super) fn set_segment(&mut self, segment: Arc<Segment>) {
        let (start, seed) = (segment.start(), segment.seed());
        self.segment = Some(segment);
        self.set_crc(seed);
        self.shared.memory.state().set_complete_before(start);
    }

    /// Where frames go now; `None`: the next transaction begins a segment.
    pub(super) fn current(&self) -> Option<&Arc<Segment>> {
        self.segment.as_ref()
    }

    /// No other segment could be begun: go on in this one.
    pub(super) fn keep_segment(&mut self, segment: Arc<Segment>) {
        let crc = if segment.start() == self.first { segment.seed() } else { self.crc };
        self.segment = Some(segment);
        self.set_crc(crc);
    }

    /// The next transaction begins a new segment. There is no open frame. One without frames is passed over: the chain goes on from the segment
    /// before it.
    pub(super) fn take_segment(&mut self) -> Option<Arc<Segment>> {
        let segment = self.segment.take();
        let empty = segment.as_ref().filter(|segment| segment.start() == self.first);
        // Both at once, for a process that goes on when this one has died.
        self.set_crc(empty.map_or(self.crc, |segment| segment.header().previous_crc));
        segment
    }

    /// The next frame continues the chain from a frame, or a segment header, with this checksum. There is no open frame.
    pub(super) fn set_crc(&mut self, crc: u32) {
        self.crc = crc;
        self.flushed_crc = crc;
        self.tell(crc);
    }

    /// Tell the other processes where the next frame goes.
    fn tell(&self, crc: u32) {
        let segment = self.segment.as_ref();
        self.shared.memory.state().set_tail(TailState {
            start: segment.map(|segment| segment.start()),
            seed: segment.map_or(0, |segment| segment.seed()),
            crc,
        });
    }

    /// Go on after the last frame that was published, whichever process wrote it. There is no open frame, and no process writes.
    ///
    /// Errors: the current segment is another process's, and cannot be opened.
    pub(super) fn follow(&mut self) -> Result<()> {
        let (published, now) = (self.shared.positions.published(), self.shared.memory.state().tail());
        let is_current =
            |segment: &Arc<Segment>| Some(segment.start()) == now.start && segment.seed() == now.seed;
        if self.first != published + 1 || self.crc != now.crc {
            self.reset(published, now.crc);
        }
        if self.segment.as_ref().is_some_and(is_current) || self.segment.is_none() && now.start.is_none() {
            if let Some(segment) = &self.segment {
                segment.extend(published);
            }
            return Ok(());
        }
        self.segment = match now.start {
            None => None,
            Some(start) => Some(self.view.current_segment(start, now.seed, published)?),
        };
        Ok(())
    }

    /// The next frame number and the checksum before it, for the header of a new segment.
    pub(super) fn position(&self) -> (u64, u32) {
        (self.first, self.crc)
    }
}
