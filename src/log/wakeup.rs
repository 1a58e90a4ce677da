//! How a background thread sleeps, is woken, and is stopped. It sleeps in no other way, so that no wait can miss a stop.

use std::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Condvar, Mutex};

/// One thread sleeps on it; any thread wakes that one.
///
/// Commits have to know whether they must wake the thread, and look at an atomic for that. The thread says that it is idle, and
/// then looks for work once more ([`Wakeup::may_sleep`]); a commit makes the work visible, and then looks whether the thread is
/// idle ([`Wakeup::notify_if_idle`]). With a fence between the two steps on both sides, one of them sees the other.
#[derive(Default)]
pub(crate) struct Wakeup {
    state: Mutex<State>,
    changed: Condvar,
    idle: AtomicBool,
    /// `state.stopped`, for those who do not take the lock.
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    notified: bool,
    stopped: bool,
}

impl Wakeup {
    /// Wake the thread, or keep it from going to sleep the next time.
    pub(crate) fn notify(&self) {
        let mut state = self.state.lock();
        if !state.notified {
            state.notified = true;
            self.changed.notify_one();
        }
    }

    /// Wake the thread if it said that it sleeps until something happens. The caller has made visible what happened, and there is a
    /// sequentially consistent fence between that and this call.
    pub(crate) fn notify_if_idle(&self) {
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::AcqRel) {
            self.notify();
        }
    }

    /// The thread is about to sleep until something happens. False: there is work already.
    pub(crate) fn may_sleep(&self, is_work: impl FnOnce() -> bool) -> bool {
        self.idle.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_work() {
            self.idle.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Sleep until notified, or for `timeout`. Once the thread is to stop, this returns at once.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let mut state = self.state.lock();
        if !state.notified && !state.stopped {
            match timeout {
                Some(timeout) => drop(self.changed.wait_for(&mut state, timeout)),
                None => self.changed.wait(&mut state),
            }
        }
        state.notified = false;
    }

    /// The thread is to end. This holds for every wait of it, until another thread is started in its place.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        // Under the lock: a thread that does not sleep any more must also see why, or it turns in circles until it does.
        self.stopped.store(true, Ordering::Release);
        state.stopped = true;
        self.changed.notify_one();
    }

    /// Whether the thread is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether the thread was woken, and has not slept since.
    #[cfg(test)]
    pub(super) fn is_notified(&self) -> bool {
        self.state.lock().notified
    }

    /// A thread is about to be started. The one before has ended.
    pub(crate) fn restart(&self) {
        let mut state = self.state.lock();
        self.stopped.store(false, Ordering::Release);
        state.stopped = false;
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_stop_outlasts_every_wait() {
        let wakeup = Wakeup::default();
        wakeup.notify();
        wakeup.stop();
        // A wait that forgot it would not return.
        (0..3).for_each(|_| wakeup.wait(None));
        assert!(wakeup.is_stopped());
        wakeup.restart();
        assert!(!wakeup.is_stopped());
        wakeup.notify();
        wakeup.wait(None);
    }
}
