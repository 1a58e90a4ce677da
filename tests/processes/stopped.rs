//! A process that is stopped (SIGSTOP) for a while: a debugger, a container that is frozen, a terminal's Ctrl-Z. It is not dead, so
//! nobody may take what it holds; and the others wait for nothing but that.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::member::Member;
use crate::setting::Engine;

/// How long a member is stopped: long enough for anybody who would take it for dead.
const PAUSE: Duration = Duration::from_secs(2);
/// The busy timeout of those who are to give up while it is stopped, in milliseconds.
const SHORT: u64 = 100;

/// Two members with a table of one row.
fn pair(engine: Engine, home: &Path) -> [Member; 2] {
    let [mut a, mut b] = ["A", "B"].map(|name| Member::start(name, engine, home));
    assert_eq!(a.open("mode=rwc", 60_000), "");
    a.rows("PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (0)");
    assert_eq!(b.open("mode=rwc", SHORT), "");
    b.rows("PRAGMA wal_autocheckpoint=20");
    [a, b]
}

/// Calls `act` over and over while `stopped` is stopped.
fn while_stopped(stopped: &Member, mut act: impl FnMut(u32)) -> u32 {
    stopped.signal(Signal::STOP);
    let start = Instant::now();
    let mut times = 0;
    while start.elapsed() < PAUSE {
        times += 1;
        act(times);
    }
    stopped.signal(Signal::CONT);
    times
}

fn on_each_engine(test: impl Fn(Engine, &Path)) {
    for engine in Engine::all() {
        test(engine, tempfile::tempdir().expect("a temporary directory").path());
    }
}

#[test]
fn beside_an_idle_process_that_is_stopped_work_goes_on() {
    on_each_engine(|engine, home| {
        let [mut a, mut b] = pair(engine, home);
        a.rows("SELECT * FROM t");
        let times = while_stopped(&a, |at| {
            b.rows(&format!("INSERT INTO t VALUES ({at})"));
            if at % 100 == 0 {
                b.rows("PRAGMA wal_checkpoint(TRUNCATE)");
            }
        });
        assert!(times > 20, "{times} commits");
        assert_eq!(
            a.rows("SELECT count(*) - 1 FROM t; PRAGMA integrity_check"),
            [times.to_string(), "ok".into()]
        );
        a.rows("INSERT INTO t VALUES (-1)");
        assert_eq!(b.rows("SELECT count(*) - 2 FROM t"), [times.to_string()]);
    });
}

#[test]
fn the_snapshot_of_a_process_that_is_stopped_stays() {
    on_each_engine(|engine, home| {
        let [mut a, mut b] = pair(engine, home);
        a.rows("BEGIN; SELECT * FROM t");
        while_stopped(&a, |at| {
            b.rows(&format!("UPDATE t SET x = {at}"));
            if at % 50 == 0 {
                // It may be busy; and it may not overwrite what the stopped one reads.
                b.ask("PRAGMA wal_checkpoint(RESTART)");
            }
        });
        assert_eq!(a.rows("SELECT * FROM t; COMMIT"), ["0"]);
        assert_eq!(a.rows("SELECT * FROM t; PRAGMA integrity_check"), [&b.rows("SELECT * FROM t")[0], "ok"]);
    });
}

#[test]
fn a_write_transaction_of_a_process_that_is_stopped_stays_its_own() {
    on_each_engine(|engine, home| {
        let [mut a, mut b] = pair(engine, home);
        let mut c = Member::start("C", engine, home);
        assert_eq!(c.open("mode=rwc", 0), "");
        a.rows("PRAGMA cache_size=5; BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
        // Larger than the cache: there are frames in the log already.
        a.rows(
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
                INSERT INTO t SELECT zeroblob(3000) FROM n",
        );
        while_stopped(&a, |at| {
            assert_eq!(b.rows("SELECT * FROM t"), ["0"]);
            let refused = b.ask(&format!("INSERT INTO t VALUES ({at})")).lines;
            assert_eq!(refused, ["! SQLITE_BUSY database is locked"]);
            assert_eq!(c.ask("BEGIN IMMEDIATE").lines, refused);
            assert_eq!(
                c.rows("PRAGMA wal_checkpoint(PASSIVE); SELECT * FROM t").last(),
                Some(&"0".to_owned())
            );
        });
        a.rows("COMMIT");
        assert_eq!(b.rows("INSERT INTO t VALUES (2); SELECT count(*) FROM t"), ["103"]);
        assert_eq!(c.rows("SELECT count(*) FROM t; PRAGMA integrity_check"), ["103", "ok"]);
    });
}

#[test]
fn a_process_that_is_stopped_and_then_killed_gives_up_what_it_held() {
    on_each_engine(|engine, home| {
        let [mut a, mut b] = pair(engine, home);
        a.rows("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
        while_stopped(&a, |_| drop(b.ask("BEGIN IMMEDIATE")));
        a.signal(Signal::STOP);
        assert_eq!(b.ask("BEGIN IMMEDIATE").lines, ["! SQLITE_BUSY database is locked"]);
        a.kill();
        assert_eq!(b.rows("BEGIN IMMEDIATE; INSERT INTO t VALUES (2); COMMIT; SELECT * FROM t"), ["0", "2"]);
    });
}
