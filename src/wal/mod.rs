//! The verbs: what SQLite does to its `-wal` file and its wal-index, as operations on a log.
//!
//! `wal.c` numbers the frames of its WAL from 1 and starts over when everything has been checkpointed. One such run is a
//! *generation*; frame `i` of it is frame `generation base + i` of the log. The `-wal` file that SQLite sees exists only
//! here: a header of 32 bytes, then frames of 24 bytes and a page.

mod handle;
mod locks;
mod queue;
#[cfg(all(test, shuttle))]
mod schedules;

use std::sync::Arc;

pub use handle::{DbRead, WalHandle};
pub use locks::{LockKind, Locks};

use crate::error::Result;
use crate::log::Log;
use crate::shm::Heir;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of the header of a `-wal` file (<https://sqlite.org/fileformat2.html#walformat>).
pub const WAL_HEADER_SIZE: u64 = 32;

/// The wal-index, as far as the log needs to look into it. The mapping itself is for SQLite (`ffi/shm.rs`).
pub trait SharedIndex: Send + Sync {
    /// Region `index` of `size` bytes; `None` when it does not exist and `extend` is false. The region stays where it is.
    fn map(&self, index: usize, size: usize, extend: bool) -> Result<Option<*mut u8>>;
    /// `mxFrame` of the header: the last frame of the generation that readers may see. `None`: not mapped.
    fn max_frame(&self) -> Option<u32>;
    /// `nBackfillAttempted`: up to here the running checkpoint may go. `None`: not mapped.
    fn backfill_attempted(&self) -> Option<u32>;
    /// `aReadMark[reader]`: up to here that reader's snapshot goes. `None`: not mapped.
    fn read_mark(&self, reader: usize) -> Option<u32>;
    /// `aSalt`: another value after each reset of the WAL. `None`: not mapped.
    fn salts(&self) -> Option<u64>;
    /// Set `nBackfillAttempted`, or, when `done`, `nBackfill`.
    fn set_backfill(&self, frames: u32, done: bool);
    /// Make the wal-index invalid: the next connection recovers it from the WAL.
    fn reset(&self);
}

/// What is done for a process that died with the write lock.
struct Survivor {
    log: Arc<Log>,
    index: Arc<dyn SharedIndex>,
}

impl Heir for Survivor {
    fn end_dead_writer(&self) -> bool {
        // As at the unlock that did not come: the wal-index says what is published.
        let published = self.index.max_frame().map(|frame| self.log.generation_base() + u64::from(frame));
        let published = published.unwrap_or_else(|| self.log.published_frame_no());
        self.log.writer().end_dead_transaction(published)
    }
}

/// A database that is open in this process: its log, and what its connections share.
pub struct Wal {
    log: Arc<Log>,
    locks: Locks,
    index: Arc<dyn SharedIndex>,
    /// How many handles of this process have mapped the wal-index. Locked while one maps it first or unmaps it, since the last one may reset
    /// it, and must not reset it under the next one.
    mapped: Mutex<usize>,
    /// How many connections have the `-wal` file open.
    opened: AtomicUsize,
    next_handle: AtomicU64,
    /// How many connections hold the EXCLUSIVE lock of the database file. In `locking_mode=EXCLUSIVE` such a connection
    /// uses the wal-index without taking its locks.
    exclusive: Mutex<usize>,
}

impl Wal {
    /// The database of an open log.
    pub fn new(log: Arc<Log>, index: Box<dyn SharedIndex>) -> Wal {
        let index: Arc<dyn SharedIndex> = index.into();
        let heir = Survivor { log: Arc::clone(&log), index: Arc::clone(&index) };
        Wal {
            locks: Locks::new(log.memory(), Box::new(heir), log.options().queue_wait),
            log,
            index,
            mapped: Mutex::new(0),
            opened: AtomicUsize::new(0),
            next_handle: AtomicU64::new(1),
            exclusive: Mutex::new(0),
        }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Whether the database has left WAL mode; the log is gone then.
    pub fn has_left(&self) -> bool {
        self.log.memory().state().has_left()
    }

    /// SQLite deletes the `-wal` file, or cuts it to nothing: the generation ends, and everything goes to the base file.
    /// SQLite holds the locks that keep everybody else away.
    pub fn end_generation(&self) -> Result<u64> {
        self.log.writer().end_transaction(self.log.published_frame_no());
        let drained = self.log.checkpointer().drain();
        if self.log.generation_base() == self.log.published_frame_no() {
            // After the frames are part of the view: until then a process that builds the wal-index anew has to find them in the WAL.
            self.log.memory().state().set_wal_header(None);
        }
        drained
    }

    /// Absorb what open read transactions allow, without being asked by SQLite: a passive checkpoint, done with the locks
    /// and the marks of the wal-index as `wal.c` does it. For the checkpointer, since SQLite's automatic checkpoint comes
    /// only after so many frames, or may be turned off.
    pub fn absorb_passively(&self) {
        // Nobody begins to ignore the locks while this is under way.
        let exclusive = self.exclusive.lock();
        // Nor does a connection of another process: one that has the wal-index mapped shares the lock of the database file, so nobody has
        // that exclusively.
        let mapped = self.mapped.lock();
        if *exclusive > 0 || *mapped == 0 {
            return;
        }
        let held = locks::HeldLocks::new(self.next_handle.fetch_add(1, Ordering::Relaxed));
        if self.locks.lock(&held, locks::CHECKPOINT_LOCK, 1, LockKind::Exclusive) {
            if self.locks.lock(&held, locks::FIRST_READ_LOCK, 1, LockKind::Exclusive) {
                self.absorb_under_locks(&held);
            }
            self.locks.unlock_all(&held);
        }
    }

    /// The checkpoint lock and `WAL_READ_LOCK(0)` are held, so the generation does not end meanwhile, and nobody reads the
    /// bare database file.
    fn absorb_under_locks(&self, held: &locks::HeldLocks) {
        // In this order: a writer may have reset the WAL before the locks were taken, and begin the next generation now.
        let Some(live) = self.index.max_frame().filter(|&frame| frame > 0) else { return };
        let base = self.log.generation_base();
        let published = u32::try_from(self.log.published_frame_no() - base).unwrap_or(0);
        // They differ when wal.c has just published, or reset, and the log has not heard of it yet.
        if live != published {
            return;
        }
        let mut safe = live;
        for reader in 1..locks::READERS {
            let Some(mark) = self.index.read_mark(reader) else { return };
            if mark >= safe {
                continue;
            }
            let lock = locks::FIRST_READ_LOCK + reader;
            if self.locks.lock(held, lock, 1, LockKind::Exclusive) {
                self.locks.unlock(held, lock, 1, LockKind::Exclusive);
            } else {
                safe = mark;
            }
        }
        self.index.set_backfill(safe, false);
        if let Err(error) = self.log.checkpointer().absorb(base + u64::from(safe)) {
            // It is tried again, here or by SQLite.
            return self.log.note_error(&error);
        }
        if self.log.absorbed_frame_no() >= base + u64::from(safe) {
            self.index.set_backfill(safe, true);
        }
    }

    /// Whether a connection has the `-wal` file open.
    pub fn is_open(&self) -> bool {
        self.opened.load(Ordering::Acquire) > 0
    }
}
