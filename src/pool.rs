//! The threads that work for all open databases, and the tasks that they take turns with.
//!
//! A task is what a thread of its own would do from one sleep to the next ([`Step`]). It says itself when it is to go on
//! ([`Next`]); anybody who has its `Waker` has it go on before that. A wake-up is never lost: one that comes while the task runs has
//! it run once more. A task is on one thread at a time. After [`Running::stop`] it runs no more.
//!
//! A step may block: it reads files and fsyncs them. So there is always one thread more than tasks that run, up to the limit of
//! the pool, and one slow disk holds up the tasks of others only when all threads are at it. Whoever wakes a task starts no thread.
//! The first thread is started with the first task, where an error has somebody who is told. Threads that had nothing to do for a while
//! end, all but one; with the last task all of them do, and are waited for: a process without open databases has no thread of
//! the pool, so that it may fork, and unload the library.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::sync::thread::{Builder, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};

/// A thread that had nothing to do for so long ends.
const KEEP: Duration = Duration::from_secs(5);
/// No wait is longer, so that its end can be counted: ten years.
const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// When a task is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once, after the others that are to.
    Now,
    /// After this long, or when it is woken.
    In(Duration),
    /// When it is woken.
    WhenWoken,
    /// Never: it has ended, and is dropped.
    Never,
}

/// What a task does.
pub(crate) trait Step: Send {
    /// Do what there is to do. The first time that is when the task has been started, and then when it is to go on.
    fn step(&mut self) -> Next;
}

/// A task panicked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// See the module.
#[derive(Clone)]
pub(crate) struct Pool {
    crew: Arc<Crew>,
}

struct Crew {
    /// What the threads are called.
    name: &'static str,
    /// The most threads.
    limit: usize,
    /// Called by each thread first.
    prepare: fn(),
    /// A thread that had nothing to do for so long ends.
    keep: Duration,
    inner: Mutex<Inner>,
    /// A task that is to stop does not run any more.
    halted: Condvar,
}

#[derive(Default)]
struct Inner {
    tasks: BTreeMap<u64, Task>,
    /// Of a task or a thread.
    last_id: u64,
    /// In the order in which they run.
    ready: VecDeque<u64>,
    /// Tasks that go on at a time.
    timers: BTreeSet<(Instant, u64)>,
    /// The threads that have nothing to do, the last one that came last.
    idle: Vec<Seat>,
    /// The one of those that waits for the first timer, and when it will wake up.
    keeper: Option<(Seat, Instant)>,
    /// Threads, with those that are being started.
    threads: usize,
    /// Threads that have been started and have not looked for work yet.
    starting: usize,
    handles: BTreeMap<u64, JoinHandle<()>>,
    /// Counts how often the last task has gone: threads of an earlier era end.
    era: u64,
}

/// Where one thread sleeps.
type Seat = Arc<Condvar>;

struct Task {
    state: State,
    /// `None` while it runs, and when it has ended by itself.
    body: Option<Box<dyn Step>>,
}

#[derive(Clone, Copy)]
enum State {
    Asleep { until: Option<Instant> },
    Ready,
    Running { woken: bool, stopping: bool },
    Ended { panicked: bool },
}

impl Pool {
    /// A pool without tasks and threads. It will have at most `limit` threads called `name`; each calls `prepare` first.
    pub(crate) fn new(name: &'static str, limit: usize, prepare: fn()) -> Pool {
        Pool::with_keep(name, limit, prepare, KEEP)
    }

    /// The same, whose threads end when they had nothing to do for `keep`.
    pub(crate) fn with_keep(name: &'static str, limit: usize, prepare: fn(), keep: Duration) -> Pool {
        let (inner, halted) = (Mutex::default(), Condvar::default());
        Pool { crew: Arc::new(Crew { name, limit, prepare, keep, inner, halted }) }
    }

    /// Start a task. `make` is given what wakes it.
    ///
    /// Errors: there is no thread yet, and the system gives none.
    pub(crate) fn start(&self, make: impl FnOnce(&Waker) -> Box<dyn Step>) -> io::Result<Running> {
        let crew = &self.crew;
        let mut inner = crew.inner.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        drop(inner);
        let body = make(&Waker::from(Arc::new(WakesTask { crew: Arc::clone(crew), id })));
        let mut inner = crew.inner.lock();
        let hired = crew.have_another(&mut inner);
        if inner.threads == 0 {
            hired?;
        }
        inner.tasks.insert(id, Task { state: State::Ready, body: Some(body) });
        inner.ready.push_back(id);
        let called = inner.call_one();
        drop(inner);
        if let Some(seat) = called {
            seat.notify_one();
        }
        Ok(Running { crew: Arc::clone(crew), id, is_stopped: false })
    }

    #[cfg(all(test, not(shuttle)))]
    fn threads(&self) -> usize {
        self.crew.inner.lock().threads
    }
}

/// A task that was started. Dropping it stops the task.
pub(crate) struct Running {
    crew: Arc<Crew>,
    id: u64,
    is_stopped: bool,
}

impl Running {
    /// Stop the task. When this returns it does not run, never will, and has been dropped.
    pub(crate) fn stop(mut self) -> Result<(), Panicked> {
        self.is_stopped = true;
        self.crew.stop(self.id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_stopped {
            let _ = self.crew.stop(self.id);
        }
    }
}

struct WakesTask {
    crew: Arc<Crew>,
    id: u64,
}

impl Wake for WakesTask {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.crew.wake(self.id);
    }
}

impl Crew {
    fn wake(&self, id: u64) {
        let mut inner = self.inner.lock();
        // A task that has ended may still be woken.
        let Some(task) = inner.tasks.get_mut(&id) else { return };
        let until = match &mut task.state {
            State::Asleep { until } => *until,
            State::Running { woken, .. } => {
                *woken = true;
                return;
            }
            State::Ready | State::Ended { .. } => return,
        };
        task.state = State::Ready;
        if let Some(until) = until {
            inner.timers.remove(&(until, id));
        }
        inner.ready.push_back(id);
        let called = inner.call_one();
        drop(inner);
        if let Some(seat) = called {
            seat.notify_one();
        }
    }

    fn stop(&self, id: u64) -> Result<(), Panicked> {
        let mut inner = self.inner.lock();
        while let Some(Task { state: State::Running { stopping, .. }, .. }) = inner.tasks.get_mut(&id) {
            *stopping = true;
            self.halted.wait(&mut inner);
        }
        let task = inner.tasks.remove(&id);
        match task.as_ref().map(|task| task.state) {
            Some(State::Ready) => inner.ready.retain(|&other| other != id),
            Some(State::Asleep { until: Some(until) }) => drop(inner.timers.remove(&(until, id))),
            _ => {}
        }
        let handles = if inner.tasks.is_empty() { inner.end_era() } else { BTreeMap::new() };
        drop(inner);
        for handle in handles.into_values() {
            // It runs no task, and nothing else panics.
            let _ = handle.join();
        }
        match task.map(|task| task.state) {
            Some(State::Ended { panicked: true }) => Err(Panicked),
            _ => Ok(()),
        }
    }

    /// Start a thread. The lock is held, so that nobody counts on a thread that does not come.
    fn hire(self: &Arc<Self>, inner: &mut Inner) -> io::Result<()> {
        inner.last_id += 1;
        let (crew, era, id) = (Arc::clone(self), inner.era, inner.last_id);
        let handle = Builder::new().name(self.name.into()).spawn(move || crew.work(era, id))?;
        inner.handles.insert(id, handle);
        inner.threads += 1;
        inner.starting += 1;
        Ok(())
    }

    /// Have a thread that has nothing to do, unless there are as many as there may be.
    fn have_another(self: &Arc<Self>, inner: &mut Inner) -> io::Result<()> {
        if inner.has_another() || inner.starting > 0 || inner.threads >= self.limit {
            return Ok(());
        }
        self.hire(inner)
    }

    /// What a thread does.
    fn work(self: &Arc<Self>, era: u64, id: u64) {
        (self.prepare)();
        let seat = Seat::default();
        let mut inner = self.inner.lock();
        if inner.era == era {
            inner.starting -= 1;
        }
        while inner.era == era {
            inner.ring();
            if let Some((id, body)) = inner.take() {
                self.run(&mut inner, id, body);
            } else if !self.rest(&mut inner, &seat) && inner.era == era && inner.has_another() {
                // Not while the others are all in steps: what becomes ready meanwhile would wait for those, however long they take.
                inner.threads -= 1;
                // It is not waited for: this is all that it does.
                inner.handles.remove(&id);
                return;
            }
        }
    }

    /// Nothing is ready: sleep until somebody calls this thread, or a timer. False: it had nothing to do for a long time.
    fn rest(&self, inner: &mut MutexGuard<'_, Inner>, seat: &Seat) -> bool {
        let first = inner.timers.first().map(|&(first, _)| first);
        let keeps = first.filter(|&first| inner.keeper.as_ref().is_none_or(|&(_, until)| first < until));
        let is_over = if let Some(until) = keeps {
            if let Some((other, _)) = inner.keeper.replace((Arc::clone(seat), until)) {
                // It will look up at its time, and find nothing.
                inner.idle.push(other);
            }
            seat.wait_until(inner, until);
            false
        } else {
            inner.idle.push(Arc::clone(seat));
            if inner.threads > 1 {
                seat.wait_for(inner, self.keep).timed_out()
            } else {
                seat.wait(inner);
                false
            }
        };
        // Whoever called it has taken it off.
        let was_idle = inner.idle.iter().position(|other| Arc::ptr_eq(other, seat));
        if let Some(at) = was_idle {
            inner.idle.remove(at);
        }
        inner.keeper.take_if(|(other, _)| Arc::ptr_eq(other, seat));
        !(is_over && was_idle.is_some())
    }

    /// Let a task have its turn.
    fn run(self: &Arc<Self>, inner: &mut MutexGuard<'_, Inner>, id: u64, mut body: Box<dyn Step>) {
        // Somebody has to be there for the tasks that become ready meanwhile. Without one they wait for this thread; the next turn, and
        // the next task that is started, ask the system again.
        let _ = self.have_another(inner);
        let called = if inner.wants_hands() { inner.call_one() } else { None };
        let stepped = MutexGuard::unlocked(inner, || {
            if let Some(seat) = called {
                seat.notify_one();
            }
            let next = catch_unwind(AssertUnwindSafe(|| body.step()));
            match next {
                Ok(next) if next != Next::Never => Ok((next, body)),
                ended => {
                    // Whoever stops the task must find that it is gone.
                    let dropped = catch_unwind(AssertUnwindSafe(|| drop(body)));
                    Err(ended.is_err() || dropped.is_err())
                }
            }
        });
        let inner = &mut **inner;
        let Some(task) = inner.tasks.get_mut(&id) else { return };
        let State::Running { woken, stopping } = task.state else { return };
        match stepped {
            Err(panicked) => task.state = State::Ended { panicked },
            Ok((next, body)) => {
                task.body = Some(body);
                match next {
                    _ if stopping => task.state = State::Ended { panicked: false },
                    Next::In(time) if !woken => {
                        let until = Instant::now() + time.min(WAIT_MAX);
                        task.state = State::Asleep { until: Some(until) };
                        inner.timers.insert((until, id));
                    }
                    Next::WhenWoken if !woken => task.state = State::Asleep { until: None },
                    _ => {
                        task.state = State::Ready;
                        inner.ready.push_back(id);
                    }
                }
            }
        }
        if stopping {
            self.halted.notify_all();
        }
    }
}

impl Inner {
    /// Tasks whose time has come are ready.
    fn ring(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(&(until, id)) = self.timers.first().filter(|(until, _)| *until <= now) {
            self.timers.remove(&(until, id));
            if let Some(task) = self.tasks.get_mut(&id) {
                task.state = State::Ready;
                self.ready.push_back(id);
            }
        }
    }

    /// The next task.
    fn take(&mut self) -> Option<(u64, Box<dyn Step>)> {
        let id = self.ready.pop_front()?;
        let task = self.tasks.get_mut(&id)?;
        task.state = State::Running { woken: false, stopping: false };
        Some((id, task.body.take()?))
    }

    /// A thread that has nothing to do, which the caller wakes. The one that waits for the timers is called when there is no other.
    fn call_one(&mut self) -> Option<Seat> {
        self.idle.pop().or_else(|| self.keeper.take().map(|(seat, _)| seat))
    }

    /// Whether a thread has nothing to do, or waits for the timers.
    fn has_another(&self) -> bool {
        !self.idle.is_empty() || self.keeper.is_some()
    }

    /// Whether there is something for another thread to do while this one runs a task: another task, or waiting for a timer.
    fn wants_hands(&self) -> bool {
        let is_kept = |first| self.keeper.as_ref().is_some_and(|&(_, until)| until <= first);
        !self.ready.is_empty() || self.timers.first().is_some_and(|&(first, _)| !is_kept(first))
    }

    /// The last task has gone: the threads end, and are to be waited for.
    fn end_era(&mut self) -> BTreeMap<u64, JoinHandle<()>> {
        self.era += 1;
        (self.threads, self.starting) = (0, 0);
        while let Some(seat) = self.call_one() {
            seat.notify_one();
        }
        std::mem::take(&mut self.handles)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
