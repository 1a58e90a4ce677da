//! Adoption of an existing database, and of the `-wal` file that stock SQLite left beside it.

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::text::{assert_intact, dump, query, run};

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO t SELECT i, zeroblob(300) || i FROM n";

#[test]
fn the_log_of_a_crashed_stock_process_is_taken_over() {
    for size in [512, 4096, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let stock = lab.open_stock("a.db").unwrap();
        query(
            &stock,
            &format!("PRAGMA page_size={size}; PRAGMA journal_mode=WAL; {FILL}; PRAGMA wal_checkpoint"),
        );
        query(&stock, "UPDATE t SET body = 'only in the log' WHERE id % 3 = 0");
        let expected = dump(&stock, "main");
        // An uncommitted transaction at the end of it.
        query(&stock, "PRAGMA cache_size=5; BEGIN; UPDATE t SET body = 'never committed' || zeroblob(200)");
        lab.copy("a.db", "b.db");
        std::fs::copy(lab.path("a.db-shm"), lab.path("b.db-shm")).unwrap();
        assert!(lab.wal("b.db").is_file());
        let db = lab.open("b.db");
        assert!(lab.wal("b.db").is_dir(), "the file made way for the directory");
        assert!(!lab.path("b.db-shm").exists(), "nobody uses it any more");
        assert_eq!(query(&db, "PRAGMA journal_mode; PRAGMA page_size"), format!("wal\n{size}"));
        assert_intact(&db, "main");
        assert_eq!(dump(&db, "main"), expected);
        query(&db, "INSERT INTO t VALUES (1000, 'new')");
        drop(db);
        assert_eq!(query(&lab.open("b.db"), "SELECT count(*) FROM t"), "301");
    }
}

#[test]
fn an_empty_or_torn_stock_log_is_no_obstacle() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, &format!("PRAGMA journal_mode=WAL; {FILL}; PRAGMA wal_checkpoint"));
    let expected = dump(&stock, "main");
    query(&stock, "UPDATE t SET body = 'torn off'");
    for (name, length) in [("empty.db", 0), ("short.db", 20), ("header.db", 32), ("torn.db", 3000)] {
        lab.copy("a.db", name);
        std::fs::OpenOptions::new().write(true).open(lab.wal(name)).unwrap().set_len(length).unwrap();
        let db = lab.open(name);
        assert_intact(&db, "main");
        assert!(lab.wal(name).is_dir(), "{name}");
        if name != "torn.db" {
            assert_eq!(dump(&db, "main"), expected, "{name}");
        }
    }
}

#[test]
fn an_empty_stock_log_beside_a_database_in_rollback_mode_is_no_obstacle() {
    // A power loss may leave one, and SQLite takes it for none.
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, FILL);
    let expected = dump(&stock, "main");
    std::fs::write(lab.wal("a.db"), "").unwrap();
    // Somebody else has the database open, and might be about to use that file.
    query(&stock, "BEGIN; SELECT count(*) FROM t");
    assert!(lab.open_with("a.db", "").is_err());
    assert!(lab.wal("a.db").is_file());
    drop(stock);
    let db = lab.open("a.db");
    assert!(lab.wal("a.db").is_dir());
    assert_eq!(dump(&db, "main"), expected);
}

#[test]
fn a_stock_log_that_another_process_has_open_is_left_alone() {
    let lab = Lab::new(Engine::Vwal);
    let path = lab.path("a.db");
    let mut other = Process::start();
    assert_eq!(other.open("x", &Engine::Stock.uri(&path, "")), "");
    assert_eq!(other.sql("x", &format!("PRAGMA journal_mode=WAL; {FILL}")), "wal");
    let files = || [path.clone(), lab.wal("a.db")].map(|file| std::fs::read(file).unwrap());
    let before = files();

    // While it reads, while it only has the database open, and while it writes.
    for busy_with in ["BEGIN; SELECT count(*) FROM t", "COMMIT", "BEGIN IMMEDIATE"] {
        other.sql("x", busy_with);
        let error = lab.open_with("a.db", "").expect_err("somebody else has the -wal open");
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy), "{error}");
        assert!(lab.wal("a.db").is_file());
        assert!(before == files(), "nothing is touched");
    }
    assert_eq!(
        other.sql("x", "INSERT INTO t VALUES (1000, 'goes on'); COMMIT; SELECT count(*) FROM t"),
        "301"
    );
    other.close("x");

    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT count(*) FROM t"), "301");
    assert!(lab.wal("a.db").is_dir());
    assert_intact(&db, "main");
}

#[test]
fn a_stock_log_that_this_process_has_open_is_left_alone() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, &format!("PRAGMA journal_mode=WAL; {FILL}"));
    let error = lab.open_with("a.db", "").expect_err("a stock connection has the -wal open");
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy), "{error}");
    assert!(lab.wal("a.db").is_file());
    assert_eq!(run(&stock, "INSERT INTO t VALUES (1000, 'goes on')"), "");
    assert_intact(&stock, "main");
    drop(stock);
    assert_eq!(query(&lab.open("a.db"), "SELECT count(*) FROM t"), "301");
}
