//! An open looks at the database as little as stock SQLite does: what is wrong with it, the first statement says.

use std::time::Duration;

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query, run};

const FILL: &str = "CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t(b) VALUES ('one'), ('two')";
const DAMAGE: &str =
    "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = 'CREATE TABLE t(' WHERE name = 't'";
const REPAIR: &str = "PRAGMA writable_schema=ON;
    UPDATE sqlite_master SET sql = 'CREATE TABLE t(a INTEGER PRIMARY KEY, b)' WHERE name = 't';
    PRAGMA writable_schema=RESET";

fn virtual_databases(db: &rusqlite::Connection) -> String {
    query(db, "SELECT count(*) FROM vwal_status")
}

#[test]
fn a_damaged_schema_can_be_repaired() {
    for mode in ["DELETE", "WAL"] {
        same_as_stock(|lab, record| {
            let stock = lab.open_stock("a.db").unwrap();
            query(&stock, &format!("PRAGMA journal_mode={mode}; {FILL}; {DAMAGE}"));
            drop(stock);
            let db = lab.open("a.db");
            record.sql(&db, "SELECT * FROM t");
            record.ok(&db, REPAIR);
            record.ok(&db, "SELECT * FROM t; INSERT INTO t(b) VALUES ('three')");
            record.content(&db, "main");
            drop(db);
            record.content(&lab.open("a.db"), "main");
        });
    }
}

#[test]
fn a_repaired_database_is_virtual() {
    let lab = Lab::new(Engine::Vwal);
    query(&lab.open_stock("a.db").unwrap(), &format!("{FILL}; {DAMAGE}"));
    let db = lab.open("a.db");
    assert!(run(&db, "SELECT * FROM t").contains("malformed database schema"));
    query(&db, &format!("{REPAIR}; INSERT INTO t(b) VALUES ('three')"));
    assert_eq!(virtual_databases(&db), "1");
    assert_intact(&db, "main");
}

#[test]
fn a_locked_database_opens_at_once_and_its_statements_wait_as_they_are_told() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, FILL);
    for lock in ["IMMEDIATE", "EXCLUSIVE"] {
        query(&stock, &format!("BEGIN {lock}"));
        let db = lab.open("a.db");
        // No busy timeout, and nobody waited.
        let answer = run(&db, "INSERT INTO t(b) VALUES ('not now')");
        assert!(answer.contains("database is locked"), "{lock}: {answer}");
        assert!(!lab.wal("a.db").exists(), "nothing is touched");
        query(&stock, "COMMIT");
        assert_eq!(query(&db, "SELECT count(*) FROM t"), "2");
    }
    drop(stock);
    let db = lab.open("a.db");
    assert_eq!(virtual_databases(&db), "1");
}

#[test]
fn what_was_locked_is_virtual_after_its_first_write() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, &format!("{FILL}; BEGIN IMMEDIATE"));
    let db = lab.open("a.db");
    let other = lab.open("a.db");
    query(&stock, "COMMIT");
    drop(stock);
    // What is rolled back marks nothing that could not be read.
    query(&db, "BEGIN; UPDATE t SET b = 'rolled back'; ROLLBACK; PRAGMA cache_size=1");
    assert_eq!(query(&db, "SELECT b FROM t WHERE a = 1"), "one");
    query(&db, "INSERT INTO t(b) VALUES ('three')");
    query(&other, "INSERT INTO t(b) VALUES ('four')");
    assert_eq!(query(&db, "SELECT count(*) FROM t"), "4");
    for connection in [&db, &other] {
        assert_eq!(virtual_databases(connection), "1");
        assert_intact(connection, "main");
    }
}

#[test]
fn the_busy_timeout_of_the_application_is_the_one_that_counts() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, &format!("{FILL}; BEGIN IMMEDIATE"));
    let db = lab.open("a.db");
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    std::thread::scope(|threads| {
        let writer = threads.spawn(move || run(&db, "INSERT INTO t(b) VALUES ('waited')"));
        // It waits for as long as the lock is held: it has not ended before the lock is released.
        std::thread::sleep(Duration::from_millis(50));
        assert!(!writer.is_finished());
        query(&stock, "COMMIT");
        drop(stock);
        assert_eq!(writer.join().unwrap(), "");
    });
}

#[test]
fn leaving_right_after_the_creating_transaction() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.open("a.db");
        query(&db, FILL.split(';').next().unwrap());
        assert_eq!(query(&db, &format!("PRAGMA journal_mode={mode}")), mode.to_lowercase());
        assert!(!lab.wal("a.db").exists(), "{mode}: the log directory is gone");
        query(&db, "INSERT INTO t(b) VALUES ('ordinary')");
        assert_eq!(virtual_databases(&db), "0");
        let stock = lab.open_stock("a.db").unwrap();
        assert_eq!(query(&stock, "SELECT b FROM t"), "ordinary");
    }
}

#[test]
fn a_checkpoint_right_after_the_creating_transaction_counts() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "PRAGMA journal_mode; PRAGMA wal_checkpoint"), "wal\n0|-1|-1");
    assert_eq!(query(&db, "CREATE TABLE t(a); PRAGMA wal_checkpoint"), "0|0|0");
    assert_eq!(query(&db, "INSERT INTO t VALUES (1); PRAGMA wal_checkpoint"), "0|1|1");
}

#[test]
fn a_mode_that_is_chosen_in_the_creating_transaction() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    query(&db, "PRAGMA cache_size=5; BEGIN; CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(100000))");
    query(&db, "PRAGMA journal_mode=DELETE; COMMIT; INSERT INTO t VALUES (1)");
    assert_eq!(query(&db, "PRAGMA journal_mode; SELECT count(*) FROM vwal_status"), "delete\n0");
}

#[test]
fn leaving_that_is_not_possible_yet_says_so() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open("a.db");
    let mut reading = db
        .prepare("WITH RECURSIVE n(i) AS (SELECT count(*) FROM sqlite_master UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
        .unwrap();
    let mut rows = reading.query([]).unwrap();
    rows.next().unwrap();
    query(&db, "CREATE TABLE t(a)");
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "wal");
    drop(rows);
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "delete");
    assert!(!lab.wal("a.db").exists());
}

#[test]
fn leaving_with_a_shared_cache_leaves_or_says_that_it_did_not() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open_with("a.db", "cache=shared").unwrap();
    let other = lab.open_with("a.db", "cache=shared").unwrap();
    query(&db, "CREATE TABLE t(a)");
    drop(other);
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "wal");
    assert_eq!(query(&db, "SELECT count(*) FROM t; SELECT count(*) FROM vwal_status"), "0\n1");
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "delete");
    assert!(!lab.wal("a.db").exists());
}

#[test]
fn many_open_a_database_in_rollback_mode_at_once() {
    let lab = Lab::new(Engine::Vwal);
    query(&lab.open_stock("a.db").unwrap(), FILL);
    let start = std::sync::Barrier::new(8);
    let connections: Vec<_> = std::thread::scope(|threads| {
        let open = |at| {
            let (lab, start) = (&lab, &start);
            threads.spawn(move || {
                start.wait();
                let db = lab.open("a.db");
                db.busy_timeout(Duration::from_secs(60)).unwrap();
                for number in 0..20 {
                    query(&db, &format!("INSERT INTO t(b) VALUES ('{at} {number}')"));
                }
                db
            })
        };
        let opened: Vec<_> = (0..8).map(open).collect();
        opened.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for db in &connections {
        assert_eq!(query(db, "SELECT count(*) FROM t"), "162");
        assert_eq!(virtual_databases(db), "1");
        assert_intact(db, "main");
    }
}
