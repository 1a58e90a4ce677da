//! Storage that does not answer: commits go on, up to a limit; then they fail or wait; and it all arrives in the end.

use std::time::Duration;

use crate::lab::{FaultyLab, database, wait_for};

#[test]
fn an_outage_is_survived_and_caught_up() {
    let lab = FaultyLab::new("outage");
    let db = lab.open("").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let database = database(&db);
    let stored = database.durable_frame_no();
    lab.store.set_down(true);
    for i in 0..200 {
        db.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
    }
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(database.checkpoint().unwrap() <= stored, "what storage does not have stays in the log");
    wait_for("the error", || database.status().last_error.is_some());
    assert_eq!(database.durable_frame_no(), stored);
    assert!(database.metrics().contains("vwal_failing{"), "{}", database.metrics());
    lab.store.set_down(false);
    db.execute_batch("SELECT vwal_sync()").unwrap();
    assert_eq!(database.durable_frame_no(), database.frame_no());
    wait_for("the all-clear", || database.status().last_error.is_none());
    assert_eq!(database.checkpoint().unwrap(), database.frame_no());
}

#[test]
fn a_database_opens_and_commits_while_storage_is_away() {
    let lab = FaultyLab::new("away");
    lab.store.set_down(true);
    let db = lab.open("&vwal_close_timeout_ms=0").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);").unwrap();
    assert_eq!(database(&db).durable_frame_no(), 0);
    drop(db);
    lab.store.set_down(false);
    let db = lab.open("").unwrap();
    let database = database(&db);
    wait_for("shipping", || database.durable_frame_no() == database.frame_no() && database.frame_no() > 0);
}

#[test]
fn a_full_backlog_refuses_commits_and_then_takes_them_again() {
    let lab = FaultyLab::new("full");
    let db = lab.open("&vwal_backlog_size=256KiB").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    lab.store.set_down(true);
    let refused = (0..1000).find_map(|i| db.execute("INSERT INTO t VALUES (?1)", [i]).err());
    let error = refused.expect("there is a limit");
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull), "{error}");
    let committed: i64 = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert!(committed > 1, "reading goes on, and what was committed is there");
    lab.store.set_down(false);
    db.execute_batch("SELECT vwal_sync(); INSERT INTO t VALUES (1000);").unwrap();
    assert_eq!(database(&db).status().last_error, None);
}

#[test]
fn a_full_backlog_can_be_waited_for() {
    let lab = FaultyLab::new("wait");
    let db = lab.open("&vwal_backlog_size=256KiB&vwal_backlog_full=wait").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    lab.store.set_down(true);
    let store = lab.store.clone();
    let repair = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        store.set_down(false);
    });
    for i in 0..500 {
        db.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
    }
    repair.join().unwrap();
}

#[test]
fn a_remote_acknowledgement_that_does_not_come_is_an_error_and_the_commit_stays() {
    let lab = FaultyLab::new("unacknowledged");
    let db = lab.open("&vwal_ack=remote&vwal_storage_timeout_ms=200").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    lab.store.set_down(true);
    let error = db.execute("INSERT INTO t VALUES (2)", []).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::SystemIoFailure), "{error}");
    let rows: i64 = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2, "it is committed here");
    lab.store.set_down(false);
    // Within so short a time it may take more than one.
    wait_for("an acknowledgement", || db.execute("INSERT INTO t VALUES (3)", []).is_ok());
    assert_eq!(database(&db).durable_frame_no(), database(&db).frame_no());
}
