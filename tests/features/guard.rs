//! The directory keeps stock SQLite out of a virtual database.

use rusqlite::ErrorCode;

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::text::{assert_intact, query, run};

/// What stock SQLite says when it reads or writes the database: CANTOPEN, and nothing is changed.
fn assert_stock_is_kept_out(lab: &Lab) {
    for sql in ["SELECT count(*) FROM t", "INSERT INTO t VALUES (99)", "PRAGMA journal_mode=DELETE", "VACUUM"]
    {
        match lab.open_stock("a.db") {
            Ok(stock) => assert!(run(&stock, sql).starts_with("!14: "), "{sql} is refused"),
            Err(error) => assert_eq!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen), "{error}"),
        }
    }
}

#[test]
fn while_it_is_open_and_after_it_is_closed() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    assert_stock_is_kept_out(&lab);
    query(&db, "INSERT INTO t VALUES (2)");
    drop(db);
    assert!(lab.wal("a.db").is_dir());
    assert_stock_is_kept_out(&lab);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    assert_intact(&db, "main");
}

#[test]
fn from_another_process() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    let mut other = Process::start();
    other.open("x", &Engine::Stock.uri(&lab.path("a.db"), ""));
    assert!(other.sql("x", "SELECT count(*) FROM t").starts_with("!14: "));
    query(&db, "INSERT INTO t VALUES (2)");
    assert!(other.sql("x", "INSERT INTO t VALUES (3)").starts_with("!14: "));
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    assert_intact(&db, "main");
}
