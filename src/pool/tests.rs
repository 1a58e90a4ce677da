//! The pool with threads of the system. All orders of its steps: `testing/schedules/pool.rs`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::*;

/// Nothing here takes nearly as long.
const LIMIT: Duration = Duration::from_secs(30);

struct Does<F>(F);

impl<F: FnMut() -> Next + Send> Step for Does<F> {
    fn step(&mut self) -> Next {
        (self.0)()
    }
}

fn start(pool: &Pool, step: impl FnMut() -> Next + Send + 'static) -> (Running, Waker) {
    let mut waker = None;
    let running = pool.start(|given| {
        waker = Some(given.clone());
        Box::new(Does(step))
    });
    (running.expect("there are threads"), waker.expect("it is given"))
}

fn pool(limit: usize) -> Pool {
    Pool::with_keep("vwal-test", limit, || {}, Duration::from_millis(50))
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_task_goes_on_when_it_is_woken_and_when_its_time_has_come() {
    let pool = pool(4);
    let (send, steps) = mpsc::channel();
    let mut count = 0;
    let (task, waker) = start(&pool, move || {
        count += 1;
        send.send(count).expect("somebody listens");
        match count {
            1 => Next::WhenWoken,
            2 => Next::In(Duration::from_secs(3600)),
            3 => Next::In(Duration::from_millis(20)),
            4 => Next::Now,
            5 => Next::In(Duration::MAX),
            _ => Next::Never,
        }
    });
    let step = || steps.recv_timeout(LIMIT).expect("a step");
    assert_eq!(step(), 1);
    waker.wake_by_ref();
    assert_eq!(step(), 2);
    waker.wake_by_ref();
    let third = Instant::now();
    assert_eq!(step(), 3);
    assert_eq!(step(), 4);
    assert!(third.elapsed() >= Duration::from_millis(20));
    assert_eq!(step(), 5);
    assert!(steps.recv_timeout(Duration::from_millis(50)).is_err(), "nobody has woken it");
    waker.wake_by_ref();
    assert_eq!(step(), 6);
    // Its sender is gone with it.
    assert_eq!(steps.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
    waker.wake_by_ref();
    assert_eq!(task.stop(), Ok(()));
    waker.wake_by_ref();
}

#[test]
fn a_step_that_takes_longer_than_idle_threads_are_kept_holds_up_nobody() {
    let pool = Pool::with_keep("test-pool", 3, || {}, Duration::from_millis(20));
    let (release, gate) = mpsc::channel::<()>();
    let entered = Arc::new(AtomicU32::new(0));
    let inside = Arc::clone(&entered);
    let (slow, _) = start(&pool, move || {
        inside.fetch_add(1, Ordering::SeqCst);
        let _ = gate.recv_timeout(LIMIT);
        Next::Never
    });
    let steps = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&steps);
    let (quick, waker) = start(&pool, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Next::WhenWoken
    });
    until("both began", || entered.load(Ordering::SeqCst) == 1 && steps.load(Ordering::SeqCst) == 1);
    std::thread::sleep(Duration::from_millis(300));
    waker.wake_by_ref();
    until("the other one has its turn", || steps.load(Ordering::SeqCst) == 2);
    std::thread::sleep(Duration::from_millis(300));
    let counted = Arc::clone(&steps);
    let (late, _) = start(&pool, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Next::WhenWoken
    });
    until("one that comes later has its turn", || steps.load(Ordering::SeqCst) == 3);
    release.send(()).expect("the slow one still waits");
    for task in [slow, quick, late] {
        assert_eq!(task.stop(), Ok(()));
    }
}

#[test]
fn slow_tasks_do_not_hold_up_the_others_up_to_the_limit() {
    let pool = pool(3);
    let (release, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let inside = Arc::new(AtomicU32::new(0));
    let slow = |_| {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        start(&pool, move || {
            inside.fetch_add(1, Ordering::SeqCst);
            let _ = gate.lock().map(|gate| gate.recv_timeout(LIMIT));
            inside.fetch_sub(1, Ordering::SeqCst);
            Next::WhenWoken
        })
    };
    let first: Vec<_> = (0..2).map(slow).collect();
    until("two steps wait", || inside.load(Ordering::SeqCst) == 2);
    let steps = Arc::new(AtomicU32::new(0));
    let quick: Vec<_> = (0..100)
        .map(|_| {
            let steps = Arc::clone(&steps);
            start(&pool, move || {
                steps.fetch_add(1, Ordering::SeqCst);
                Next::WhenWoken
            })
        })
        .collect();
    until("all others have their turn", || steps.load(Ordering::SeqCst) == 100);
    quick.iter().for_each(|(_, waker)| waker.wake_by_ref());
    until("and another one", || steps.load(Ordering::SeqCst) == 200);
    // The limit holds.
    let second: Vec<_> = (0..3).map(slow).collect();
    until("three steps wait", || inside.load(Ordering::SeqCst) == 3);
    assert_eq!(pool.threads(), 3);
    (0..5).for_each(|_| release.send(()).expect("they listen"));
    until("all are done", || inside.load(Ordering::SeqCst) == 0);
    drop((first, second, quick));
    assert_eq!(pool.threads(), 0);
}

#[test]
fn threads_end_when_there_is_nothing_to_do_and_all_of_them_with_the_last_task() {
    let pool = pool(4);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            start(&pool, || {
                std::thread::sleep(Duration::from_millis(20));
                Next::WhenWoken
            })
        })
        .collect();
    until("they are many", || pool.threads() > 1);
    until("one is left", || pool.threads() == 1);
    // That one goes on.
    tasks.iter().for_each(|(_, waker)| waker.wake_by_ref());
    until("they are many again", || pool.threads() > 1);
    drop(tasks);
    assert_eq!(pool.threads(), 0);
    // And another beginning.
    let (task, _) = start(&pool, || Next::WhenWoken);
    assert!(pool.threads() > 0);
    drop(task);
    assert_eq!(pool.threads(), 0);
}

#[test]
fn a_stop_waits_for_the_step_and_nothing_comes_after_it() {
    let pool = pool(2);
    let (began, begins) = mpsc::channel();
    let steps = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&steps);
    let (other, _) = start(&pool, || Next::In(Duration::from_millis(1)));
    let (task, waker) = start(&pool, move || {
        began.send(()).expect("somebody listens");
        std::thread::sleep(Duration::from_millis(50));
        counted.fetch_add(1, Ordering::SeqCst);
        Next::Now
    });
    begins.recv_timeout(LIMIT).expect("it begins");
    assert_eq!(task.stop(), Ok(()));
    let done = steps.load(Ordering::SeqCst);
    assert!(done > 0, "the step that had begun has ended");
    assert_eq!(Arc::strong_count(&steps), 1, "the task has been dropped");
    waker.wake();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(steps.load(Ordering::SeqCst), done);
    drop(other);
}

#[test]
fn a_panic_ends_one_task_and_is_told_when_it_is_stopped() {
    let pool = pool(2);
    let (alive, is_alive) = mpsc::channel();
    let held = Arc::new(());
    let dropped = Arc::clone(&held);
    let (task, waker) = start(&pool, move || {
        let _dropped = &dropped;
        panic!("a planted panic")
    });
    let (other, wakes_other) = start(&pool, move || {
        alive.send(()).expect("somebody listens");
        Next::WhenWoken
    });
    until("what it held is free", || Arc::strong_count(&held) == 1);
    waker.wake();
    is_alive.recv_timeout(LIMIT).expect("the other one lives");
    wakes_other.wake();
    is_alive.recv_timeout(LIMIT).expect("the other one goes on");
    assert_eq!(task.stop(), Err(Panicked));
    assert_eq!(other.stop(), Ok(()));
}

#[test]
fn timers_go_on_while_the_thread_that_waited_for_them_has_something_else_to_do() {
    let pool = pool(2);
    let ticks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ticks);
    let (ticker, _) = start(&pool, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Next::In(Duration::from_millis(2))
    });
    let ticked = |what: &str| {
        let before = ticks.load(Ordering::SeqCst);
        until(what, || ticks.load(Ordering::SeqCst) >= before + 5);
    };
    let (release, gate) = mpsc::channel::<()>();
    let (began, begins) = mpsc::channel();
    let (slow, _) = start(&pool, move || {
        let _ = began.send(());
        let _ = gate.recv_timeout(LIMIT);
        Next::In(Duration::from_millis(1))
    });
    // More than once: it is one thread or the other.
    for _ in 0..20 {
        begins.recv_timeout(LIMIT).expect("it has its turn");
        ticked("the timer goes on");
        release.send(()).expect("it waits");
    }
    // It does not wait any more.
    drop(release);
    drop((ticker, slow));
    assert_eq!(pool.threads(), 0);
}
