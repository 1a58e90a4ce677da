//! The log of one database: numbered frames in segments, and the view of the database file that they make up.
//!
//! The numbers that matter move in this order, and each is at most the one before it:
//!
//! `written` ≥ `published` ≥ `absorbed` ≥ `checkpointed`, and `published` ≥ `synced` (but for a commit that is fsynced
//! before it is published). With storage, `synced` ≥ `stored` ≥ `checkpointed` too.
//!
//! - *written*: in the segment, as a tentative commit.
//! - *published*: `wal.c` lets readers see it; it will never be overwritten.
//! - *stored*: in storage (`remote.rs`).
//! - *absorbed*: part of the view of the database file ([`Log::absorb`]).
//! - *checkpointed*: in the base file, durably (`checkpoint.rs`).
//!
//! What SQLite's locks guarantee, and this module relies on, is written down where it is used; the invariants have
//! numbers in `docs/design.md`.

mod absorb;
mod control;
mod group;
mod meta_file;
mod open;
mod pace;
mod recover;
mod remote;
mod stats;
mod sync;
mod tail;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use parking_lot::{Condvar, Mutex, RwLock};

use control::Control;
pub(crate) use meta_file::MetaFile;
pub use meta_file::{META_NAME, read_meta};
pub(crate) use open::new_log_id;
pub use open::{LOCK_NAME, LogSource, SHM_NAME};

use crate::cache::{CacheId, FrameCache};
use crate::error::{Error, Result};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::segment_header::{SEGMENT_HEAD_SIZE, SegmentHeader};
use crate::format::segment_index::{index_offset, index_size};
use crate::io::{File, Io, LockFile, OpenMode};
use crate::options::{Options, SwapPolicy};
use crate::page_index::PageIndex;
use crate::segment::{FrameMark, Segment, SpareFiles, segment_name};
use crate::types::{LogId, PageSize, Parent};
pub use pace::Debt;
use pace::Pace;
use remote::Remote;
use tail::Tail;

/// A flag that a background thread sleeps on.
#[derive(Default)]
pub(crate) struct Signal {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Wake the thread.
    pub(crate) fn notify(&self) {
        let mut set = self.set.lock();
        if !*set {
            *set = true;
            self.changed.notify_one();
        }
    }

    /// Sleep until notified, or for `timeout`.
    pub(crate) fn wait(&self, timeout: Option<std::time::Duration>) {
        let mut set = self.set.lock();
        if !*set {
            match timeout {
                Some(timeout) => drop(self.changed.wait_for(&mut set, timeout)),
                None => self.changed.wait(&mut set),
            }
        }
        *set = false;
    }
}

/// An open log. Shared by all connections of the process to one database.
pub struct Log {
    pub(crate) io: Arc<dyn Io>,
    /// The log directory.
    pub(crate) dir: PathBuf,
    /// The database file.
    pub(crate) database: PathBuf,
    pub(crate) base: Arc<dyn File>,
    pub(crate) options: Options,
    pub(crate) read_only: bool,
    pub(crate) log_id: LogId,
    /// The log that this one continues, if it does.
    parent: Option<Parent>,
    pub(crate) page_size: PageSize,
    pub(crate) control: Control,
    /// Ascending; the last one is the current one.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) spares: SpareFiles,
    pub(crate) index: PageIndex,
    /// `None`: a log that is open read-only.
    pub(crate) meta: Mutex<Option<MetaFile>>,
    cache: Arc<FrameCache>,
    cache_id: CacheId,
    tail: Mutex<Tail>,
    sync: sync::SyncState,
    stats: stats::Stats,
    absorbing: Mutex<()>,
    /// The base file carries a footer of this log.
    pub(crate) has_footer: AtomicBool,
    /// Names in the directory changed since it was last fsynced.
    names_changed: AtomicBool,
    /// Time of the oldest commit that is not checkpointed, microseconds since 1970; 0: none.
    pub(crate) oldest_us: AtomicU64,
    /// The syncer sleeps without a timeout: the next commit wakes it.
    pub(crate) syncer_idle: AtomicBool,
    pub(crate) syncer: Signal,
    pub(crate) remote: Remote,
    pace: Pace,
    pub(crate) checkpointer: Signal,
    pub(crate) pass: Mutex<()>,
    /// How many are reading the base file as it is: no pass may change it.
    pub(crate) base_pins: AtomicU32,
    last_error: Mutex<Option<String>>,
    report: fn(&Error),
    /// `None`: closed. A handle that an application still has must not keep others away.
    lock: Mutex<Option<LockFile>>,
    closed: AtomicBool,
}

thread_local! {
    /// A frame as it is read from disk, to be verified before any of it is handed out.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Log {
    /// The database file.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The log directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The lineage of the frame numbers.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The log that this one continues, if it does.
    pub fn parent(&self) -> Option<Parent> {
        self.parent
    }

    /// Call `visit` with the marks of published frames in `from..=to`, in order, for as long as it returns true.
    pub(crate) fn for_each_mark_while(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, FrameMark) -> bool,
    ) {
        let mut next = from;
        while next <= to
            && let Some(segment) = self.find_segment(next)
            && segment.end() >= next
        {
            let mut goes_on = true;
            segment.for_each_mark(next, to, |frame_no, mark| goes_on = goes_on && visit(frame_no, mark));
            if !goes_on {
                return;
            }
            next = segment.end().min(to) + 1;
        }
    }

    /// Page size of the database.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Bytes of a frame in a segment.
    pub fn frame_size(&self) -> usize {
        FRAME_HEADER_SIZE + self.page_size.bytes()
    }

    /// The last error of a background task, for status reports. One that goes on is told for as long as it does, whatever
    /// else succeeds.
    pub fn last_error(&self) -> Option<String> {
        let lasting = match self.check_poison() {
            Ok(()) => self.fence().or_else(|| self.shipping_trouble()),
            Err(poison) => Some(poison),
        };
        lasting.map(|error| error.to_string()).or_else(|| self.last_error.lock().clone())
    }

    /// Remember and report an error that no caller is told.
    pub(crate) fn note_error(&self, error: &Error) {
        *self.last_error.lock() = Some(error.to_string());
        (self.report)(error);
    }

    /// A background task that failed before has succeeded.
    pub(crate) fn clear_error(&self) {
        if self.check_poison().is_ok() {
            *self.last_error.lock() = None;
        }
    }

    /// Whether frames can be written: the log is neither read-only nor poisoned.
    pub fn check_writable(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::NotVirtual(format!("'{}'", self.database.display())));
        }
        if self.read_only {
            return Err(Error::ReadOnly { path: self.dir.clone() });
        }
        self.check_poison()
    }

    /// Write into an open frame; see `tail.rs`. Only the holder of the write lock may call this.
    pub fn write(&self, frame_no: u64, at: usize, bytes: &[u8]) -> Result<()> {
        self.tail.lock().write(self, frame_no, at, bytes)
    }

    /// Whether there is a tentative commit; its last frame.
    pub fn tentative_commit(&self) -> Option<u64> {
        let tail = self.tail.lock();
        tail.is_committed().then(|| tail.end())
    }

    /// The last connection is gone: from here on another process may open the log.
    pub(crate) fn release_lock(&self) {
        // A pass that an application has asked for writes to the base file, which may be another process's next.
        let _pass = self.pass.lock();
        self.closed.store(true, Ordering::Relaxed);
        drop(self.lock.lock().take());
    }

    /// The last frame that has been begun, for the size of the -wal file as its writer sees it.
    pub fn open_frame_no(&self) -> u64 {
        self.tail.lock().end()
    }

    /// The write lock is released, or the commit acknowledged. `last`: the last frame that `wal.c` has published. A
    /// tentative commit beyond it is dropped.
    pub fn end_transaction(&self, last: u64) {
        let mut tail = self.tail.lock();
        if tail.is_committed() && tail.end() <= last {
            tail.publish(self);
        } else {
            tail.drop_open(self);
        }
    }

    /// `wal.c` says that the commit which ends at `last` or before it stands.
    pub fn publish(&self, last: u64) {
        if self.published_frame_no() >= last {
            return;
        }
        let mut tail = self.tail.lock();
        if tail.is_committed() && tail.end() <= last {
            tail.publish(self);
        }
    }

    /// Read bytes of a frame, `at` counted from the start of SQLite's frame header. The bytes lie in that one frame.
    pub fn read_wal(&self, frame_no: u64, at: usize, buf: &mut [u8]) -> Result<()> {
        const HEADER: usize = crate::format::frame::SQLITE_FRAME_HEADER_SIZE;
        if at >= HEADER && frame_no <= self.control.written.load(Ordering::Acquire) {
            return self.read_page(frame_no, at - HEADER, buf);
        }
        let mut tail = self.tail.lock();
        if tail.holds(frame_no) {
            return tail.read(self, frame_no, at, buf);
        }
        drop(tail);
        // A published frame's header: wal.c asks for the checksum of the frame before the ones it renews.
        let (header, page) = buf.split_at_mut(buf.len().min(HEADER.saturating_sub(at)));
        if !page.is_empty() {
            self.read_page(frame_no, at.max(HEADER) - HEADER, page)?;
        }
        self.with_frame(frame_no, |frame| header.copy_from_slice(&frame[at..at + header.len()]))
    }

    /// Read bytes of the page in a frame that is written.
    pub fn read_page(&self, frame_no: u64, offset: usize, buf: &mut [u8]) -> Result<()> {
        if self.cache.read(self.cache_id, frame_no, offset, buf) {
            return Ok(());
        }
        self.with_frame(frame_no, |frame| {
            let page = &frame[FRAME_HEADER_SIZE..];
            buf.copy_from_slice(&page[offset..offset + buf.len()]);
            self.cache.insert(self.cache_id, frame_no, page);
        })
    }

    /// Read a frame from its segment and verify it.
    pub(crate) fn with_frame<T>(&self, frame_no: u64, use_frame: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let segment = self.find_segment(frame_no).ok_or_else(|| {
            Error::corrupt(&self.dir, None, format!("frame {frame_no} is in none of the segments"))
        })?;
        // Taken out while it is in use; and a thread that is ending has none any more.
        let mut frame = FRAME.try_with(RefCell::take).unwrap_or_default();
        let result = segment.read_frame(frame_no, &mut frame).map(|()| use_frame(&frame));
        let _ = FRAME.try_with(|kept| kept.replace(frame));
        result
    }

    /// The segment that has a frame.
    pub(crate) fn find_segment(&self, frame_no: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let at = segments.partition_point(|segment| segment.start() <= frame_no);
        at.checked_sub(1).map(|at| Arc::clone(&segments[at]))
    }

    /// The current generation of `wal.c` begins behind this frame: frames before it are read by nobody through the WAL.
    pub fn set_generation_base(&self, frame_no: u64) {
        self.control.generation_base.store(frame_no, Ordering::Release);
        self.checkpointer.notify();
    }

    /// See [`Log::set_generation_base`].
    pub fn generation_base(&self) -> u64 {
        self.control.generation_base.load(Ordering::Acquire)
    }

    /// Bytes in segments that hold frames, and how many segments those are.
    pub fn size(&self) -> (u64, u64) {
        let segments = self.segments.read();
        let used = segments.iter().filter(|segment| segment.end() >= segment.start());
        used.fold((0, 0), |(bytes, count), segment| (bytes + segment.used_bytes(), count + 1))
    }

    /// Bytes of frames that are absorbed and not checkpointed.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.absorbed_frame_no()
            .saturating_sub(self.checkpointed_frame_no())
            .saturating_mul(self.frame_size() as u64)
    }

    /// After a publish: the syncer has something to do.
    fn committed(&self) {
        self.stats.count_commit();
        // The background threads say that they are idle, and then look at `published` again. Here it is the other way round,
        // and neither may pass the other: a commit would go unnoticed until the next one.
        fence(Ordering::SeqCst);
        if self.oldest_us.load(Ordering::Relaxed) == 0 {
            self.oldest_us.store(self.io.now_us(), Ordering::Relaxed);
            self.checkpointer.notify();
        }
        if self.syncer_idle.load(Ordering::Relaxed) && self.syncer_idle.swap(false, Ordering::AcqRel) {
            self.syncer.notify();
        }
        self.wake_shipper();
    }

    /// A write transaction writes its first frame: swap the segment if that is due.
    fn begin_transaction(&self, tail: &mut Tail) -> Result<()> {
        let Some(segment) = &tail.segment else { return self.swap_segment(tail) };
        let frames = segment.end() + 1 - segment.start();
        if frames == 0 {
            return Ok(());
        }
        let bytes = segment.used_bytes();
        let age = self.io.now_us().saturating_sub(segment.header().created_us);
        if self.options.swap.is_due(frames, bytes, std::time::Duration::from_micros(age)) {
            return self.swap_segment(tail);
        }
        if bytes > self.spare_size() / 2 && self.spares.is_empty() {
            // Have the next file ready before it is needed.
            self.syncer.notify();
        }
        Ok(())
    }

    /// Whether the next segment file should be prepared now.
    pub(crate) fn wants_spare(&self) -> bool {
        self.spares.is_empty()
            && self.current_segment().is_some_and(|segment| segment.used_bytes() > self.spare_size() / 2)
    }

    /// Fsync and seal the segments that are complete, oldest first.
    pub(crate) fn seal_segments(&self) -> Result<()> {
        self.check_poison()?;
        let complete: Vec<Arc<Segment>> = {
            // A swap changes the list and the current segment under the lock of the tail. Seen without it, a segment that
            // has just become the current one could be taken for a complete one.
            let tail = self.tail.lock();
            let segments = self.segments.read();
            segments
                .iter()
                .filter(|segment| !segment.is_sealed() && !tail.appends_to(segment))
                .map(Arc::clone)
                .collect()
        };
        for segment in complete {
            self.sync_just_to(segment.end())?;
            if segment.write_seal(&*self.io)? {
                segment.sync_seal().inspect_err(|error| self.poison(error))?;
            }
        }
        Ok(())
    }

    /// Take the oldest segments out of the list: those that are complete and end at `limit` or before it.
    pub(crate) fn take_segments(&self, limit: u64) -> Vec<Arc<Segment>> {
        // The lock of the tail: as in `seal_segments`. A new current segment is empty, and so ends before any limit.
        let tail = self.tail.lock();
        let mut segments = self.segments.write();
        let keep = segments.iter().position(|segment| segment.end() > limit || tail.appends_to(segment));
        let count = keep.unwrap_or(segments.len());
        segments.drain(..count).collect()
    }

    /// Bytes of a spare file: the size at which segments are swapped, if the policy has one.
    pub(crate) fn spare_size(&self) -> u64 {
        spare_size(&self.options, self.frame_size())
    }

    /// Append to a new segment from now on. There is no open frame.
    fn swap_segment(&self, tail: &mut Tail) -> Result<()> {
        let (start_frame_no, previous_crc) = tail.position();
        let header = SegmentHeader {
            log_id: self.log_id,
            page_size: self.page_size,
            start_frame_no,
            created_us: self.io.now_us(),
            salt: self.io.random_u64(),
            previous_crc,
        };
        let path = self.dir.join(segment_name(start_frame_no));
        let file = match self.spares.take(&*self.io, &path)? {
            Some(file) => file,
            None => self.io.open(&path, OpenMode::Create)?,
        };
        self.names_changed.store(true, Ordering::Release);
        let segment = Arc::new(Segment::begin(file, path, header)?);
        self.segments.write().push(Arc::clone(&segment));
        tail.set_segment(segment);
        self.syncer.notify();
        Ok(())
    }

    /// The segment that frames are appended to.
    pub(crate) fn current_segment(&self) -> Option<Arc<Segment>> {
        self.tail.lock().segment.clone()
    }

    /// Close the current segment, if it has frames: the next transaction begins another one. The caller makes sure that
    /// no transaction is being written.
    pub(crate) fn retire_current(&self) {
        let mut tail = self.tail.lock();
        if tail.end() + 1 != tail.position().0 {
            return;
        }
        if let Some(segment) = tail.segment.take()
            && segment.end() < segment.start()
        {
            // It was begun by a transaction that rolled back. The chain goes on from the segment before it.
            tail.set_crc(segment.header().previous_crc);
            self.segments.write().retain(|other| !Arc::ptr_eq(other, &segment));
        }
    }
}

/// See [`Log::spare_size`].
fn spare_size(options: &Options, frame_size: usize) -> u64 {
    const DEFAULT: u64 = 4 << 20;
    let size = match &options.swap {
        SwapPolicy::Size(bytes) => *bytes,
        SwapPolicy::Frames(frames) => frames.saturating_mul(frame_size as u64),
        _ => DEFAULT,
    };
    let frame_size = frame_size as u64;
    let frames_end = size.clamp(64 << 10, 64 << 20) + SEGMENT_HEAD_SIZE as u64 + 4 * frame_size;
    index_offset(frames_end) + index_size(frames_end / frame_size)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.cache.remove_log(self.cache_id);
    }
}

#[cfg(test)]
mod tests;
