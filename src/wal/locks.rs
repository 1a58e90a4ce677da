//! The eight locks of the wal-index, as one connection takes them.
//!
//! They lie in memory that all processes share (`shm/locks.rs`). They behave as `xShmLock` must (<https://sqlite.org/walformat.html#wal_locks>): shared or exclusive, never blocking, a
//! range all or nothing. The one exception is the writer queue (`queue.rs`).

use std::sync::Arc;
use std::time::Duration;

use super::queue::{Place, WriterQueue};
use crate::shm::{Heir, LOCK_COUNT, SharedLocks, SharedMemory, WRITE_LOCK};
use crate::sync::atomic::{AtomicU8, Ordering};

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

    pub(super) fn has(&self, kind: LockKind, lock: usize) -> bool {
        let mask = match kind {
            LockKind::Shared => &self.shared,
            LockKind::Exclusive => &self.exclusive,
        };
        mask.load(Ordering::Relaxed) & (1 << lock) != 0
    }
}

/// The locks of one database.
pub struct Locks {
    shared: SharedLocks,
    /// For who dies with the write lock, in another process.
    heir: Box<dyn Heir>,
    /// Of the writers of this process.
    queue: WriterQueue,
}

impl Locks {
    pub(super) fn new(memory: &Arc<SharedMemory>, heir: Box<dyn Heir>, queue_wait: Duration) -> Locks {
        Locks { shared: SharedLocks::new(memory), heir, queue: WriterQueue::new(queue_wait) }
    }

    /// Take `count` locks from `first` on, all or none. False: somebody else has one of them.
    pub fn lock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind) -> bool {
        if first + count > LOCK_COUNT {
            return false;
        }
        match kind {
            LockKind::Shared => {
                // A writer that starts the WAL over takes another read lock, and must not wait for itself.
                if first >= FIRST_READ_LOCK && !held.has(LockKind::Exclusive, WRITE_LOCK) {
                    self.queue.before_read(&held.place, || self.shared.is_unowned(WRITE_LOCK));
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
        let taken = self.shared.share(lock, &*self.heir);
        if taken {
            held.shared.fetch_or(1 << lock, Ordering::Relaxed);
        }
        taken
    }

    fn seize(&self, held: &HeldLocks, lock: usize) -> bool {
        if lock == WRITE_LOCK {
            self.queue.before_write(&held.place);
        }
        let taken = self.shared.seize(lock, &*self.heir);
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
                    self.shared.unshare(lock);
                    if lock >= FIRST_READ_LOCK && !held.has(LockKind::Exclusive, WRITE_LOCK) {
                        self.queue.after_read(&held.place);
                    }
                }
                LockKind::Exclusive if lock == WRITE_LOCK => self.release_writer(held, false, false),
                LockKind::Exclusive => {
                    held.exclusive.fetch_and(!(1 << lock), Ordering::Relaxed);
                    self.shared.release(lock);
                }
            }
        }
    }

    /// Release the write lock. `wrote`: the transaction wrote something. `pausing`: the connection does not come back at
    /// once, since it waits for its fsync.
    pub fn release_writer(&self, held: &HeldLocks, wrote: bool, pausing: bool) {
        if held.has(LockKind::Exclusive, WRITE_LOCK) {
            held.exclusive.fetch_and(!(1 << WRITE_LOCK), Ordering::Relaxed);
            if wrote {
                self.queue.before_release();
            }
            self.shared.release(WRITE_LOCK);
            // A write lock that is given up unused while a snapshot is held: the snapshot was stale. (Without a snapshot it
            // was a checkpoint, or the recovery of the wal-index.)
            let reading = held.shared.load(Ordering::Relaxed) >> FIRST_READ_LOCK != 0;
            self.queue.after_write(&held.place, !wrote && reading, pausing);
        }
    }

    /// Whether nobody has the write lock.
    pub(super) fn has_no_writer(&self) -> bool {
        self.shared.is_unowned(WRITE_LOCK)
    }

    /// If a process died with the write lock, end its transaction.
    pub(super) fn clean_dead_writer(&self) {
        self.shared.clean_dead_owner(WRITE_LOCK, &*self.heir);
    }

    /// Release everything that a connection holds.
    pub fn unlock_all(&self, held: &HeldLocks) {
        self.unlock(held, 0, LOCK_COUNT, LockKind::Shared);
        self.unlock(held, 0, LOCK_COUNT, LockKind::Exclusive);
        self.queue.leave(&held.place);
    }
}

#[cfg(test)]
impl Locks {
    /// The locks of a database that no other process has open.
    pub(super) fn alone(queue_wait: Duration) -> Locks {
        struct Nobody;
        impl Heir for Nobody {
            fn end_dead_writer(&self) -> bool {
                true
            }
        }
        Locks::new(&Arc::new(SharedMemory::alone()), Box::new(Nobody), queue_wait)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn shared_and_exclusive_exclude_each_other_and_a_range_is_all_or_nothing() {
        use LockKind::{Exclusive, Shared};
        let locks = Locks::alone(Duration::ZERO);
        let (a, b) = (HeldLocks::new(1), HeldLocks::new(2));
        assert!(locks.lock(&a, 5, 1, Shared) && locks.lock(&b, 5, 1, Shared));
        assert!(!locks.lock(&b, 3, 5, Exclusive), "a shares number 5");
        for lock in [3, 4, 6, 7] {
            assert!(locks.lock(&a, lock, 1, Exclusive), "{lock} was given back");
        }
        assert!(!locks.lock(&b, 4, 1, Shared));
        locks.unlock_all(&a);
        locks.unlock(&b, 5, 1, Shared);
        assert!(locks.lock(&b, 3, 5, Exclusive));
        assert!(!locks.lock(&a, 7, 1, Shared));
        assert!(!locks.lock(&a, 7, 2, Shared), "there is no lock 8");
        locks.unlock_all(&b);
        assert!(locks.lock(&a, 0, LOCK_COUNT, Exclusive));
    }

    #[test]
    fn what_is_not_held_is_not_released() {
        use LockKind::{Exclusive, Shared};
        let locks = Locks::alone(Duration::ZERO);
        let (a, b) = (HeldLocks::new(1), HeldLocks::new(2));
        assert!(locks.lock(&a, 1, 1, Exclusive) && locks.lock(&a, 4, 1, Shared));
        locks.unlock(&b, 0, LOCK_COUNT, Exclusive);
        locks.unlock(&b, 0, LOCK_COUNT, Shared);
        locks.release_writer(&b, true, false);
        assert!(!locks.lock(&b, 1, 1, Exclusive) && !locks.lock(&b, 4, 1, Exclusive));
        assert!(locks.lock(&a, 1, 1, Exclusive), "taking a lock twice changes nothing");
        locks.unlock_all(&a);
        assert!(locks.lock(&b, 0, LOCK_COUNT, Exclusive));
    }

    #[test]
    fn a_writer_may_take_another_read_lock() {
        let locks = Locks::alone(LONG);
        let (a, b) = (HeldLocks::new(1), HeldLocks::new(2));
        // Both have found the database busy before, so both would queue.
        for (held, other) in [(&a, &b), (&b, &a)] {
            assert!(locks.lock(other, WRITE_LOCK, 1, LockKind::Exclusive));
            assert!(!locks.lock(held, WRITE_LOCK, 1, LockKind::Exclusive));
            locks.release_writer(other, true, false);
        }
        assert!(locks.lock(&a, WRITE_LOCK, 1, LockKind::Exclusive));
        assert!(locks.lock(&a, FIRST_READ_LOCK + 1, 1, LockKind::Shared));
        locks.unlock_all(&a);
    }

    /// Writers as `wal.c` has them: a read lock, the write lock, and from the start if that is busy. Some pause behind
    /// their commit, some give up now and then, some only read in between.
    #[test]
    fn writers_exclude_each_other_and_all_get_through() {
        const WRITERS: u64 = 6;
        const COMMITS: u64 = 400;
        for wait in [Duration::ZERO, Duration::from_micros(50), LONG] {
            let locks = Locks::alone(wait);
            let writing = AtomicBool::new(false);
            let commits = AtomicU64::new(0);
            let start = Barrier::new(WRITERS as usize);
            std::thread::scope(|scope| {
                for id in 1..=WRITERS {
                    let (locks, writing, commits, start) = (&locks, &writing, &commits, &start);
                    scope.spawn(move || {
                        let held = HeldLocks::new(id);
                        let read_lock = FIRST_READ_LOCK + (id % 3) as usize;
                        start.wait();
                        let mut done = 0;
                        while done < COMMITS {
                            assert!(locks.lock(&held, read_lock, 1, LockKind::Shared));
                            let only_reads = id % 3 == 0 && done % 7 == 0;
                            if !only_reads && locks.lock(&held, WRITE_LOCK, 1, LockKind::Exclusive) {
                                assert!(!writing.swap(true, Ordering::SeqCst), "two writers");
                                commits.fetch_add(1, Ordering::Relaxed);
                                assert!(writing.swap(false, Ordering::SeqCst));
                                let is_stale = id == 2 && done % 11 == 0;
                                locks.release_writer(&held, !is_stale, id % 2 == 0);
                                done += 1;
                            } else if only_reads {
                                done += 1;
                            } else {
                                std::thread::yield_now();
                            }
                            locks.unlock(&held, read_lock, 1, LockKind::Shared);
                        }
                        locks.unlock_all(&held);
                    });
                }
            });
            let reads = WRITERS / 3 * COMMITS.div_ceil(7);
            assert_eq!(commits.load(Ordering::Relaxed), WRITERS * COMMITS - reads);
            let last = HeldLocks::new(100);
            assert!(locks.lock(&last, 0, LOCK_COUNT, LockKind::Exclusive), "every lock is free again");
        }
    }
}
