//! A new, empty database opened through vwal becomes virtual at its first write, so that what SQLite lets one choose
//! before the first table can be chosen.

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::text::{assert_intact, query, run};

#[test]
fn until_then_nothing_is_made() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "PRAGMA journal_mode"), "wal");
    assert_eq!(
        query(&db, "SELECT vwal_log_id(), vwal_frame_no(), (SELECT count(*) FROM vwal_status)"),
        "NULL|NULL|0"
    );
    assert_eq!(query(&db, "SELECT count(*) FROM sqlite_schema"), "0");
    query(&db, "CREATE TABLE t(x)");
    // The log is made when the new page 1 is read again.
    assert_ne!(query(&db, "SELECT vwal_log_id()"), "NULL");
    assert!(lab.wal("a.db").is_dir());
    query(&db, "INSERT INTO t VALUES (1)");
    drop(db);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t; PRAGMA journal_mode"), "1\nwal");
    assert_intact(&db, "main");
}

#[test]
fn settings_of_a_new_database_hold() {
    for size in [512, 1024, 8192, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.open("a.db");
        query(
            &db,
            &format!("PRAGMA page_size={size}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA encoding='UTF-16le'"),
        );
        query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES ('é')");
        drop(db);
        let db = lab.open("a.db");
        let settings = query(&db, "PRAGMA page_size; PRAGMA auto_vacuum; PRAGMA encoding; SELECT x FROM t");
        assert_eq!(settings, format!("{size}\n2\nUTF-16le\né"));
        assert_intact(&db, "main");
    }
}

#[test]
fn the_first_write_may_be_any() {
    let firsts = [
        "BEGIN; CREATE TABLE t(x); INSERT INTO t VALUES (1); COMMIT",
        "BEGIN IMMEDIATE; CREATE TABLE t(x); COMMIT; INSERT INTO t VALUES (1)",
        "BEGIN EXCLUSIVE; CREATE TABLE t(x); INSERT INTO t VALUES (1); COMMIT",
        "SAVEPOINT s; CREATE TABLE t(x); INSERT INTO t VALUES (1); RELEASE s",
        "BEGIN; CREATE TABLE gone(x); ROLLBACK; CREATE TABLE t AS SELECT 1 AS x",
        "PRAGMA user_version=5; CREATE TABLE t AS SELECT 1 AS x",
        "PRAGMA journal_mode=WAL; CREATE TABLE t AS SELECT 1 AS x",
        "VACUUM; CREATE TABLE t AS SELECT 1 AS x",
        "PRAGMA cache_size=5; BEGIN; CREATE TABLE big(x); INSERT INTO big VALUES (zeroblob(200000)); COMMIT;
         CREATE TABLE t AS SELECT 1 AS x",
    ];
    for first in firsts {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.open("a.db");
        query(&db, first);
        assert_eq!(query(&db, "SELECT * FROM t"), "1", "{first}");
        assert_ne!(query(&db, "SELECT vwal_log_id()"), "NULL", "virtual after: {first}");
        let other = lab.open("a.db");
        assert_eq!(query(&other, "SELECT * FROM t"), "1", "{first}");
        query(&other, "INSERT INTO t VALUES (2)");
        lab.copy("a.db", "crashed.db");
        let after = lab.open("crashed.db");
        assert_eq!(query(&after, "SELECT * FROM t"), "1\n2", "{first}");
        assert_intact(&after, "main");
    }
}

#[test]
fn two_connections_open_the_empty_database_before_either_writes() {
    let lab = Lab::new(Engine::Vwal);
    let one = lab.open("a.db");
    let two = lab.open("a.db");
    assert_eq!(query(&two, "SELECT count(*) FROM sqlite_schema"), "0");
    query(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    assert_eq!(query(&two, "SELECT * FROM t"), "1");
    query(&two, "INSERT INTO t VALUES (2)");
    assert_eq!(query(&one, "SELECT * FROM t"), "1\n2");
    assert_eq!(query(&one, "SELECT vwal_log_id()"), query(&two, "SELECT vwal_log_id()"));
    assert_intact(&two, "main");
}

#[test]
fn many_threads_open_and_write_at_once() {
    let lab = Lab::new(Engine::Vwal);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let lab = &lab;
            scope.spawn(move || {
                let db = lab.open("a.db");
                db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
                query(&db, "CREATE TABLE IF NOT EXISTS t(x)");
                for _ in 0..20 {
                    query(&db, &format!("INSERT INTO t VALUES ({thread})"));
                }
            });
        }
    });
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT count(*), sum(x) FROM t"), "160|560");
    assert_intact(&db, "main");
}

/// The connection that made the database reads on in rollback mode, while another one has begun the log.
#[test]
fn the_connection_that_made_the_database_does_not_write_beside_a_log() {
    let lab = Lab::new(Engine::Vwal);
    let first = lab.open("a.db");
    let mut statement =
        first.prepare("SELECT column1 FROM (VALUES (1), (2)) LEFT JOIN sqlite_master").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some(), "it reads, and goes on reading");
    assert_eq!(run(&first, "CREATE TABLE t(x)"), "");
    let second = lab.open("a.db");
    assert_eq!(run(&second, "INSERT INTO t VALUES (1)"), "");
    drop(second);
    assert!(run(&first, "INSERT INTO t VALUES (2)").contains("locked"), "its snapshot is of another time");
    drop(rows);
    drop(statement);
    assert_eq!(query(&first, "INSERT INTO t VALUES (3); SELECT * FROM t"), "1\n3");
    drop(first);
    let after = lab.open("a.db");
    assert_eq!(query(&after, "SELECT * FROM t"), "1\n3");
    assert_intact(&after, "main");
}

const CREATING: [&str; 5] = [
    "CREATE TABLE t(x)",
    "BEGIN; CREATE TABLE t(x); INSERT INTO t VALUES (0); DELETE FROM t; COMMIT",
    "PRAGMA synchronous=OFF; CREATE TABLE t(x)",
    "PRAGMA journal_mode=WAL; CREATE TABLE t(x)",
    "PRAGMA cache_size=5; BEGIN; CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(200000)); DELETE FROM t; COMMIT",
];

/// The process that has had the database open for longest.
fn first_of(process: &mut Process) -> String {
    process.sql("x", "SELECT pid FROM vwal_processes ORDER BY since LIMIT 1")
}

/// Nothing reads between the creating transaction and what another connection does.
#[test]
fn the_creating_transaction_holds_the_database_open() {
    for creating in CREATING {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.open("a.db");
        run(&db, creating);
        assert!(lab.wal("a.db").join("meta").is_file(), "{creating}: there is a log");
        let mut other = Process::start();
        assert_eq!(other.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "", "{creating}");
        assert_eq!(first_of(&mut other), std::process::id().to_string(), "{creating}");
        let stock = run(&lab.open_stock("a.db").unwrap(), "INSERT INTO t VALUES ('from outside')");
        assert!(stock.contains("unable to open database file"), "{creating}: {stock}");
        query(&db, "INSERT INTO t VALUES (1)");
        assert_eq!(query(&db, "SELECT x FROM t"), "1", "{creating}");
        drop(db);
        assert_eq!(other.sql("x", "SELECT x FROM t; PRAGMA integrity_check"), "1\nok");
        assert_eq!(first_of(&mut other), other.id().to_string(), "{creating}");
    }
}

#[test]
fn the_close_of_another_connection_is_not_the_last_one() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    run(&db, "CREATE TABLE t(x)");
    let other = lab.open("a.db");
    query(&other, "INSERT INTO t VALUES (1)");
    drop(other);
    let mut process = Process::start();
    assert_eq!(process.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "");
    assert_eq!(first_of(&mut process), std::process::id().to_string());
    assert_eq!(query(&db, "SELECT x FROM t"), "1");
    drop(db);
    assert_eq!(first_of(&mut process), process.id().to_string());
}

#[test]
fn a_close_right_after_the_creating_transaction_ends_the_log() {
    for creating in CREATING {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.open("a.db");
        run(&db, creating);
        drop(db);
        let mut other = Process::start();
        assert_eq!(other.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "", "{creating}");
        assert_eq!(other.sql("x", "INSERT INTO t VALUES (1); SELECT x FROM t"), "1", "{creating}");
    }
}

#[test]
fn another_connection_leaves_wal_mode_before_the_creating_one_reads_again() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    run(&db, "CREATE TABLE t(x)");
    let other = lab.open("a.db");
    assert_eq!(query(&other, "PRAGMA journal_mode=DELETE"), "delete");
    drop(other);
    query(&db, "INSERT INTO t VALUES (1)");
    assert_eq!(query(&db, "PRAGMA journal_mode; SELECT count(*) FROM vwal_status"), "delete\n0");
    assert!(!lab.wal("a.db").exists());
    assert_eq!(query(&lab.open_stock("a.db").unwrap(), "SELECT x FROM t"), "1");
}

#[test]
fn a_log_that_cannot_be_begun_takes_nothing_back() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    query(&db, "BEGIN; CREATE TABLE t(x)");
    std::os::unix::fs::symlink("nowhere", lab.wal("a.db")).unwrap();
    assert_eq!(run(&db, "COMMIT"), "", "the commit stands");
    let answer = run(&db, "INSERT INTO t VALUES (1)");
    assert!(answer.starts_with('!'), "{answer}");
    std::fs::remove_file(lab.wal("a.db")).unwrap();
    query(&db, "INSERT INTO t VALUES (2)");
    assert_eq!(query(&db, "SELECT x FROM t; SELECT count(*) FROM vwal_status"), "2\n1");
}

/// SQLite makes a new database with a rollback journal. What a kill leaves of that transaction is rolled back, and no log stands on it.
#[test]
fn a_kill_in_the_first_transaction_leaves_nothing_of_it() {
    for synchronous in ["OFF", "NORMAL", "FULL"] {
        let lab = Lab::new(Engine::Vwal);
        let mut killed = Process::start();
        assert_eq!(killed.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "");
        let spilling = format!(
            "PRAGMA synchronous={synchronous}; PRAGMA cache_size=5; BEGIN; CREATE TABLE torn(x);
             INSERT INTO torn VALUES (zeroblob(500000))"
        );
        assert_eq!(killed.sql("x", &spilling), "");
        assert!(lab.path("a.db").metadata().unwrap().len() > 100_000, "it has spilled");
        assert!(!lab.wal("a.db").exists(), "the log begins with the first commit");
        killed.kill();
        let db = lab.open("a.db");
        assert_eq!(query(&db, "SELECT count(*) FROM sqlite_schema"), "0");
        query(&db, "CREATE TABLE t AS SELECT 1 AS x; INSERT INTO t VALUES (2)");
        assert!(lab.wal("a.db").is_dir());
        drop(db);
        let db = lab.open("a.db");
        assert_eq!(query(&db, "SELECT x FROM t; SELECT name FROM sqlite_schema"), "1\n2\nt");
        assert_intact(&db, "main");
    }
}
