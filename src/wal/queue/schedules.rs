//! The writer queue in many orders of its threads: see `src/testing/schedules`.

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::*;
use crate::sync::Fault;
use crate::sync::atomic::AtomicI32;
use crate::testing::schedules::{explore, explore_with, must_fail};

const CI: u64 = 10_000;
const CONNECTIONS: u64 = 3;
const COMMITS: u32 = 2;
/// Nobody gives up.
const LONG: Duration = Duration::from_secs(3600);

/// The write lock, and what it guards.
struct Bench {
    queue: WriterQueue,
    slot: AtomicI32,
    writing: AtomicBool,
    commits: AtomicU64,
}

/// How a write transaction ends.
type End = fn(&Bench, &Place, bool, bool);

impl Bench {
    fn new(wait: Duration) -> Bench {
        Bench {
            queue: WriterQueue::new(wait),
            slot: AtomicI32::new(0),
            writing: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        }
    }

    /// `wal.c` looks at the header, takes a read lock, and looks again. The snapshot.
    fn begin_read(&self, place: &Place) -> u64 {
        loop {
            let seen = self.commits.load(Ordering::SeqCst);
            self.queue.before_read(place, || self.slot.load(Ordering::SeqCst) == 0);
            if self.commits.load(Ordering::SeqCst) == seen {
                return seen;
            }
            self.queue.after_read(place);
        }
    }

    /// One attempt of a write transaction. Whether it committed.
    fn attempt(&self, place: &Place, end: End) -> bool {
        let snapshot = self.begin_read(place);
        self.queue.before_write(place);
        let taken = self.slot.compare_exchange(0, -1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.queue.write_attempt(place, taken);
        let mut committed = false;
        if taken {
            assert!(!self.writing.swap(true, Ordering::SeqCst), "two writers");
            committed = self.commits.load(Ordering::SeqCst) == snapshot;
            if committed {
                self.commits.store(snapshot + 1, Ordering::SeqCst);
                self.queue.before_release();
            }
            assert!(self.writing.swap(false, Ordering::SeqCst));
            self.slot.store(0, Ordering::SeqCst);
            let pausing = committed && thread_rng().r#gen();
            end(self, place, !committed, pausing);
        }
        self.queue.after_read(place);
        committed
    }

    fn is_at_rest(&self) -> bool {
        let state = self.queue.state.lock();
        state.turn.is_none()
            && state.waiters.is_empty()
            && !state.first_is_due
            && !self.queue.busy.load(Ordering::SeqCst)
    }
}

fn real_end(bench: &Bench, place: &Place, stale: bool, pausing: bool) {
    bench.queue.after_write(place, stale, pausing);
}

/// Connections that write, of which some come without queueing, some only read in between, and some leave with their turn
/// unused.
fn connections(bench: &Bench, end: End) {
    thread::scope(|scope| {
        for id in 1..=CONNECTIONS {
            scope.spawn(move || {
                let mut place = Place::new(id);
                let mut done = 0;
                while done < COMMITS {
                    match thread_rng().gen_range(0..8) {
                        // A reader, or a writer that finds something else to do when its turn has come.
                        0 => {
                            bench.begin_read(&place);
                            bench.queue.after_read(&place);
                        }
                        // It closes, and another one comes.
                        1 => {
                            bench.begin_read(&place);
                            bench.queue.leave(&place);
                            place =
                                Place::new(id + CONNECTIONS * u64::from(thread_rng().gen_range(1..1000u32)));
                        }
                        _ => done += u32::from(bench.attempt(&place, end)),
                    }
                    thread::yield_now();
                }
                bench.queue.leave(&place);
            });
        }
    });
}

fn model(wait: Duration, end: End) {
    let bench = Bench::new(wait);
    connections(&bench, end);
    assert_eq!(bench.commits.load(Ordering::SeqCst), CONNECTIONS * u64::from(COMMITS));
    assert!(bench.is_at_rest(), "the queue is not at rest");
}

#[test]
fn all_writers_get_through_and_the_queue_comes_to_rest() {
    explore("writer queue", CI, || model(LONG, real_end));
}

#[test]
fn writers_that_give_up_hold_nobody_up() {
    explore("writer queue that is given up", CI, || {
        let wait = Duration::from_micros(thread_rng().gen_range(0..500));
        model(wait, real_end);
    });
}

#[test]
fn no_wake_up_that_got_lost_holds_anybody_up() {
    explore_with("writer queue without wake-ups", CI, Some(Fault::WakesNobody), || model(LONG, real_end));
}

#[test]
fn a_turn_that_is_not_passed_on_is_found() {
    must_fail(CI, None, "max_steps", || {
        model(LONG, |_, place, _, _| place.has_turn.store(false, Ordering::Relaxed));
    });
}

#[test]
fn a_writer_that_gives_up_and_stays_in_the_queue_is_found() {
    must_fail(CI, None, "max_steps", || {
        let bench = Bench::new(LONG);
        let gone = Waiter { id: 1_000_000, called: AtomicBool::new(false), wake: Condvar::new() };
        bench.queue.state.lock().waiters.push_back(Arc::new(gone));
        connections(&bench, real_end);
    });
}

#[test]
fn a_gate_that_is_taken_for_the_lock_is_found() {
    // Who has the turn writes, whether the lock is free or not.
    must_fail(CI, None, "two writers", || {
        let bench = Bench::new(LONG);
        thread::scope(|scope| {
            for id in 1..=CONNECTIONS {
                let bench = &bench;
                scope.spawn(move || {
                    let place = Place::new(id);
                    place.wants.store(id > 1, Ordering::Relaxed);
                    for _ in 0..COMMITS {
                        bench.begin_read(&place);
                        bench.queue.before_write(&place);
                        bench.slot.store(-1, Ordering::SeqCst);
                        assert!(!bench.writing.swap(true, Ordering::SeqCst), "two writers");
                        bench.writing.store(false, Ordering::SeqCst);
                        bench.slot.store(0, Ordering::SeqCst);
                        bench.queue.after_write(&place, false, false);
                        bench.queue.after_read(&place);
                    }
                });
            }
        });
    });
}
