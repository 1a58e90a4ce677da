//! The eight locks of the wal-index, in memory: one process owns the log, so no system call is needed.
//!
//! They behave as `xShmLock` must (<https://sqlite.org/walformat.html#wal_locks>): shared or exclusive, never blocking, a
//! range all or nothing. The one exception is the writer queue (`queue.rs`).

use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::Duration;

use super::queue::{Place, WriterQueue};

/// How many locks there are: `SQLITE_SHM_NLOCK`.
pub const LOCK_COUNT: usize = 8;
const WRITE_LOCK: usize = 0;
/// `WAL_CKPT_LOCK` of `wal.c`.
pub(super) const CHECKPOINT_LOCK: usize = 1;
/// `WAL_READ_LOCK(0)` of `wal.c`; the other readers' locks follow.
pub(super) const FIRST_READ_LOCK: usize = 3;
/// `WAL_NREADER` of `wal.c`.
pub(super) const READERS: usize = 5;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Many at a time.
    Shared,
    /// One alone.
    Exclusive,
}

/// What one connection holds: a bit for each lock.
pub struct HeldLocks {
    pub(super) place: Place,
    shared: AtomicU8,
    exclusive: AtomicU8,
}

impl HeldLocks {
    pub(super) fn new(id: u64) -> HeldLocks {
        HeldLocks { place: Place::new(id), shared: AtomicU8::new(0), exclusive: AtomicU8::new(0) }
    }

    fn has(&self, kind: LockKind, lock: usize) -> bool {
        let mask = match kind {
            LockKind::Shared => &self.shared,
            LockKind::Exclusive => &self.exclusive,
        };
        mask.load(Ordering::Relaxed) & (1 << lock) != 0
    }
}

/// The locks of one database.
pub struct Locks {
    /// Positive: how many share it. -1: one has it exclusively.
    slots: [AtomicI32; LOCK_COUNT],
    queue: WriterQueue,
}

impl Locks {
    pub(super) fn new(queue_wait: Duration) -> Locks {
        Locks { slots: [const { AtomicI32::new(0) }; LOCK_COUNT], queue: WriterQueue::new(queue_wait) }
    }

    /// Take `count` locks from `first` on, all or none. False: somebody else has one of them.
    pub fn lock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind) -> bool {
        if first + count > LOCK_COUNT {
            return false;
        }
        match kind {
            LockKind::Shared => {
                if first >= FIRST_READ_LOCK {
                    self.queue.before_read(&held.place, &self.slots[WRITE_LOCK]);
                }
                (first..first + count).all(|lock| held.has(kind, lock) || self.share(held, lock))
            }
            LockKind::Exclusive => {
                for lock in first..first + count {
                    if !held.has(kind, lock) && !self.seize(held, lock) {
                        self.unlock(held, first, lock - first, kind);
                        return false;
                    }
                }
                true
            }
        }
    }

    fn share(&self, held: &HeldLocks, lock: usize) -> bool {
        let taken = self.slots[lock]
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count >= 0).then_some(count + 1))
            .is_ok();
        if taken {
            held.shared.fetch_or(1 << lock, Ordering::Relaxed);
        }
        taken
    }

    fn seize(&self, held: &HeldLocks, lock: usize) -> bool {
        if lock == WRITE_LOCK {
            self.queue.before_write(&held.place);
        }
        let taken = self.slots[lock].compare_exchange(0, -1, Ordering::SeqCst, Ordering::Acquire).is_ok();
        if taken {
            held.exclusive.fetch_or(1 << lock, Ordering::Relaxed);
        }
        if lock == WRITE_LOCK {
            self.queue.write_attempt(&held.place, taken);
        }
        taken
    }

    /// Release `count` locks from `first` on. Those that are not held are passed over.
    pub fn unlock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind) {
        for lock in first..(first + count).min(LOCK_COUNT) {
            if !held.has(kind, lock) {
                continue;
            }
            match kind {
                LockKind::Shared => {
                    held.shared.fetch_and(!(1 << lock), Ordering::Relaxed);
                    self.slots[lock].fetch_sub(1, Ordering::AcqRel);
                    if lock >= FIRST_READ_LOCK && !held.has(LockKind::Exclusive, WRITE_LOCK) {
                        self.queue.after_read(&held.place);
                    }
                }
                LockKind::Exclusive if lock == WRITE_LOCK => self.release_writer(held, false),
                LockKind::Exclusive => {
                    held.exclusive.fetch_and(!(1 << lock), Ordering::Relaxed);
                    self.slots[lock].store(0, Ordering::Release);
                }
            }
        }
    }

    /// Release the write lock. `wrote`: the transaction wrote something.
    pub fn release_writer(&self, held: &HeldLocks, wrote: bool) {
        if held.has(LockKind::Exclusive, WRITE_LOCK) {
            held.exclusive.fetch_and(!(1 << WRITE_LOCK), Ordering::Relaxed);
            self.slots[WRITE_LOCK].store(0, Ordering::SeqCst);
            // A write lock that is given up unused while a snapshot is held: the snapshot was stale. (Without a snapshot it
            // was a checkpoint, or the recovery of the wal-index.)
            let reading = held.shared.load(Ordering::Relaxed) >> FIRST_READ_LOCK != 0;
            self.queue.after_write(&held.place, !wrote && reading);
        }
    }

    /// Release everything that a connection holds.
    pub fn unlock_all(&self, held: &HeldLocks) {
        self.unlock(held, 0, LOCK_COUNT, LockKind::Shared);
        self.unlock(held, 0, LOCK_COUNT, LockKind::Exclusive);
        self.queue.leave(&held.place);
    }
}
