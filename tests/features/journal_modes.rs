//! `PRAGMA journal_mode`: the way back to an ordinary database, and to vwal again.

use std::fs;

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, dump, query, run};

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
    INSERT INTO t SELECT i, zeroblob(300) || i FROM n";

#[test]
fn every_mode_and_back() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "");
            record.ok(&db, FILL);
            record.ok(&db, &format!("PRAGMA journal_mode={mode}; PRAGMA journal_mode; PRAGMA page_count"));
            record.ok(&db, "BEGIN; UPDATE t SET body = 'one' WHERE id < 10; COMMIT");
            record.ok(&db, "PRAGMA wal_checkpoint");
            record.ok(
                &db,
                "PRAGMA journal_mode=WAL; BEGIN; UPDATE t SET body = 'two' WHERE id > 190; ROLLBACK",
            );
            record.ok(&db, "INSERT INTO t VALUES (1000, 'three'); PRAGMA wal_checkpoint(NOOP)");
            record.content(&db, "main");
            drop(db);
            record.content(&lab.open("a.db"), "main");
        });
    }
}

#[test]
fn another_connection_is_in_the_way() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        let other = lab.open("a.db");
        record.ok(&other, "SELECT count(*) FROM t");
        record.sql(&db, "PRAGMA journal_mode=DELETE");
        record.ok(&db, "PRAGMA journal_mode; INSERT INTO t VALUES (1000, 'still WAL')");
        record.ok(&other, "BEGIN; SELECT count(*) FROM t");
        record.sql(&db, "PRAGMA journal_mode=DELETE");
        record.ok(&other, "COMMIT");
        drop(other);
        record.ok(&db, "PRAGMA journal_mode=DELETE; PRAGMA journal_mode");
        record.content(&db, "main");
    });
}

#[test]
fn inside_a_transaction_it_is_refused() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        record.ok(&db, "BEGIN; INSERT INTO t VALUES (1000, 'x')");
        record.sql(&db, "PRAGMA journal_mode=DELETE");
        record.ok(&db, "COMMIT; PRAGMA journal_mode");
        record.content(&db, "main");
    });
}

#[test]
fn delete_leaves_an_ordinary_database() {
    for size in [512, 4096, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
        query(&db, FILL);
        let expected = dump(&db, "main");
        assert!(lab.wal("a.db").is_dir());
        assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "delete");
        assert!(!lab.wal("a.db").exists(), "the log directory is gone");
        assert_eq!(query(&db, "SELECT vwal_log_id()"), "NULL");
        assert_eq!(query(&db, "SELECT count(*) FROM vwal_status"), "0");
        // The file itself says so, and stock SQLite reads and writes it, even before the connection is closed.
        assert_eq!(fs::read(lab.path("a.db")).unwrap()[18..20], [1, 1]);
        let stock = lab.open_stock("a.db").unwrap();
        assert_eq!(query(&stock, "PRAGMA journal_mode"), "delete");
        assert_intact(&stock, "main");
        assert_eq!(dump(&stock, "main"), expected);
        query(&stock, "DELETE FROM t WHERE id > 100");
        assert_eq!(query(&db, "SELECT count(*) FROM t"), "100");
        query(&db, "DELETE FROM t WHERE id > 50");
        assert_eq!(query(&stock, "SELECT count(*) FROM t"), "50");
        assert_intact(&stock, "main");
    }
}

#[test]
fn back_in_wal_mode_a_new_log_begins() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, FILL);
    let first = query(&db, "SELECT vwal_log_id()");
    query(
        &db,
        "PRAGMA journal_mode=DELETE; UPDATE t SET body = 'changed' WHERE id = 1; PRAGMA journal_mode=WAL",
    );
    query(&db, "UPDATE t SET body = 'again' WHERE id = 2");
    let second = query(&db, "SELECT vwal_log_id()");
    assert_ne!(second, "NULL");
    assert_ne!(first, second);
    assert_eq!(query(&db, "SELECT body FROM t WHERE id < 3"), "changed\nagain");
    drop(db);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT vwal_log_id()"), second, "and stays");
    assert_intact(&db, "main");
}

#[test]
fn a_database_in_rollback_mode_is_converted_when_it_is_opened() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, FILL);
    let expected = dump(&stock, "main");
    drop(stock);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "PRAGMA journal_mode"), "wal");
    assert!(lab.wal("a.db").is_dir());
    assert_ne!(query(&db, "SELECT vwal_log_id()"), "NULL");
    assert_eq!(dump(&db, "main"), expected);
    assert!(run(&db, "INSERT INTO t VALUES (1000, 'x')").is_empty());
    assert_intact(&db, "main");
}

#[test]
fn a_hot_rollback_journal_is_rolled_back_when_it_is_opened() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, &format!("PRAGMA page_size=512; {FILL}"));
    let expected = dump(&stock, "main");
    query(&stock, "PRAGMA cache_size=5; BEGIN; UPDATE t SET body = 'torn' || body");
    for suffix in ["", "-journal"] {
        fs::copy(lab.path(&format!("a.db{suffix}")), lab.path(&format!("crashed.db{suffix}"))).unwrap();
    }
    let db = lab.open("crashed.db");
    assert_eq!(dump(&db, "main"), expected);
    assert_eq!(query(&db, "PRAGMA journal_mode"), "wal");
    assert_intact(&db, "main");
}

#[test]
fn a_file_that_is_not_ours_keeps_the_directory_and_the_database_stays_as_it_is() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, FILL);
    let stray = lab.wal("a.db").join("README");
    fs::write(&stray, "mine").unwrap();
    assert!(run(&db, "PRAGMA journal_mode=DELETE").contains('!'));
    assert!(!lab.path("a.db-journal").exists(), "a journal that nobody could play back");
    query(&db, "UPDATE t SET body = 'more' WHERE id = 1");
    drop(db);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT body FROM t WHERE id = 1; PRAGMA journal_mode"), "more\nwal");
    assert_eq!(fs::read_to_string(&stray).unwrap(), "mine");
    fs::remove_file(&stray).unwrap();
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "delete");
    assert!(!lab.wal("a.db").exists());
    assert_intact(&db, "main");
}

#[test]
fn a_connection_that_leaves_wal_mode_does_not_go_on_with_its_old_cache() {
    // Stock SQLite does, and loses the other connection's commit: a commit in WAL mode need not change what tells a cache
    // from the file in rollback mode.
    let lab = Lab::new(Engine::Vwal);
    drop(lab.create("a.db", "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'old')"));
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT v FROM t"), "old");
    query(&lab.open("a.db"), "UPDATE t SET v = 'new'");
    assert_eq!(
        query(&db, "PRAGMA journal_mode=DELETE; SELECT v FROM t; INSERT INTO t VALUES(2, 'x')"),
        "delete\nnew"
    );
    assert_eq!(query(&lab.open("a.db"), "SELECT id, v FROM t"), "1|new\n2|x");
}
