//! A base file that something else wrote to in between: noticed, and never continued as if nothing had happened.

use std::fs;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

fn made(lab: &Lab) -> String {
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    query(&db, "SELECT vwal_log_id()")
}

#[test]
fn stock_sqlite_wrote_after_the_directory_was_removed() {
    let lab = Lab::new(Engine::Vwal);
    let log_id = made(&lab);
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    query(&lab.open_stock("a.db").unwrap(), "INSERT INTO t VALUES (2)");
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    query(&db, "INSERT INTO t VALUES (3)");
    assert_ne!(query(&db, "SELECT vwal_log_id()"), log_id);
    assert_intact(&db, "main");
}

#[test]
fn the_directory_was_removed_but_nobody_wrote() {
    let lab = Lab::new(Engine::Vwal);
    made(&lab);
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t; PRAGMA journal_mode"), "1\nwal");
    query(&db, "INSERT INTO t VALUES (2)");
    assert_intact(&db, "main");
    drop(db);
    assert_eq!(query(&lab.open("a.db"), "SELECT * FROM t"), "1\n2");
}

#[test]
fn a_copy_that_stock_sqlite_wrote_to_was_put_back() {
    let lab = Lab::new(Engine::Vwal);
    let log_id = made(&lab);
    fs::copy(lab.path("a.db"), lab.path("elsewhere.db")).unwrap();
    query(&lab.open_stock("elsewhere.db").unwrap(), "INSERT INTO t VALUES (2)");
    fs::copy(lab.path("elsewhere.db"), lab.path("a.db")).unwrap();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    query(&db, "INSERT INTO t VALUES (3)");
    assert_ne!(query(&db, "SELECT vwal_log_id()"), log_id, "the old lineage is not continued");
    assert_intact(&db, "main");
    drop(db);
    assert_eq!(query(&lab.open("a.db"), "SELECT * FROM t"), "1\n2\n3");
}

#[test]
fn an_older_copy_was_put_back() {
    let lab = Lab::new(Engine::Vwal);
    let log_id = made(&lab);
    fs::copy(lab.path("a.db"), lab.path("backup.db")).unwrap();
    let db = lab.open("a.db");
    query(&db, "INSERT INTO t VALUES (2); CREATE TABLE u(y)");
    drop(db);
    fs::copy(lab.path("backup.db"), lab.path("a.db")).unwrap();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t; SELECT count(*) FROM sqlite_schema"), "1\n1");
    query(&db, "INSERT INTO t VALUES (3)");
    assert_ne!(query(&db, "SELECT vwal_log_id()"), log_id, "frame numbers must not be used for other bytes");
    assert_intact(&db, "main");
    drop(db);
    assert_eq!(query(&lab.open("a.db"), "SELECT * FROM t"), "1\n3");
}

#[test]
fn another_database_was_put_in_its_place() {
    let lab = Lab::new(Engine::Vwal);
    let log_id = made(&lab);
    query(
        &lab.open_stock("other.db").unwrap(),
        "PRAGMA page_size=512; CREATE TABLE u(y); INSERT INTO u VALUES (7)",
    );
    fs::rename(lab.path("other.db"), lab.path("a.db")).unwrap();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM u; PRAGMA page_size"), "7\n512");
    query(&db, "INSERT INTO u VALUES (8)");
    assert_ne!(query(&db, "SELECT vwal_log_id()"), log_id);
    assert_intact(&db, "main");
    drop(db);
    assert_eq!(query(&lab.open("a.db"), "SELECT * FROM u"), "7\n8");
}

#[test]
fn another_vwal_database_was_put_in_its_place_without_its_log() {
    let lab = Lab::new(Engine::Vwal);
    let log_id = made(&lab);
    let other = lab.create("other.db", "");
    query(&other, "CREATE TABLE u(y); INSERT INTO u VALUES (7)");
    let other_id = query(&other, "SELECT vwal_log_id()");
    drop(other);
    fs::rename(lab.path("other.db"), lab.path("a.db")).unwrap();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM u"), "7");
    query(&db, "INSERT INTO u VALUES (8)");
    let now = query(&db, "SELECT vwal_log_id()");
    assert_ne!(now, log_id, "the log that lies here is that of another database");
    assert_ne!(now, other_id, "its own log still lies elsewhere, and might go on there");
    assert_intact(&db, "main");
}
