//! Pacing: commits wait for the checkpointer when it falls behind.
//!
//! Stock SQLite's committer does the checkpoint itself, so its WAL cannot outgrow its disk. Here another thread does it, and on
//! a disk that takes random writes more slowly than the log's it would never catch up. So when the checkpointer has more to
//! do than half of `vwal_log_size`, each commit waits a little, in proportion to what it wrote, and the longer the nearer the backlog is to
//! that size: the pace settles where the checkpointer keeps up. Beyond it a commit waits for the end of a pass. The
//! size counts as twice `vwal_checkpoint_size` at least, so a pass is due before anybody waits for one.
//!
//! Only what a pass could bring to the base file counts. What an open read transaction or storage holds back would not go away by
//! waiting.

use std::time::Duration;

use super::Checkpointer;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex};

/// Bytes per microsecond that commits are let through at three quarters of the size.
const PACE: u64 = 64;
/// Shorter waits are put together: a thread cannot sleep for less than a few tens of microseconds.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// The longest wait for one commit below the size, and beyond it.
const WAIT_MAX: Duration = Duration::from_millis(100);
const WAIT_FULL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Pace {
    /// The last pass failed, or did not get on: waiting for the next one is of no use.
    stuck: AtomicBool,
    lock: Mutex<()>,
    advanced: Condvar,
}

/// What a connection has not waited for yet, in microseconds.
#[derive(Default)]
pub struct Debt(AtomicU64);

impl Checkpointer {
    /// Commits have added `frames` frames. Waits for as long as that costs now. The connection must not hold a lock of the
    /// wal-index: a read mark that sleeps would keep the generation from ending, and segments from being freed.
    pub(crate) fn pace(&self, frames: u64, debt: &Debt) {
        if self.shared.options.log_size == 0 {
            return;
        }
        let size = self.shared.options.log_size.max(self.shared.options.checkpoint_size.saturating_mul(2));
        let behind = self.behind_bytes();
        if behind <= size / 2 {
            return;
        }
        if behind >= size {
            return self.wait_for_pass(size);
        }
        let bytes = frames.saturating_mul(self.shared.frame_size() as u64);
        let owed = debt.0.fetch_add(cost(bytes, behind, size), Ordering::Relaxed);
        let wait = Duration::from_micros(owed);
        if wait >= WAIT_MIN && self.can_advance() {
            debt.0.store(0, Ordering::Relaxed);
            let mut guard = self.pace.lock.lock();
            self.pace.advanced.wait_for(&mut guard, wait.min(WAIT_MAX));
        }
    }

    fn wait_for_pass(&self, size: u64) {
        let deadline = Instant::now() + WAIT_FULL;
        let mut guard = self.pace.lock.lock();
        while self.behind_bytes() >= size && self.can_advance() {
            if self.pace.advanced.wait_until(&mut guard, deadline).timed_out() {
                return;
            }
        }
    }

    /// Bytes of frames that a pass would bring to the base file now.
    fn behind_bytes(&self) -> u64 {
        self.shared.bytes_behind(self.shared.pass_target())
    }

    fn can_advance(&self) -> bool {
        !self.pace.stuck.load(Ordering::Acquire)
            && !self.shared.memory.is_pinned()
            && self.durability.check_poison().is_ok()
    }

    /// A pass is over. `advanced`: the base file is farther than before, or there was nothing to do.
    pub(super) fn pass_ended(&self, advanced: bool) {
        self.pace.stuck.store(!advanced, Ordering::Release);
        // Whoever looked at the numbers before they changed is waiting by now.
        drop(self.pace.lock.lock());
        self.pace.advanced.notify_all();
    }
}

/// Microseconds for `bytes`, when the checkpointer is `behind` by more than half of `size`, and less than all of it.
fn cost(bytes: u64, behind: u64, size: u64) -> u64 {
    let over = behind - size / 2;
    let left = size - behind;
    (u128::from(bytes) * u128::from(over) / (u128::from(left) * u128::from(PACE))).min(u128::from(u32::MAX))
        as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::{Place, commit};
    use crate::options::Options;

    #[test]
    fn a_commit_beyond_the_size_waits_for_the_end_of_a_pass() {
        let place = Place::new();
        let log = place.open_with(Options::new().checkpoint_size(1500).log_size(1)).unwrap();
        let waited = AtomicBool::new(false);
        let pace = || {
            log.checkpointer().pace(1, &Debt::default());
            waited.store(true, Ordering::SeqCst);
        };
        log.checkpointer().absorb(commit(&log, &[1; 4])).unwrap();
        pace();
        log.checkpointer().absorb(commit(&log, &[2; 4])).unwrap();
        assert!(log.checkpointer().behind_bytes() > 3000);
        waited.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let thread = scope.spawn(pace);
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waited.load(Ordering::SeqCst), "it does not wait");
            log.checkpointer().checkpoint().unwrap();
            thread.join().unwrap();
        });
        assert_eq!(log.checkpointer().behind_bytes(), 0);
    }

    #[test]
    fn what_nobody_reads_yet_is_nothing_to_wait_for() {
        let place = Place::new();
        let log = place.open_with(Options::new().checkpoint_size(1).log_size(1)).unwrap();
        commit(&log, &[1; 40]);
        assert_eq!(
            log.checkpointer().behind_bytes(),
            0,
            "a reader may keep it from being absorbed for as long as it likes"
        );
    }

    #[test]
    fn the_wait_grows_without_bound_towards_the_size() {
        const SIZE: u64 = 512 << 20;
        assert_eq!(cost(4144, SIZE / 2, SIZE), 0);
        assert_eq!(cost(64 << 20, SIZE / 4 * 3, SIZE), 1 << 20, "a second for 64 MiB");
        let waits: Vec<u64> =
            (0..100).map(|step| cost(1 << 20, SIZE / 2 + SIZE / 200 * step, SIZE)).collect();
        assert!(waits.is_sorted());
        assert!(cost(1 << 20, SIZE - 1, SIZE) > 1_000_000_000);
    }
}
