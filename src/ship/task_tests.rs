//! How a task goes through its rounds: who wakes it, how it is stopped, and what its panic does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::testing::faults::rig::{Db, Rig};

/// Nothing here takes nearly as long.
const LIMIT: Duration = Duration::from_secs(30);

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts a task of a log. Nothing else runs.
fn start<W: Work>(db: &Db) -> Tasks {
    let workers = Workers::new(&Pool::new("vwal-test", 2, || {}));
    let shipping = Arc::new(Shipping::new("memory://tasks".parse().expect("a URL")));
    let log = Arc::clone(db.wal.log());
    let mut tasks = Tasks { log, shipping, running: Vec::new(), _online: None };
    tasks.start::<W>(&workers.low, &workers).expect("there are threads");
    tasks
}

/// Counts what happens to the task that it is in.
struct Counts {
    rounds: AtomicU32,
    may_end: AtomicBool,
    dropped: AtomicBool,
    gone: AtomicBool,
}

impl Counts {
    const fn new() -> Counts {
        Counts {
            rounds: AtomicU32::new(0),
            may_end: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    fn rounds(&self) -> u32 {
        self.rounds.load(Ordering::SeqCst)
    }
}

/// Tells that a round was dropped.
struct Dropped(&'static Counts);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
    }
}

/// The keeper's wake-up, storage in memory, and `$counts`.
macro_rules! fake {
    ($name:ident, $counts:ident, $work:expr) => {
        static $counts: Counts = Counts::new();

        struct $name;

        impl Work for $name {
            const SERVES_COMMITS: bool = true;
            fn wakeup<'a>(_: &'a Log, shipping: &'a Shipping) -> &'a Wakeup {
                &shipping.keeper
            }

            fn storage(_: &Online, shipping: &Shipping) -> Result<Arc<dyn Storage>> {
                crate::storage::open(&shipping.url, RETRIES)
            }

            fn new(_: &Arc<Log>, _: &Arc<Shipping>, _: Arc<dyn Storage>) -> $name {
                $name
            }

            fn due(&mut self) -> Next {
                Next::Now
            }

            async fn work(&mut self) -> Next {
                let round = $counts.rounds.fetch_add(1, Ordering::SeqCst) + 1;
                $work(round).await
            }

            fn gone(_: &Log, _: &Shipping) {
                $counts.gone.store(true, Ordering::SeqCst);
            }
        }
    };
}

fake!(Panics, PANICS, |_| async { panic!("a planted panic") });

#[test]
fn a_panic_is_told_at_once_and_when_the_database_is_closed() {
    let db = Rig::new().open().expect("it opens");
    let tasks = start::<Panics>(&db);
    until("nobody waits for it any more", || PANICS.gone.load(Ordering::SeqCst));
    let told = db.wal.log().remote().shipping_trouble().map(|error| error.to_string());
    assert!(told.as_deref().is_some_and(|told| told.contains("panicked")), "{told:?}");
    db.wal.log().clear_error();
    drop(tasks);
    let told = db.wal.log().last_error();
    assert!(told.as_deref().is_some_and(|told| told.contains("panicked")), "{told:?}");
    assert_eq!(PANICS.rounds(), 1);
}

fake!(Waits, WAITS, |round| async move {
    match round {
        // It fails, and somebody asked for more meanwhile.
        1 => {
            while !WAITS.may_end.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Next::In(Duration::from_secs(3600))
        }
        2 => Next::In(Duration::from_millis(20)),
        _ => Next::WhenWoken,
    }
});

#[test]
fn whoever_notifies_during_a_round_has_another_one_at_once() {
    let db = Rig::new().open().expect("it opens");
    let tasks = start::<Waits>(&db);
    until("the first round", || WAITS.rounds() == 1);
    tasks.shipping().keeper.notify();
    // The wake-up has been for the round that was under way.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(WAITS.rounds(), 1);
    WAITS.may_end.store(true, Ordering::SeqCst);
    until("the second round, and the one after a while", || WAITS.rounds() == 3);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(WAITS.rounds(), 3, "nobody has woken it");
    tasks.shipping().keeper.notify();
    until("the fourth round", || WAITS.rounds() == 4);
    assert!(!WAITS.gone.load(Ordering::SeqCst));
    drop(tasks);
    assert!(WAITS.gone.load(Ordering::SeqCst));
}

fake!(Fails, FAILS, |_| async { Next::In(Duration::from_secs(3600)) });

/// What another process commits wakes nobody here, so the task looks often; but storage that does not answer is not asked as often.
#[test]
fn the_pause_after_a_failed_round_is_kept_while_another_process_has_the_log_open() {
    let db = Rig::new().open().expect("it opens");
    db.log().memory().pretend_another();
    let tasks = start::<Fails>(&db);
    until("the first round", || FAILS.rounds() == 1);
    std::thread::sleep(10 * LOOK);
    assert_eq!(FAILS.rounds(), 1);
    tasks.shipping().keeper.notify();
    until("the second round", || FAILS.rounds() == 2);
}

fake!(Hangs, HANGS, |_| async {
    let _dropped = Dropped(&HANGS);
    std::future::pending::<()>().await;
    Next::Now
});

#[test]
fn a_stop_gives_up_the_round_that_is_under_way() {
    let db = Rig::new().open().expect("it opens");
    let tasks = start::<Hangs>(&db);
    until("the first round", || HANGS.rounds() == 1);
    let log = Arc::downgrade(db.wal.log());
    let before = log.strong_count();
    drop(tasks);
    assert!(HANGS.dropped.load(Ordering::SeqCst) && HANGS.gone.load(Ordering::SeqCst));
    assert!(log.strong_count() < before, "nothing of it holds the log");
}
