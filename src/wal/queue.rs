//! The writer queue: an order among connections that want to write.
//!
//! SQLite's own way is to answer `SQLITE_BUSY`, sleep a millisecond or more, and try again, and a writer that waited for
//! the lock itself would find its snapshot stale when it gets it, and start over all the same. So a connection whose
//! attempt to write failed queues when it next takes its *read* lock: when its turn comes it gets the read lock, and
//! with it a fresh snapshot, and nobody else in the queue writes meanwhile.
//!
//! `wal.c` has read the header of the wal-index before it takes the read lock, and looks again when it has it. If somebody
//! has committed while the connection waited, it releases the lock and takes it once more. That is not the end of a
//! transaction, and the turn outlasts it.
//!
//! A *turn* lasts for one transaction. It ends when the write lock is released, when the connection ends a read
//! transaction without writing, or when somebody who waits sees it unused for [`UNUSED`]. Between two turns the lock is
//! free for whoever comes first, which is most often the connection that had it last: its page cache is still good, and
//! no thread has to be woken. That makes for throughput; for fairness, the first in the queue has waited at most for a
//! [`SLICE`] when it becomes *due*: the next turn to end is followed by its own. And a connection that waits for its
//! fsync, and so does not come back at once, wakes the first in the queue when it leaves.
//!
//! Every wait is bounded, and those who wait look for themselves now and then: no wake-up that got lost can hold anybody
//! up for good. The longest wait is an option, since a checkpoint may hold the write lock and wait for readers; then
//! SQLite's busy handler takes over as always.
//!
//! A turn is a gate before the write lock, not the lock: whatever goes wrong here, there is one writer at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, hint};

/// A turn that nobody uses is taken away after this long.
const UNUSED: Duration = Duration::from_millis(10);
/// Others may go on writing for this long while the first in the queue waits.
const SLICE: Duration = Duration::from_micros(200);
/// The first in the queue watches for the end of a turn for this long before it sleeps: as long as a wake-up takes.
const WATCH: Duration = Duration::from_micros(30);
/// If the last holder wanted another turn, it would have taken it within this time.
const IDLE: Duration = Duration::from_micros(3);
/// Read transactions that a connection may end after its last write before it is taken for one that reads. More than
/// one, since every write transaction ends with the end of its read transaction.
const READS: u8 = 2;
/// Nobody's id.
const NOBODY: u64 = 0;

/// A connection's place.
pub(super) struct Place {
    /// Not 0.
    id: u64,
    /// Its last attempt to write failed, or found its snapshot stale: it will want to write again.
    wants: AtomicBool,
    /// Read transactions ended since it last wrote.
    reads: AtomicU8,
    /// It has had a turn, and has not ended it; it may have been taken away.
    has_turn: AtomicBool,
    /// Somebody committed while it waited for the read lock: the next release of that is not the end of a transaction.
    outdated: AtomicBool,
}

impl Place {
    pub(super) fn new(id: u64) -> Place {
        Place {
            id,
            wants: AtomicBool::new(false),
            reads: AtomicU8::new(0),
            has_turn: AtomicBool::new(false),
            outdated: AtomicBool::new(false),
        }
    }
}

struct Waiter {
    id: u64,
    /// Who had the last turn does not come back at once.
    called: AtomicBool,
    wake: Condvar,
}

/// Whose turn it is.
struct Turn {
    id: u64,
    since: Instant,
    /// The write lock was tried for in it.
    used: bool,
}

#[derive(Default)]
struct State {
    turn: Option<Turn>,
    waiters: VecDeque<Arc<Waiter>>,
    /// The first of the waiters has waited long enough: nobody else may begin a turn.
    first_is_due: bool,
}

impl State {
    fn is_turn_of(&self, id: u64) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.id == id)
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.id == id)
    }

    fn is_first(&self, id: u64) -> bool {
        self.position(id) == Some(0)
    }

    /// Whether there is no turn, or none that counts.
    fn is_free(&self) -> bool {
        self.turn.as_ref().is_none_or(|turn| !turn.used && turn.since.elapsed() >= UNUSED)
    }

    fn remove(&mut self, id: u64) {
        self.first_is_due &= !self.is_first(id);
        self.waiters.retain(|waiter| waiter.id != id);
    }
}

pub(super) struct WriterQueue {
    wait: Duration,
    /// Somebody has a turn or waits for one. While nobody does, writers do not touch the mutex. Set and cleared under it.
    busy: AtomicBool,
    state: Mutex<State>,
    /// The id in `state.turn`, for the one who watches.
    holder: AtomicU64,
    /// Counts the transactions that wrote. Only who has the write lock changes it.
    writes: AtomicU64,
    /// A turn was used, or ended.
    changed: Condvar,
}

impl WriterQueue {
    pub(super) fn new(wait: Duration) -> WriterQueue {
        WriterQueue {
            wait,
            busy: AtomicBool::new(false),
            state: Mutex::default(),
            holder: AtomicU64::new(NOBODY),
            writes: AtomicU64::new(0),
            changed: Condvar::new(),
        }
    }

    /// A read lock is about to be taken, and the write lock is not held: wait for the turn, if the connection wants to
    /// write.
    pub(super) fn before_read(&self, place: &Place, lock_is_free: impl Fn() -> bool + Copy) {
        if !place.wants.load(Ordering::Relaxed) || self.wait.is_zero() {
            return;
        }
        // Whoever finds the write lock free, or has its turn, also finds the count that the last writer left.
        let writes = self.writes.load(Ordering::Relaxed);
        self.wait_for_turn(place, lock_is_free);
        let outdated = self.writes.load(Ordering::Relaxed) != writes;
        place.outdated.store(outdated, Ordering::Relaxed);
    }

    fn wait_for_turn(&self, place: &Place, lock_is_free: impl Fn() -> bool + Copy) {
        let mut state = self.state.lock();
        // Before the look at the lock: who releases it looks here afterwards.
        self.busy.store(true, Ordering::SeqCst);
        if state.is_turn_of(place.id) {
            return;
        }
        if state.turn.is_none() && !state.first_is_due && lock_is_free() {
            return self.begin(&mut state, place);
        }
        let waiter = Arc::new(Waiter { id: place.id, called: AtomicBool::new(false), wake: Condvar::new() });
        state.waiters.push_back(Arc::clone(&waiter));
        let deadline = Instant::now() + self.wait;
        // A turn that is as short as most may be over before this thread would be asleep.
        let mut awake = state.is_first(place.id) && self.watch(&mut state, place, lock_is_free);
        loop {
            if state.is_turn_of(place.id) {
                place.has_turn.store(true, Ordering::Relaxed);
                return;
            }
            let Some(position) = state.position(place.id) else {
                // The turn came, and was taken away before this thread ran.
                return self.settle(&state);
            };
            if position == 0 && awake {
                if state.is_free() && lock_is_free() {
                    state.remove(place.id);
                    return self.begin(&mut state, place);
                }
                if !state.first_is_due {
                    state.first_is_due = true;
                    awake = self.watch(&mut state, place, lock_is_free);
                    continue;
                }
            }
            let now = Instant::now();
            if now >= deadline {
                state.remove(place.id);
                return self.settle(&state);
            }
            if !waiter.called.swap(false, Ordering::Relaxed) {
                let slices = u32::try_from(position + 1).unwrap_or(u32::MAX);
                // Who is due is woken by the end of the turn; only one that is not used must be looked after.
                let length = if position == 0 && state.first_is_due { UNUSED } else { SLICE * slices };
                waiter.wake.wait_until(&mut state, deadline.min(now + length));
            }
            awake = true;
        }
    }

    /// Watch without sleeping until the connection's turn has come, or the lock is free and nobody takes it, or for as
    /// long as [`WATCH`]. True: one of the first two.
    fn watch(
        &self,
        state: &mut MutexGuard<'_, State>,
        place: &Place,
        lock_is_free: impl Fn() -> bool,
    ) -> bool {
        MutexGuard::unlocked(state, || {
            let start = Instant::now();
            let mut free_since = None;
            loop {
                let now = Instant::now();
                match self.holder.load(Ordering::SeqCst) {
                    id if id == place.id => return true,
                    NOBODY if lock_is_free() => {
                        if now - *free_since.get_or_insert(now) >= IDLE {
                            return true;
                        }
                    }
                    _ => free_since = None,
                }
                if now - start >= WATCH {
                    return false;
                }
                hint::spin_loop();
            }
        })
    }

    /// A connection is about to try for the write lock. If it is somebody else's turn, and that one has not used it yet,
    /// wait for it to begin or to run out: the lock is free then, and a connection that came straight here must not get an
    /// `SQLITE_BUSY` that stock SQLite would not give.
    pub(super) fn before_write(&self, place: &Place) {
        if !self.busy.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        loop {
            match &mut state.turn {
                Some(turn) if turn.id == place.id => {
                    turn.used = true;
                    self.changed.notify_all();
                    return;
                }
                Some(turn) if !turn.used => {
                    let left = UNUSED.saturating_sub(turn.since.elapsed());
                    if left.is_zero() {
                        return self.set_turn(&mut state, NOBODY);
                    }
                    self.changed.wait_for(&mut state, left);
                }
                _ => return,
            }
        }
    }

    /// The write lock was tried for.
    pub(super) fn write_attempt(&self, place: &Place, taken: bool) {
        place.reads.store(0, Ordering::Relaxed);
        if !taken {
            place.wants.store(true, Ordering::Relaxed);
            if place.has_turn.load(Ordering::Relaxed) {
                self.end(place, After::Locked);
            }
        }
    }

    /// The write lock is about to be released by a transaction that wrote.
    pub(super) fn before_release(&self) {
        self.writes.store(self.writes.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The write lock was released. `stale`: it was given up at once, since the snapshot was old. `pausing`: the connection
    /// does not come back at once.
    pub(super) fn after_write(&self, place: &Place, stale: bool, pausing: bool) {
        if stale {
            place.wants.store(true, Ordering::Relaxed);
        }
        if self.busy.load(Ordering::SeqCst) {
            self.end(place, if stale || pausing { After::Pausing } else { After::Free });
        }
    }

    /// A read lock was released without the write lock held.
    pub(super) fn after_read(&self, place: &Place) {
        if !place.wants.load(Ordering::Relaxed) || place.outdated.swap(false, Ordering::Relaxed) {
            return;
        }
        if place.reads.fetch_add(1, Ordering::Relaxed) >= READS {
            self.leave(place);
        } else if place.has_turn.load(Ordering::Relaxed) {
            self.end(place, After::Pausing);
        }
    }

    /// The connection gives up its turn and its wish to write.
    pub(super) fn leave(&self, place: &Place) {
        place.wants.store(false, Ordering::Relaxed);
        place.reads.store(0, Ordering::Relaxed);
        if place.has_turn.load(Ordering::Relaxed) {
            self.end(place, After::Pausing);
        }
    }

    fn set_turn(&self, state: &mut State, id: u64) {
        state.turn = (id != NOBODY).then(|| Turn { id, since: Instant::now(), used: false });
        self.holder.store(id, Ordering::SeqCst);
    }

    fn begin(&self, state: &mut State, place: &Place) {
        self.set_turn(state, place.id);
        place.has_turn.store(true, Ordering::Relaxed);
    }

    /// The turn of `place` ends, or its write transaction without a turn.
    fn end(&self, place: &Place, after: After) {
        place.has_turn.store(false, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.turn.as_ref().is_some_and(|turn| turn.id != place.id) {
            return;
        }
        self.set_turn(&mut state, NOBODY);
        self.changed.notify_all();
        match state.waiters.front().map(Arc::clone) {
            Some(first) if state.first_is_due && after != After::Locked => {
                state.remove(first.id);
                self.set_turn(&mut state, first.id);
                first.wake.notify_one();
            }
            Some(first) if after == After::Pausing => {
                first.called.store(true, Ordering::Relaxed);
                first.wake.notify_one();
            }
            Some(_) => {}
            None => self.settle(&state),
        }
    }

    fn settle(&self, state: &State) {
        if state.turn.is_none() && state.waiters.is_empty() {
            self.busy.store(false, Ordering::SeqCst);
        }
    }
}

/// What follows a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The write lock is free.
    Free,
    /// It is free, and the connection does not come back at once.
    Pausing,
    /// Somebody has it who has no turn.
    Locked,
}

#[cfg(all(test, shuttle))]
mod schedules;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::atomic::AtomicI32;

    /// As long as no test takes.
    const LONG: Duration = Duration::from_secs(600);

    struct Bench {
        queue: WriterQueue,
        slot: AtomicI32,
    }

    impl Bench {
        fn new(wait: Duration) -> Bench {
            Bench { queue: WriterQueue::new(wait), slot: AtomicI32::new(0) }
        }

        fn wanting(&self, id: u64) -> Place {
            let place = Place::new(id);
            self.queue.write_attempt(&place, false);
            place
        }

        fn turn(&self) -> Option<u64> {
            self.queue.state.lock().turn.as_ref().map(|turn| turn.id)
        }

        fn is_at_rest(&self) -> bool {
            let state = self.queue.state.lock();
            state.turn.is_none()
                && state.waiters.is_empty()
                && !state.first_is_due
                && !self.queue.busy.load(Ordering::SeqCst)
        }

        fn read(&self, place: &Place) {
            self.queue.before_read(place, || self.slot.load(Ordering::SeqCst) == 0);
        }

        /// Take the write lock, if it is free, and say so.
        fn write(&self, place: &Place) -> bool {
            self.queue.before_write(place);
            let taken = self.slot.compare_exchange(0, -1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            self.queue.write_attempt(place, taken);
            taken
        }

        fn release(&self, place: &Place) {
            self.queue.before_release();
            self.slot.store(0, Ordering::SeqCst);
            self.queue.after_write(place, false, false);
            self.queue.after_read(place);
        }

        fn wait_until(&self, condition: impl Fn(&State) -> bool) {
            while !condition(&self.queue.state.lock()) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn who_does_not_want_to_write_has_nothing_to_do_with_the_queue() {
        let bench = Bench::new(LONG);
        let reader = Place::new(1);
        bench.slot.store(-1, Ordering::SeqCst);
        bench.read(&reader);
        bench.queue.after_read(&reader);
        assert!(bench.is_at_rest());
    }

    #[test]
    fn a_turn_ends_with_the_transaction_and_then_the_queue_is_at_rest() {
        let bench = Bench::new(LONG);
        let place = bench.wanting(1);
        for _ in 0..3 {
            bench.read(&place);
            assert_eq!(bench.turn(), Some(1));
            bench.read(&place);
            assert_eq!(bench.turn(), Some(1), "wal.c may take the read lock again");
            assert!(bench.write(&place));
            bench.release(&place);
            assert!(bench.is_at_rest());
        }
    }

    #[test]
    fn who_only_reads_leaves_the_queue_soon() {
        let bench = Bench::new(LONG);
        let place = bench.wanting(1);
        let turns = (0..10)
            .filter(|_| {
                bench.read(&place);
                let has_turn = bench.turn().is_some();
                bench.queue.after_read(&place);
                assert_eq!(bench.turn(), None, "the turn ends with the read transaction");
                has_turn
            })
            .count();
        assert_eq!(turns, usize::from(READS) + 1);
        assert!(bench.is_at_rest());
    }

    #[test]
    fn the_end_of_a_turn_is_the_beginning_of_the_next_one() {
        for pausing in [false, true] {
            let bench = Bench::new(LONG);
            let (a, b) = (bench.wanting(1), bench.wanting(2));
            bench.read(&a);
            assert!(bench.write(&a));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    bench.read(&b);
                    assert_eq!(bench.turn(), Some(2));
                    assert!(bench.write(&b));
                    bench.release(&b);
                });
                bench.wait_until(|state| state.is_first(2) && (pausing || state.first_is_due));
                bench.slot.store(0, Ordering::SeqCst);
                bench.queue.after_write(&a, false, pausing);
            });
            assert!(bench.is_at_rest());
        }
    }

    #[test]
    fn a_turn_outlasts_the_second_look_of_wal_c_at_the_header() {
        let bench = Bench::new(LONG);
        let (a, b) = (bench.wanting(1), bench.wanting(2));
        bench.read(&a);
        assert!(bench.write(&a));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                bench.read(&b);
                // The header has changed while it waited.
                bench.queue.after_read(&b);
                assert_eq!(bench.turn(), Some(2));
                bench.read(&b);
                assert_eq!(bench.turn(), Some(2));
                // It has not changed now, so this is the end of a transaction.
                bench.queue.after_read(&b);
            });
            bench.wait_until(|state| state.is_first(2) && state.first_is_due);
            bench.release(&a);
        });
        assert!(bench.is_at_rest());
        assert_eq!(b.reads.load(Ordering::Relaxed), 1, "that was one read transaction, not two");
    }

    #[test]
    fn the_first_one_waits_no_longer_than_a_slice_for_another_ones_series_of_turns() {
        let bench = Bench::new(LONG);
        let (a, b) = (bench.wanting(1), bench.wanting(2));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                bench.read(&b);
                assert!(bench.write(&b));
                bench.release(&b);
            });
            // Without an order this goes on as long as b does not happen to find the lock free.
            while !other.is_finished() {
                bench.read(&a);
                if bench.write(&a) {
                    bench.release(&a);
                }
            }
        });
        assert!(bench.is_at_rest());
    }

    #[test]
    fn an_unused_turn_is_taken_over_and_its_owner_queues_again() {
        let bench = Bench::new(LONG);
        let (idle, active) = (bench.wanting(1), bench.wanting(2));
        bench.read(&idle);
        // Nobody ends the turn of `idle`.
        bench.read(&active);
        assert_eq!(bench.turn(), Some(2));
        assert!(bench.write(&active));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                bench.read(&idle);
                assert_eq!(bench.turn(), Some(1));
            });
            bench.wait_until(|state| state.is_first(1));
            bench.release(&active);
        });
        assert!(bench.write(&idle));
        bench.release(&idle);
        assert!(bench.is_at_rest());
    }

    #[test]
    fn who_comes_without_queueing_waits_for_a_turn_to_begin_and_not_longer() {
        let bench = Bench::new(LONG);
        let (queued, straight) = (bench.wanting(1), Place::new(2));
        bench.read(&queued);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| bench.write(&straight));
            let taken = bench.write(&queued);
            // On a machine so busy that this thread did not run, the turn may have run out.
            assert_ne!(taken, other.join().unwrap());
            bench.release(if taken { &queued } else { &straight });
        });
        // A turn that does not begin runs out.
        bench.read(&queued);
        assert!(bench.write(&straight));
        bench.release(&straight);
        bench.queue.leave(&queued);
        assert!(bench.is_at_rest());
    }

    #[test]
    fn a_wait_is_bounded() {
        let bench = Bench::new(Duration::from_millis(5));
        let place = bench.wanting(1);
        bench.slot.store(-1, Ordering::SeqCst);
        for _ in 0..3 {
            bench.read(&place);
            assert!(!bench.write(&place));
            bench.queue.after_read(&place);
        }
        assert!(bench.is_at_rest());
    }

    #[test]
    fn without_a_queue_nobody_waits() {
        let bench = Bench::new(Duration::ZERO);
        let place = bench.wanting(1);
        bench.slot.store(-1, Ordering::SeqCst);
        bench.read(&place);
        assert!(bench.is_at_rest());
    }
}
