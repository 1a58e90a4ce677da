//! The writer: the open transaction, and the segments that frames are appended to.
//!
//! Only the holder of SQLite's `WAL_WRITE_LOCK` writes, publishes and drops frames. The syncer and the checkpointer take part in what happens between
//! two transactions (`swap.rs`), under the lock of the tail.

mod sizes;
mod swap;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub(super) use sizes::SegmentSizes;
use tail::Tail;

use super::durability::Durability;
use super::place::Place;
use super::shared::Shared;
use super::view::View;
use crate::error::{Error, Result};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::segment::SpareFiles;
use crate::shm::{Section, TailState};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// A write waits so long for a process that begins a segment.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    view: Arc<View>,
    place: Arc<Place>,
    durability: Arc<Durability>,
    /// Has a cache line of its own, like everything that each commit changes.
    tail: CachePadded<Mutex<Tail>>,
    spares: SpareFiles,
    sizes: SegmentSizes,
    /// A commit that reaches this frame wakes the syncer, who looks after the current segment then. Changed under the lock of
    /// the tail.
    syncer_wanted_at: CachePadded<AtomicU64>,
    /// Apart from what readers look at, too.
    commits: CachePadded<AtomicU64>,
}

impl Writer {
    /// Of a log that is open; nobody in this process writes yet.
    pub(super) fn new(
        shared: &Arc<Shared>,
        view: &Arc<View>,
        place: &Arc<Place>,
        durability: &Arc<Durability>,
        spares: SpareFiles,
        sizes: SegmentSizes,
    ) -> Writer {
        Writer {
            shared: Arc::clone(shared),
            view: Arc::clone(view),
            place: Arc::clone(place),
            durability: Arc::clone(durability),
            tail: CachePadded::new(Mutex::new(Tail::new(shared, view))),
            spares,
            sizes,
            syncer_wanted_at: CachePadded::new(AtomicU64::new(u64::MAX)),
            commits: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Whether frames can be written: the log is open, neither read-only nor poisoned.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.shared.check_open()?;
        self.durability.check_poison()
    }

    /// Write bytes into frame `frame_no`: an open one, or the one after the last. `at` counts from the start of the frame as SQLite sees it.
    /// Only the holder of the write lock may call this.
    pub(crate) fn write(&self, frame_no: u64, at: usize, bytes: &[u8]) -> Result<()> {
        let mut tail = self.tail.lock();
        self.check_writable()?;
        if let Some(gone) = self.place.gone() {
            return Err(gone);
        }
        if !self.shared.memory.is_in(Section::Transaction) {
            self.enter_transaction(&mut tail, frame_no)?;
        }
        tail.check_open(frame_no, at)?;
        if frame_no > tail.end() {
            // After a commit wal.c goes on with the next transaction, so for wal.c that commit stands.
            self.publish_tail(&mut tail);
            if tail.is_empty() {
                self.begin_transaction(&mut tail)?;
            }
            tail.append()?;
        } else if tail.is_committed() {
            self.take_back(&mut tail);
        }
        tail.write(frame_no, at, bytes)?;
        if frame_no == tail.end() && tail.ends_with_commit() {
            tail.write_commit()?;
        }
        Ok(())
    }

    /// The first write of a transaction, to frame `frame_no`: until its end no other process writes to the segment, or begins another one.
    fn enter_transaction(&self, tail: &mut Tail, frame_no: u64) -> Result<()> {
        let Some(entered) = self.shared.memory.enter_within(Section::Transaction, PATIENCE) else {
            // It may have been stopped.
            let holder =
                "another process, which is beginning a segment of the log, and does not get on".into();
            return Err(Error::Busy { path: self.shared.database.clone(), holder });
        };
        let before = frame_no.saturating_sub(1);
        if before > self.shared.positions.published() {
            // wal.c has recovered it from what a process left that died without a lock of the wal-index.
            self.publish_left(before)?;
        } else if self.shared.positions.written() > self.shared.positions.published() {
            // A process died with a tentative commit, and without a lock of the wal-index, as in locking_mode=EXCLUSIVE.
            self.durability.take_back();
        }
        tail.follow()?;
        entered.stay();
        Ok(())
    }

    /// A commit that ends at frame `last` is published by `wal.c`, and its process, which is dead, did not come to say so. The caller is in
    /// [`Section::Transaction`].
    fn publish_left(&self, last: u64) -> Result<()> {
        let (state, published) = (self.shared.memory.state(), self.shared.positions.published());
        let now = state.tail();
        let missing = || {
            Error::corrupt(&self.shared.dir, None, format!("frame {last} is committed, and in no segment"))
        };
        let segment = self.view.current_segment(now.start.ok_or_else(missing)?, now.seed, published)?;
        let mut frame = Vec::new();
        segment.read_frame(last, &mut frame)?;
        let word = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        let (pages, crc) = (word(4), word(FRAME_HEADER_SIZE - 4));
        if pages == 0 {
            return Err(missing());
        }
        state.set_tail(TailState { crc, ..now });
        if self.shared.positions.written() < last {
            self.shared.positions.write(last);
        }
        self.shared.positions.publish(last, Some(pages));
        self.committed();
        Ok(())
    }

    /// A process died with the write lock, which the caller has now: its transaction ends. `last`: the last frame that `wal.c` has published.
    /// Doing it again changes nothing.
    /// False: it cannot be done now.
    pub(crate) fn end_dead_transaction(&self, last: u64) -> bool {
        let _tail = self.tail.lock();
        // A process that begins a segment may have been stopped.
        let Some(_entered) = self.shared.memory.enter_within(Section::Transaction, PATIENCE) else {
            return false;
        };
        let published = self.shared.positions.published();
        if last > published {
            match self.publish_left(last) {
                Ok(()) => {}
                // Readers see a commit that the log does not have.
                Err(error @ Error::Corrupt { .. }) => self.durability.poison(&error),
                Err(error) => {
                    self.shared.trouble.note_error(&error);
                    return false;
                }
            }
        } else if self.shared.positions.written() > published {
            self.durability.take_back();
        }
        true
    }

    /// Whether there is a tentative commit; its last frame.
    pub(crate) fn tentative_commit(&self) -> Option<u64> {
        let tail = self.tail.lock();
        tail.is_committed().then(|| tail.end())
    }

    /// The last frame that has been begun, for the size of the -wal file as its writer sees it.
    pub(crate) fn open_frame_no(&self) -> u64 {
        self.tail.lock().end()
    }

    /// The last frame that the open transaction has begun: up to here its writer can read, also what was cut off.
    pub(crate) fn reached_frame_no(&self) -> u64 {
        self.tail.lock().reached()
    }

    /// The write lock is released, or the commit acknowledged. `last`: the last frame that `wal.c` has published. A
    /// tentative commit after it is dropped.
    pub(crate) fn end_transaction(&self, last: u64) {
        let mut tail = self.tail.lock();
        if !self.shared.memory.is_in(Section::Transaction) {
            return;
        }
        if tail.is_committed() && tail.end() <= last {
            self.publish_tail(&mut tail);
        } else {
            if tail.is_committed() {
                self.take_back(&mut tail);
            }
            tail.drop_open();
        }
        self.shared.memory.exit(Section::Transaction);
    }

    /// `wal.c` says that the commit which ends at `last` or before it stands.
    pub(crate) fn publish(&self, last: u64) {
        if self.shared.positions.published() >= last {
            return;
        }
        let mut tail = self.tail.lock();
        if tail.is_committed() && tail.end() <= last {
            self.publish_tail(&mut tail);
        }
    }

    fn publish_tail(&self, tail: &mut Tail) {
        if tail.publish().is_some() {
            self.committed();
        }
    }

    fn take_back(&self, tail: &mut Tail) {
        // First of all the fsync: one of the tentative commit, without group commit, does not count for what is written in its place.
        self.durability.take_back();
        tail.take_back();
    }

    /// After a publish: the background tasks have something to do.
    fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        // The background tasks say that they are idle, and then look at `published` again. Here it is the other way round,
        // and neither may pass the other: a commit would go unnoticed until the next one.
        fence(Ordering::SeqCst);
        if self.shared.positions.note_commit(|| self.shared.io.now_us()) {
            self.shared.checkpointer.notify();
        }
        self.shared.syncer.notify_if_idle();
        if self.shared.positions.published() >= self.syncer_wanted_at.load(Ordering::Relaxed) {
            self.syncer_wanted_at.store(u64::MAX, Ordering::Relaxed);
            self.shared.syncer.notify();
        }
        self.shared.shipper.notify_if_idle();
    }

    /// Commits since the log was opened.
    pub(crate) fn commit_count(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Read bytes of a frame, `at` counted from the start of SQLite's frame header. The bytes lie in that one frame.
    pub(crate) fn read_wal(&self, frame_no: u64, at: usize, buf: &mut [u8]) -> Result<()> {
        const HEADER: usize = crate::format::frame::SQLITE_FRAME_HEADER_SIZE;
        if at >= HEADER && frame_no <= self.shared.positions.written() {
            return self.view.read_page(frame_no, at - HEADER, buf);
        }
        let mut tail = self.tail.lock();
        // Outside a transaction the tail is as this process left it, and others may have written since.
        if self.shared.memory.is_in(Section::Transaction) && tail.holds(frame_no) {
            return tail.read(frame_no, at, buf);
        }
        drop(tail);
        // A published frame's header: wal.c asks for the checksum of the frame before the ones it renews.
        let (header, page) = buf.split_at_mut(buf.len().min(HEADER.saturating_sub(at)));
        if !page.is_empty() {
            self.view.read_page(frame_no, at.max(HEADER) - HEADER, page)?;
        }
        self.view.with_frame(frame_no, |frame| header.copy_from_slice(&frame[at..at + header.len()]))
    }

    /// The first frame of the segment that frames are appended to.
    pub(crate) fn current_start(&self) -> Option<u64> {
        self.shared.memory.state().current_start()
    }

    /// Files for segments to come.
    pub(crate) fn spares(&self) -> &SpareFiles {
        &self.spares
    }

    /// Give the space of spare files back.
    pub(crate) fn shrink_spares(&self) {
        // One that may come back under the name that it had as a segment stays whole: cut, it would look like damage.
        self.spares.shrink(&*self.shared.io, self.durability.is_settled());
    }
}
