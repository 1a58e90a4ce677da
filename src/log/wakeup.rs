//! How a background task is woken.

use std::task::Waker;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering, fence};

/// Wakes one task, which has its turns on a pool of threads (`pool.rs`).
///
/// Commits have to know whether they must wake the task, and look at an atomic for that. The task says that it is idle, and
/// then looks for work once more ([`Wakeup::may_sleep`]); a commit makes the work visible, and then looks whether the task is
/// idle ([`Wakeup::notify_if_idle`]). With a fence between the two steps on both sides, one of them sees the other.
#[derive(Default)]
pub(crate) struct Wakeup {
    state: Mutex<State>,
    idle: AtomicBool,
}

#[derive(Default)]
struct State {
    notified: bool,
    task: Option<Waker>,
}

impl Wakeup {
    /// From now on this is the task that is woken. It begins with a step, so that nothing that came before is missed.
    pub(crate) fn attach(&self, task: &Waker) {
        self.state.lock().task = Some(task.clone());
    }

    /// The task has ended.
    pub(crate) fn detach(&self) {
        self.state.lock().task = None;
    }

    /// Wake the task. If it is awake it has one more turn.
    pub(crate) fn notify(&self) {
        let mut state = self.state.lock();
        state.notified = true;
        if let Some(task) = &state.task {
            task.wake_by_ref();
        }
    }

    /// Wake the task if it said that it sleeps until something happens. The caller has made visible what happened, and there is a
    /// sequentially consistent fence between that and this call.
    pub(crate) fn notify_if_idle(&self) {
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::AcqRel) {
            self.notify();
        }
    }

    /// The task is about to sleep until something happens. False: there is work already.
    pub(crate) fn may_sleep(&self, is_work: impl FnOnce() -> bool) -> bool {
        self.idle.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if is_work() {
            self.idle.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Whether somebody has notified since the last call. A task that is woken by others too learns by this who it was.
    pub(crate) fn take_notified(&self) -> bool {
        std::mem::take(&mut self.state.lock().notified)
    }
}
