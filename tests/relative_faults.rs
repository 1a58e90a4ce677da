//! The faults that were reproduced in vwal's nearest relative, libsql-wal 0.1.0-alpha.1: one test for each.
//!
//! "A crash" here is a copy of the files of an open database: what a `kill -9` at that moment leaves.

#[path = "relative_faults/damage.rs"]
mod damage;
#[path = "common/lab.rs"]
mod lab;
#[path = "relative_faults/order.rs"]
mod order;
#[path = "common/remote.rs"]
mod remote;
#[path = "common/spawn.rs"]
mod spawn;
#[path = "common/text.rs"]
mod text;
#[path = "relative_faults/torn_head.rs"]
mod torn_head;

use std::time::{Duration, Instant};

use rusqlite::Connection;

use lab::{Engine, Lab};
use text::{assert_intact, dump, query, run};

#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    remote::serve(|request, _| format!("!unknown request {request}"));
}

/// Rows `from..=to` of a table `t`, each about `length` bytes long.
fn rows(from: u32, to: u32, length: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (VALUES({from}) UNION ALL SELECT i + 1 FROM n WHERE i < {to})
         INSERT INTO t SELECT i, zeroblob({length}) || i FROM n"
    )
}

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body)";

/// What `db` holds is what is recovered after a crash now.
fn assert_survives_a_crash(lab: &Lab, db: &Connection, copy: &str) {
    lab.copy("a.db", copy);
    let after = lab.open(copy);
    assert_intact(&after, "main");
    assert_eq!(dump(&after, "main"), dump(db, "main"));
    assert_eq!(query(&after, "SELECT vwal_frame_no()"), query(db, "SELECT vwal_frame_no()"));
}

/// "A savepoint opened after a cache spill restarted the checksum chain, and recovery dropped that transaction and all
/// later ones."
#[test]
fn a_savepoint_opened_after_a_spill_is_recovered_with_all_that_follows() {
    // Also with transactions of several megabytes, parts of which are in the segment before they are taken back.
    for (size, length) in [(512, 500), (4096, 500), (1024, 9000), (4096, 9000), (65536, 9000)] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", &format!("PRAGMA page_size={size}; PRAGMA cache_size=5"));
        query(
            &db,
            &format!("{TABLE}; BEGIN; {}; SAVEPOINT s; {}", rows(1, 200, length), rows(1000, 1200, length)),
        );
        query(
            &db,
            "UPDATE t SET body = id WHERE id < 20; SAVEPOINT u; UPDATE t SET body = 'no' WHERE id > 1100",
        );
        query(&db, "ROLLBACK TO u; RELEASE s; COMMIT");
        assert_survives_a_crash(&lab, &db, "one.db");
        for at in 2000..2010 {
            query(&db, &rows(at, at, 10));
        }
        assert_survives_a_crash(&lab, &db, "two.db");
        assert_eq!(query(&lab.open("two.db"), "SELECT count(*) FROM t"), "411");
    }
}

/// "A commit whose last page overwrote a spilled frame got no commit mark."
#[test]
fn a_commit_that_rewrites_spilled_pages_is_a_commit() {
    let small = (4..40).step_by(3).map(|spilled| (spilled, 400));
    // Several megabytes, so that the spilled frames are in the segment already.
    let large = (300..420).step_by(30).map(|spilled| (spilled, 9000));
    for (spilled, length) in small.chain(large) {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", "PRAGMA page_size=512; PRAGMA cache_size=5");
        query(&db, &format!("{TABLE}; BEGIN; {}", rows(1, spilled, length)));
        // Pages from the start, those that were written last, and the one with the highest number are written again.
        query(&db, &format!("UPDATE t SET body = zeroblob({length}) || 'first' WHERE id < 3"));
        query(&db, &format!("UPDATE t SET body = zeroblob({length}) || 'again' WHERE id >= {}", spilled - 1));
        query(
            &db,
            &format!(
                "UPDATE t SET body = zeroblob({length}) || 'third' WHERE id = (SELECT max(id) FROM t); COMMIT"
            ),
        );
        assert_survives_a_crash(&lab, &db, "one.db");
        query(&db, "UPDATE t SET body = 'fourth' WHERE id = 2");
        assert_survives_a_crash(&lab, &db, "two.db");
    }
}

/// "`synchronous` was ignored: no fsync on commit at all."
#[test]
fn full_commits_are_durable_and_normal_ones_only_when_asked_for() {
    for group_commit in ["on", "off"] {
        let lab = Lab::new(Engine::Vwal);
        let params = format!("vwal_sync_interval_ms=0&vwal_group_commit={group_commit}");
        let db = lab.open_with("a.db", &params).unwrap();
        query(&db, TABLE);
        for level in ["FULL", "EXTRA"] {
            query(&db, &format!("PRAGMA synchronous={level}"));
            for _ in 0..3 {
                query(&db, "INSERT INTO t(body) VALUES ('x')");
                assert_eq!(query(&db, "SELECT vwal_durable_frame_no() = vwal_frame_no()"), "1", "{level}");
            }
        }
        for level in ["NORMAL", "OFF"] {
            query(&db, &format!("PRAGMA synchronous={level}; INSERT INTO t(body) VALUES ('x')"));
            assert_eq!(query(&db, "SELECT vwal_durable_frame_no() < vwal_frame_no()"), "1", "{level}");
            assert_eq!(query(&db, "SELECT vwal_sync() = vwal_frame_no()"), "1");
            assert_eq!(query(&db, "SELECT vwal_durable_frame_no() = vwal_frame_no()"), "1", "{level}");
        }
    }
}

/// And NORMAL has its background fsync.
#[test]
fn normal_commits_become_durable_within_the_interval() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open_with("a.db", "vwal_sync_interval_ms=20").unwrap();
    query(&db, &format!("PRAGMA synchronous=NORMAL; {TABLE}"));
    query(&db, &rows(1, 5, 100));
    let frame_no = query(&db, "SELECT vwal_frame_no()");
    let deadline = Instant::now() + Duration::from_secs(60);
    while query(&db, &format!("SELECT vwal_durable_frame_no() >= {frame_no}")) == "0" {
        assert!(Instant::now() < deadline, "the background fsync never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// "A reader saw frames of a later transaction after a seal."
#[test]
fn a_reader_keeps_its_snapshot_over_seals_and_checkpoints() {
    let lab = Lab::new(Engine::Vwal);
    let params = "vwal_swap=frames%3E%3D3&vwal_checkpoint_size=16KiB";
    let db = lab.open_with("a.db", params).unwrap();
    query(&db, &format!("{TABLE}; {}; PRAGMA wal_autocheckpoint=4", rows(1, 40, 300)));
    let readers: Vec<Connection> = (0..4).map(|_| lab.open_with("a.db", params).unwrap()).collect();
    let mut seen: Vec<Option<String>> = vec![None; readers.len()];
    let look = "SELECT count(*), sum(id), group_concat(body, '') FROM t";
    for round in 0..60_u32 {
        let at = (round as usize * 7) % readers.len();
        if let Some(before) = seen[at].take() {
            assert_eq!(query(&readers[at], look), before, "round {round}");
            query(&readers[at], "COMMIT");
        } else {
            seen[at] = Some(query(&readers[at], &format!("BEGIN; {look}")));
        }
        query(&db, &format!("UPDATE t SET body = body || {round} WHERE id % 9 = {}", round % 9));
        query(&db, &format!("DELETE FROM t WHERE id = {round}; {}", rows(100 + round, 100 + round, 300)));
        if round % 5 == 0 {
            run(&db, "SELECT vwal_checkpoint()");
        }
        for (reader, before) in readers.iter().zip(&seen) {
            if let Some(before) = before {
                assert_eq!(&query(reader, look), before, "round {round}");
            }
        }
    }
    let segments: u32 = query(&db, "SELECT count(*) FROM vwal_segments").parse().unwrap();
    assert!(segments > 0);
    let first: u64 = query(&db, "SELECT min(start_frame_no) FROM vwal_segments").parse().unwrap();
    assert!(first > 1, "segments were sealed, checkpointed and freed meanwhile");
}

/// "A queued writer that gave up left every other writer parked for ever."
#[test]
fn a_writer_that_gives_up_its_place_in_the_queue_holds_up_nobody() {
    let lab = Lab::new(Engine::Vwal);
    let params = "vwal_queue_ms=100";
    let holder = lab.open_with("a.db", params).unwrap();
    query(&holder, &format!("{TABLE}; BEGIN IMMEDIATE; {}", rows(1, 1, 10)));
    std::thread::scope(|scope| {
        let impatient: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let db = lab.open_with("a.db", params).unwrap();
                    run(&db, "BEGIN IMMEDIATE")
                })
            })
            .collect();
        let patient: Vec<_> = (0..4_u32)
            .map(|at| {
                let lab = &lab;
                scope.spawn(move || {
                    let db = lab.open_with("a.db", params).unwrap();
                    db.busy_timeout(Duration::from_secs(60)).unwrap();
                    run(&db, &format!("BEGIN IMMEDIATE; {}; COMMIT", rows(10 + at, 10 + at, 10)))
                })
            })
            .collect();
        for thread in impatient {
            assert!(thread.join().unwrap().starts_with("!5: "), "it gives up");
        }
        query(&holder, "COMMIT");
        for thread in patient {
            assert_eq!(thread.join().unwrap(), "", "it gets its turn");
        }
    });
    assert_eq!(
        query(&holder, "SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)"),
        "1,10,11,12,13"
    );
    query(&holder, &rows(20, 20, 10));
}

/// "A second process on the same database went unnoticed."
#[test]
fn a_second_process_is_noticed() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, TABLE);
    let mut other = remote::Process::start();
    assert_eq!(other.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "");
    assert_eq!(query(&db, "SELECT count(*) FROM vwal_processes"), "2");
    query(&db, "BEGIN IMMEDIATE");
    assert!(other.sql("x", &rows(1, 1, 10)).starts_with("!5"), "the write lock holds for both");
    query(&db, "COMMIT");
    assert_eq!(other.sql("x", &rows(1, 1, 10)), "");
    assert_eq!(query(&db, "SELECT count(*) FROM t"), "1");
}

/// "Page sizes other than 4096 were reported as corruption."
#[test]
fn every_page_size_is_recovered_after_a_crash() {
    for size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
        query(&db, &format!("{TABLE}; {}", rows(1, 60, 700)));
        assert_survives_a_crash(&lab, &db, "one.db");
        query(&db, "PRAGMA wal_checkpoint(TRUNCATE); UPDATE t SET body = id WHERE id % 2");
        assert_survives_a_crash(&lab, &db, "two.db");
        assert_eq!(query(&lab.open("two.db"), "PRAGMA page_size"), size.to_string());
    }
}

/// "`PRAGMA journal_mode=DELETE` reported success and did nothing."
#[test]
fn journal_mode_delete_does_what_it_reports() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, &format!("{TABLE}; {}", rows(1, 60, 700)));
    let expected = dump(&db, "main");
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "delete");
    drop(db);
    assert!(!lab.wal("a.db").exists());
    let stock = lab.open_stock("a.db").unwrap();
    assert_eq!(query(&stock, "PRAGMA journal_mode"), "delete");
    assert_eq!(dump(&stock, "main"), expected);
    assert_intact(&stock, "main");
}
