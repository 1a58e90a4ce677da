//! The writer queue: a fair order among connections that want to write.
//!
//! SQLite's own way is to answer `SQLITE_BUSY`, sleep a millisecond or more, and try again, and a writer that waited for
//! the lock itself would find its snapshot stale when it gets it, and start over all the same. So a connection whose
//! attempt to write failed queues when it next takes its *read* lock: when its turn comes it gets the read lock, and
//! with it a fresh snapshot, while the write lock is kept for it.
//!
//! A turn is a promise with bounds: it ends when the write transaction does, when the connection ends two read
//! transactions without writing, or when somebody who waits sees it unused for [`UNUSED`]. A wait is bounded too, since
//! a checkpoint may hold the write lock and wait for readers; then SQLite's busy handler takes over as always.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A turn that nobody uses is taken away after this long.
const UNUSED: Duration = Duration::from_millis(10);
/// Read transactions that a connection with a turn may end before it loses it. More than one, since `wal.c` takes and
/// releases the read lock again when the snapshot turns out to be a moment old.
const READS_PER_TURN: u8 = 2;

/// A connection's place.
pub(super) struct Place {
    id: u64,
    /// Its last attempt to write failed, or found its snapshot stale: it will want to write again.
    wants: AtomicBool,
    /// Read transactions ended since it last wrote.
    reads: AtomicU8,
    /// It is its turn, as far as it knows.
    has_turn: AtomicBool,
}

impl Place {
    pub(super) fn new(id: u64) -> Place {
        Place { id, wants: AtomicBool::new(false), reads: AtomicU8::new(0), has_turn: AtomicBool::new(false) }
    }
}

struct Waiter {
    id: u64,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// Whose turn it is, since when, and whether the write lock was taken in it.
    turn: Option<(u64, Instant, bool)>,
    waiters: VecDeque<Arc<Waiter>>,
}

pub(super) struct WriterQueue {
    wait: Duration,
    /// Somebody has a turn or waits for one. While nobody does, writers do not touch the mutex.
    busy: AtomicBool,
    state: Mutex<State>,
    /// A turn was used, or ended.
    changed: Condvar,
}

impl WriterQueue {
    pub(super) fn new(wait: Duration) -> WriterQueue {
        WriterQueue { wait, busy: AtomicBool::new(false), state: Mutex::default(), changed: Condvar::new() }
    }

    /// A read lock is about to be taken: wait for the turn, if the connection wants to write.
    pub(super) fn before_read(&self, place: &Place, write_slot: &AtomicI32) {
        if !place.wants.load(Ordering::Relaxed)
            || place.has_turn.load(Ordering::Relaxed)
            || self.wait.is_zero()
        {
            return;
        }
        let mut state = self.state.lock();
        // Under the lock: whoever settles the queue must not take it back.
        self.busy.store(true, Ordering::SeqCst);
        if state.turn.is_none() && state.waiters.is_empty() && write_slot.load(Ordering::SeqCst) == 0 {
            state.turn = Some((place.id, Instant::now(), false));
            place.reads.store(0, Ordering::Relaxed);
            place.has_turn.store(true, Ordering::Relaxed);
            return;
        }
        let waiter = Arc::new(Waiter { id: place.id, wake: Condvar::new() });
        state.waiters.push_back(Arc::clone(&waiter));
        let deadline = Instant::now() + self.wait;
        loop {
            match state.turn {
                Some((id, ..)) if id == place.id => {
                    place.reads.store(0, Ordering::Relaxed);
                    place.has_turn.store(true, Ordering::Relaxed);
                    return;
                }
                Some((_, since, false)) if since.elapsed() >= UNUSED => {
                    self.pass_on(&mut state);
                    continue;
                }
                // The lock was free for a moment between a release and our joining the queue.
                None if write_slot.load(Ordering::SeqCst) == 0 => {
                    self.pass_on(&mut state);
                    continue;
                }
                _ => {}
            }
            let until = deadline.min(Instant::now() + UNUSED);
            if waiter.wake.wait_until(&mut state, until).timed_out() && Instant::now() >= deadline {
                state.waiters.retain(|other| other.id != place.id);
                if matches!(state.turn, Some((id, ..)) if id == place.id) {
                    self.pass_on(&mut state);
                }
                self.settle(&state);
                return;
            }
        }
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
                Some((id, _, used)) if *id == place.id => {
                    *used = true;
                    self.changed.notify_all();
                    return;
                }
                Some((_, since, false)) => {
                    place.has_turn.store(false, Ordering::Relaxed);
                    let left = UNUSED.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        state.turn = None;
                        return;
                    }
                    self.changed.wait_for(&mut state, left);
                }
                _ => return,
            }
        }
    }

    fn wants(&self, place: &Place, wants: bool) {
        place.wants.store(wants, Ordering::Relaxed);
    }

    /// The write lock was tried for.
    pub(super) fn write_attempt(&self, place: &Place, taken: bool) {
        if taken {
            place.reads.store(0, Ordering::Relaxed);
        } else {
            self.wants(place, true);
        }
    }

    /// The write lock was released. `stale`: it was given up at once, since the snapshot was old.
    pub(super) fn after_write(&self, place: &Place, stale: bool) {
        if stale {
            self.wants(place, true);
        }
        if self.busy.load(Ordering::SeqCst) {
            self.end_turn(place, true);
        }
    }

    /// A read lock was released without the write lock held.
    pub(super) fn after_read(&self, place: &Place) {
        if !place.wants.load(Ordering::Relaxed) {
            return;
        }
        if place.reads.fetch_add(1, Ordering::Relaxed) + 1 > READS_PER_TURN {
            self.leave(place);
        }
    }

    /// The connection gives up its turn and its wish to write.
    pub(super) fn leave(&self, place: &Place) {
        self.wants(place, false);
        place.reads.store(0, Ordering::Relaxed);
        if place.has_turn.load(Ordering::Relaxed) {
            self.end_turn(place, false);
        }
    }

    /// End the turn of `place`; if it is nobody's turn and the lock is `free`, the next one's begins.
    fn end_turn(&self, place: &Place, free: bool) {
        place.has_turn.store(false, Ordering::Relaxed);
        let mut state = self.state.lock();
        match state.turn {
            Some((id, ..)) if id == place.id => self.pass_on(&mut state),
            None if free => self.pass_on(&mut state),
            _ => {}
        }
        self.settle(&state);
    }

    /// The turn goes to the one that has waited longest.
    fn pass_on(&self, state: &mut State) {
        self.changed.notify_all();
        state.turn = state.waiters.pop_front().map(|next| {
            next.wake.notify_one();
            (next.id, Instant::now(), false)
        });
    }

    fn settle(&self, state: &State) {
        if state.turn.is_none() && state.waiters.is_empty() {
            self.busy.store(false, Ordering::SeqCst);
        }
    }
}
