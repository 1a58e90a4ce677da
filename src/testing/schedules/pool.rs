//! The pool of threads: no wake-up is lost, a task is on one thread at a time, and none after it was stopped.

use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::{explore, must_fail};
use crate::log::Wakeup;
use crate::pool::{Next, Pool, Running, Step};
use crate::sync::Fault;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const CI: u64 = 10_000;
const TASKS: usize = 3;
const EACH: u32 = 3;
/// A wait with a limit from here on does not run out, which would hide that nobody wakes it.
const LONG: Duration = Duration::from_secs(3600);

/// Work for one task.
#[derive(Default)]
struct Work {
    wakeup: Wakeup,
    made: AtomicU32,
    done: AtomicU32,
    is_running: AtomicBool,
    is_stopped: AtomicBool,
    ran_twice: AtomicBool,
    ran_late: AtomicBool,
}

/// Does what there is, and looks for more before it sleeps.
struct Worker {
    work: Arc<Work>,
    has_timers: bool,
}

impl Step for Worker {
    fn step(&mut self) -> Next {
        let work = &self.work;
        // A panic would end the task and no more, so what is wrong is told at the end.
        if work.is_running.swap(true, Ordering::SeqCst) {
            work.ran_twice.store(true, Ordering::SeqCst);
        }
        if work.is_stopped.load(Ordering::SeqCst) {
            work.ran_late.store(true, Ordering::SeqCst);
        }
        let made = work.made.load(Ordering::SeqCst);
        work.done.store(made, Ordering::SeqCst);
        let sleeps = work.wakeup.may_sleep(|| work.made.load(Ordering::SeqCst) > made);
        work.is_running.store(false, Ordering::SeqCst);
        match sleeps {
            true if self.has_timers && thread_rng().r#gen() => Next::In(LONG),
            true => Next::WhenWoken,
            false if self.has_timers && thread_rng().r#gen() => Next::In(Duration::from_millis(1)),
            false => Next::Now,
        }
    }
}

fn start(pool: &Pool, work: &Arc<Work>, has_timers: bool) -> Running {
    let running = pool.start(|waker| {
        work.wakeup.attach(waker);
        Box::new(Worker { work: Arc::clone(work), has_timers })
    });
    running.expect("there are threads")
}

/// What is wrong on purpose.
#[derive(Clone, Copy, PartialEq)]
enum Planted {
    Nothing,
    NobodyNotifies,
    TwoTasksDoOneWork,
    NobodyStops,
}

fn model(keep: Duration, has_timers: bool, planted: Planted) {
    let pool = Pool::with_keep("model", 2, || {}, keep);
    let works: Vec<Arc<Work>> = (0..TASKS).map(|_| Arc::default()).collect();
    let mut tasks: Vec<Running> = works.iter().map(|work| start(&pool, work, has_timers)).collect();
    if planted == Planted::TwoTasksDoOneWork {
        tasks.push(start(&pool, &works[0], has_timers));
    }
    thread::scope(|scope| {
        let works = &works;
        let makers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let work = &works[thread_rng().gen_range(0..TASKS)];
                        work.made.fetch_add(1, Ordering::SeqCst);
                        if planted != Planted::NobodyNotifies {
                            work.wakeup.notify_if_idle();
                        }
                    }
                })
            })
            .collect();
        // The others go on while one is stopped. Not by this thread: shuttle wakes it at the end of each thread of the scope.
        if thread_rng().r#gen() {
            let task = tasks.remove(TASKS - 1);
            scope.spawn(move || works[TASKS - 1].is_stopped.store(stop(task, planted), Ordering::SeqCst));
        }
        makers.into_iter().for_each(|maker| maker.join().expect("it does not panic"));
    });
    for work in works.iter().filter(|work| !work.is_stopped.load(Ordering::SeqCst)) {
        while work.done.load(Ordering::SeqCst) < work.made.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }
    for task in tasks {
        stop(task, planted);
    }
    for work in &works {
        work.is_stopped.store(true, Ordering::SeqCst);
    }
    // Nobody is listened to any more.
    for work in &works {
        work.wakeup.notify();
        thread::yield_now();
        work.wakeup.detach();
    }
    for work in works {
        assert!(!work.ran_twice.load(Ordering::SeqCst), "a task was on two threads");
        assert!(!work.ran_late.load(Ordering::SeqCst), "a task ran after its stop");
        assert_eq!(Arc::strong_count(&work), 1, "a task was not dropped");
    }
}

fn stop(task: Running, planted: Planted) -> bool {
    match planted {
        Planted::NobodyStops => std::mem::forget(task),
        _ => task.stop().expect("it does not panic"),
    }
    true
}

#[test]
fn no_wake_up_is_lost_and_a_stop_is_the_end() {
    explore("pool", CI, || model(LONG, false, Planted::Nothing));
}

#[test]
fn the_same_with_timers_and_threads_that_come_and_go() {
    explore("pool with timers", CI, || model(Duration::from_millis(1), true, Planted::Nothing));
}

#[test]
fn a_wake_up_that_does_not_come_is_found() {
    must_fail(CI, None, "max_steps", || model(LONG, false, Planted::NobodyNotifies));
}

#[test]
fn a_thread_that_is_not_called_is_found() {
    must_fail(CI, Some(Fault::WakesNobody), "max_steps", || model(LONG, false, Planted::Nothing));
}

#[test]
fn two_threads_in_one_task_are_found() {
    must_fail(CI, None, "a task was on two threads", || model(LONG, false, Planted::TwoTasksDoOneWork));
}

#[test]
fn a_stop_that_does_not_come_is_found() {
    must_fail(CI, None, "a task ran after its stop", || model(LONG, false, Planted::NobodyStops));
}
