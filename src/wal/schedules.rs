//! The locks of the wal-index in many orders of their threads: see `src/testing/schedules`.

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::locks::{HeldLocks, LockKind, Locks};
use crate::shm::LOCK_COUNT;
use crate::sync::atomic::{AtomicI32, Ordering};
use crate::testing::schedules::{explore, must_fail};

const CI: u64 = 5_000;
const CONNECTIONS: u64 = 3;
const STEPS: u32 = 8;

/// What is to be tried out.
trait EightLocks: Sync {
    fn lock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind) -> bool;
    fn unlock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind);
}

impl EightLocks for Locks {
    fn lock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind) -> bool {
        Locks::lock(self, held, first, count, kind)
    }
    fn unlock(&self, held: &HeldLocks, first: usize, count: usize, kind: LockKind) {
        Locks::unlock(self, held, first, count, kind);
    }
}

/// Looks at a lock, and takes it then: wrong.
struct LooksFirst([AtomicI32; LOCK_COUNT]);

impl EightLocks for LooksFirst {
    fn lock(&self, _: &HeldLocks, first: usize, count: usize, kind: LockKind) -> bool {
        let locks = &self.0[first..first + count];
        let is_free = |lock: &AtomicI32| match kind {
            LockKind::Shared => lock.load(Ordering::SeqCst) >= 0,
            LockKind::Exclusive => lock.load(Ordering::SeqCst) == 0,
        };
        if !locks.iter().all(is_free) {
            return false;
        }
        for lock in locks {
            match kind {
                LockKind::Shared => drop(lock.fetch_add(1, Ordering::SeqCst)),
                LockKind::Exclusive => lock.store(-1, Ordering::SeqCst),
            }
        }
        true
    }
    fn unlock(&self, _: &HeldLocks, first: usize, count: usize, kind: LockKind) {
        for lock in &self.0[first..first + count] {
            match kind {
                LockKind::Shared => drop(lock.fetch_sub(1, Ordering::SeqCst)),
                LockKind::Exclusive => lock.store(0, Ordering::SeqCst),
            }
        }
    }
}

/// Who holds what, as the connections believe: positive, so many share it; negative, so many have it exclusively.
#[derive(Default)]
struct Holders(std::sync::Mutex<[(u32, u32); LOCK_COUNT]>);

impl Holders {
    fn change(&self, first: usize, count: usize, kind: LockKind, taken: bool) {
        let mut holders = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (lock, (shared, exclusive)) in holders.iter_mut().enumerate().skip(first).take(count) {
            let holders = match kind {
                LockKind::Shared => &mut *shared,
                LockKind::Exclusive => &mut *exclusive,
            };
            *holders = if taken { *holders + 1 } else { *holders - 1 };
            let is_right = *exclusive == 0 || (*exclusive == 1 && *shared == 0);
            assert!(is_right, "lock {lock} is shared by {shared} and held by {exclusive}");
        }
    }
}

fn model(locks: &impl EightLocks) {
    let holders = Holders::default();
    thread::scope(|scope| {
        for id in 1..=CONNECTIONS {
            let holders = &holders;
            scope.spawn(move || {
                let held = HeldLocks::new(id);
                let mut mine: Vec<(usize, usize, LockKind)> = Vec::new();
                for _ in 0..STEPS {
                    let first = thread_rng().gen_range(0..LOCK_COUNT);
                    let (kind, count) = if thread_rng().r#gen() {
                        (LockKind::Shared, 1)
                    } else {
                        (LockKind::Exclusive, 1 + thread_rng().gen_range(0..LOCK_COUNT - first).min(3))
                    };
                    // A connection of SQLite asks for nothing that it has in the other way.
                    let overlaps = |&(from, len, _): &(usize, usize, LockKind)| {
                        first < from + len && from < first + count
                    };
                    if !mine.iter().any(overlaps) && locks.lock(&held, first, count, kind) {
                        holders.change(first, count, kind, true);
                        mine.push((first, count, kind));
                    }
                    if mine.len() > 2 || thread_rng().gen_ratio(1, 3) {
                        for (first, count, kind) in mine.drain(..) {
                            holders.change(first, count, kind, false);
                            locks.unlock(&held, first, count, kind);
                        }
                    }
                }
                for (first, count, kind) in mine {
                    holders.change(first, count, kind, false);
                    locks.unlock(&held, first, count, kind);
                }
            });
        }
    });
    let last = HeldLocks::new(100);
    assert!(locks.lock(&last, 0, LOCK_COUNT, LockKind::Exclusive), "every lock is free again");
}

#[test]
fn shared_and_exclusive_exclude_each_other() {
    explore("locks of the wal-index", CI, || {
        let wait = if thread_rng().r#gen() { Duration::ZERO } else { Duration::from_millis(1) };
        model(&Locks::alone(wait));
    });
}

#[test]
fn a_lock_that_looks_before_it_takes_is_found() {
    must_fail(CI, None, "is shared by", || model(&LooksFirst([const { AtomicI32::new(0) }; LOCK_COUNT])));
}
