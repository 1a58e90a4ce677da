//! The log directory is removed, renamed or replaced while a connection is open: no commit is reported as durable and then
//! not found by the next open.

use std::fs;

use rusqlite::Connection;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

/// A database with two acknowledged rows, whose log directory then goes away.
fn gone(synchronous: &str, go_away: impl FnOnce(&Lab)) -> (Lab, Connection) {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    query(&db, &format!("PRAGMA synchronous={synchronous}; INSERT INTO t VALUES (2)"));
    go_away(&lab);
    (lab, db)
}

fn remove(lab: &Lab) {
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
}

fn rename(lab: &Lab) {
    fs::rename(lab.wal("a.db"), lab.path("away")).unwrap();
}

fn replace(lab: &Lab) {
    rename(lab);
    fs::create_dir(lab.wal("a.db")).unwrap();
}

/// Rows 1 and 2, and each later one whose commit succeeded, are there after reopening.
fn assert_kept(lab: &Lab, db: Connection) {
    let acknowledged: Vec<i64> =
        (3..8).filter(|x| db.execute("INSERT INTO t VALUES (?1)", [x]).is_ok()).collect();
    assert_eq!(acknowledged, [0_i64; 0], "these commits would not be found again");
    let message = query(&db, "SELECT last_error FROM vwal_status");
    assert!(message.contains("removed, renamed or replaced"), "{message}");
    drop(db);
    let db = lab.open("a.db");
    let found = query(&db, "SELECT x FROM t");
    assert!(found.starts_with("1\n2"), "acknowledged rows are lost: {found}");
    query(&db, "INSERT INTO t VALUES (100)");
    assert_intact(&db, "main");
}

#[test]
fn a_full_commit_is_not_acknowledged_in_a_removed_directory() {
    let (lab, db) = gone("FULL", remove);
    assert_kept(&lab, db);
}

#[test]
fn a_full_commit_is_not_acknowledged_in_a_renamed_directory() {
    let (lab, db) = gone("FULL", rename);
    assert_kept(&lab, db);
}

#[test]
fn a_full_commit_is_not_acknowledged_beside_another_directory() {
    let (lab, db) = gone("FULL", replace);
    assert_kept(&lab, db);
    assert!(lab.path("away").exists());
}

#[test]
fn a_requested_sync_notices_it_without_a_new_commit() {
    let (lab, db) = gone("FULL", |_| {});
    query(&db, "SELECT vwal_sync()");
    remove(&lab);
    // Either it is an error, or the base file has it all.
    let synced = db.query_row("SELECT vwal_sync()", [], |row| row.get::<_, i64>(0));
    let message = query(&db, "SELECT last_error FROM vwal_status");
    assert!(message.contains("removed, renamed or replaced"), "{synced:?}: {message}");
    assert_kept(&lab, db);
}

#[test]
fn a_database_that_is_moved_with_its_log_goes_on() {
    let (lab, db) = gone("FULL", |lab| {
        fs::create_dir(lab.path("new")).unwrap();
        fs::rename(lab.path("a.db"), lab.path("new/a.db")).unwrap();
        fs::rename(lab.wal("a.db"), lab.wal("new/a.db")).unwrap();
    });
    query(&db, "INSERT INTO t VALUES (3)");
    drop(db);
    assert_eq!(query(&lab.open("new/a.db"), "SELECT x FROM t"), "1\n2\n3");
}
