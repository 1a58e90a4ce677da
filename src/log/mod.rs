//! The log of one database: numbered frames in segments, and the view of the database file that they make up.
//!
//! The positions, and the order in which they move, are in `positions.rs`:
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
mod base;
mod group;
mod judge;
mod meta_file;
mod open;
mod pace;
mod place;
mod positions;
mod recover;
mod refusal;
mod remote;
mod segments;
mod stats;
mod sync;
mod tail;
mod wakeup;
mod which;
mod which_frames;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_utils::CachePadded;

pub(crate) use base::{BaseState, Pass, commit_us_of};
pub(crate) use judge::{Depth as ReadDepth, Fate, Finding, Judged, Verdict, judge, read};
pub(crate) use meta_file::MetaFile;
pub use meta_file::{META_NAME, NEW_META_NAME, read_meta};
pub use open::{LOCK_NAME, LogSource, SHM_NAME};
pub(crate) use open::{completed, new_log_id};

use crate::cache::LogCache;
use crate::error::{Error, Result};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::io::{File, Io, LockFile};
use crate::options::Options;
use crate::page_index::PageIndex;
use crate::segment::{FrameMark, Segment, SpareFiles};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use crate::sync::{Mutex, RwLock};
use crate::types::{LogId, PageSize, Parent};
pub use pace::Debt;
use pace::Pace;
pub(crate) use positions::{PassLimit, Positions};
pub(crate) use refusal::STRANGER;
use remote::Remote;
use segments::{Names, SegmentSizes};
use tail::Tail;
pub(crate) use wakeup::Wakeup;

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
    pub(crate) positions: Positions,
    /// Ascending; the last one is the current one.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    pub(crate) spares: SpareFiles,
    pub(crate) index: PageIndex,
    /// `None`: a log that is open read-only.
    pub(crate) meta: Mutex<Option<MetaFile>>,
    pub(crate) cache: LogCache,
    /// Apart from what readers use, like everything that each commit changes.
    tail: CachePadded<Mutex<Tail>>,
    sync: sync::SyncState,
    stats: stats::Stats,
    absorbing: Mutex<()>,
    /// The base file carries a footer of this log.
    pub(crate) has_footer: AtomicBool,
    segment_sizes: SegmentSizes,
    names: Names,
    /// Time of the oldest commit that is not checkpointed, microseconds since 1970; 0: none.
    pub(crate) oldest_us: AtomicU64,
    /// A commit that reaches this frame wakes the syncer, who looks after the current segment then. Changed under the lock of
    /// the tail.
    syncer_wanted_at: AtomicU64,
    pub(crate) syncer: Wakeup,
    pub(crate) remote: Remote,
    pace: Pace,
    place: place::Place,
    refusal: refusal::Refusal,
    pub(crate) checkpointer: Wakeup,
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

    /// Call `visit` with the marks of published frames in `from..=to`, in order, for as long as it returns true. It ends at the
    /// first frame that the log does not have, or that recovery stepped over.
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
            && segment.first() <= next
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

    /// The last frame that is in a segment, as part of a commit that may still be tentative.
    pub fn written_frame_no(&self) -> u64 {
        self.positions.written()
    }

    /// The last frame that readers may see.
    pub fn published_frame_no(&self) -> u64 {
        self.positions.published()
    }

    /// The last frame that survives a power loss.
    pub fn synced_frame_no(&self) -> u64 {
        self.positions.synced()
    }

    /// The last frame that is part of the view of the database file.
    pub fn absorbed_frame_no(&self) -> u64 {
        self.positions.absorbed()
    }

    /// The last frame that is in the base file: what the footer says.
    pub fn checkpointed_frame_no(&self) -> u64 {
        self.positions.checkpointed()
    }

    /// Pages of the database file as SQLite sees it.
    pub fn view_pages(&self) -> u32 {
        self.positions.view_pages()
    }

    /// Pages of the database as of the last commit.
    pub fn database_pages(&self) -> u32 {
        self.positions.published_pages()
    }

    /// Bytes of a frame in a segment.
    pub fn frame_size(&self) -> usize {
        FRAME_HEADER_SIZE + self.page_size.bytes()
    }

    /// The last error of a background task, or else the last refusal of a connection's call, for status reports. One that goes on
    /// is told for as long as it does, whatever else succeeds.
    pub fn last_error(&self) -> Option<String> {
        let refusal = self.refusal();
        let lasting = match self.check_poison() {
            // What a commit was told of storage says what storage is in trouble with.
            Ok(()) => (self.gone().or_else(|| self.fence()))
                .or_else(|| refusal.clone().filter(Error::has_cause))
                .or_else(|| self.shipping_trouble()),
            Err(poison) => Some(poison),
        };
        let lasting = lasting.map(|error| error.to_string()).or_else(|| self.last_error.lock().clone());
        lasting.or_else(|| refusal.map(|error| error.to_string()))
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
        let mut lock = self.lock.lock();
        // Until now another thread could make it step aside, also after the last close had looked.
        if lock.is_some()
            && let Err(error) = self.remove_aside()
        {
            self.note_error(&error);
        }
        drop(lock.take());
    }

    /// The last frame that has been begun, for the size of the -wal file as its writer sees it.
    pub fn open_frame_no(&self) -> u64 {
        self.tail.lock().end()
    }

    /// The last frame that the open transaction has begun: up to here its writer can read, also what was cut off.
    pub fn reached_frame_no(&self) -> u64 {
        self.tail.lock().reached()
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
        if at >= HEADER && frame_no <= self.positions.written() {
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
        if self.cache.read_frame(frame_no, offset, buf) {
            return Ok(());
        }
        self.with_frame(frame_no, |frame| {
            let page = &frame[FRAME_HEADER_SIZE..];
            buf.copy_from_slice(&page[offset..offset + buf.len()]);
            self.cache.keep_frame(frame_no, page);
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
        self.positions.begin_generation(frame_no);
        self.checkpointer.notify();
    }

    /// See [`Log::set_generation_base`].
    pub fn generation_base(&self) -> u64 {
        self.positions.generation_base()
    }

    /// Bytes in segments that hold frames, and how many segments those are.
    pub fn size(&self) -> (u64, u64) {
        let segments = self.segments.read();
        let used = segments.iter().filter(|segment| segment.end() >= segment.start());
        used.fold((0, 0), |(bytes, count), segment| (bytes + segment.used_bytes(), count + 1))
    }

    /// Bytes of frames that are absorbed and not checkpointed.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.bytes_behind(self.absorbed_frame_no())
    }

    /// Bytes of the frames up to `frame_no` that are not checkpointed.
    fn bytes_behind(&self, frame_no: u64) -> u64 {
        frame_no.saturating_sub(self.checkpointed_frame_no()).saturating_mul(self.frame_size() as u64)
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
        self.syncer.notify_if_idle();
        if self.published_frame_no() >= self.syncer_wanted_at.load(Ordering::Relaxed) {
            self.syncer_wanted_at.store(u64::MAX, Ordering::Relaxed);
            self.syncer.notify();
        }
        self.wake_shipper();
    }
}

#[cfg(test)]
mod tests;
