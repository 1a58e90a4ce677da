//! A session that writes nothing asks storage for nothing.

use std::fs;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::lab::{Lab, database, wait_for};

/// A closed database that storage has.
fn stored() -> Lab {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    drop(db);
    lab
}

fn count(db: &Connection) -> i64 {
    db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_session_that_only_reads_needs_no_storage_and_does_not_wait_for_it() {
    let lab = stored();
    fs::rename(lab.path("store"), lab.path("elsewhere")).unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        let db = lab.open("app.db", "&vwal_close_timeout_ms=60000").unwrap();
        assert_eq!(count(&db), 1);
        // Whoever asked would be told that the directory is not there.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(database(&db).status().last_error, None);
        drop(db);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "a close waited for storage");
    assert!(!lab.path("store").exists());
}

#[test]
fn the_first_commit_of_a_session_asks_storage() {
    let lab = stored();
    fs::rename(lab.path("store"), lab.path("elsewhere")).unwrap();
    let db = lab.open("app.db", "&vwal_close_timeout_ms=1").unwrap();
    db.execute("INSERT INTO t VALUES (2)", []).unwrap();
    wait_for("the reason", || {
        database(&db).status().last_error.is_some_and(|said| said.contains("the directory is not there"))
    });
    fs::rename(lab.path("elsewhere"), lab.path("store")).unwrap();
    database(&db).sync().unwrap();
    assert_eq!(database(&db).status().last_error, None);
}

#[test]
fn another_place_is_asked_at_once() {
    let lab = stored();
    let url = format!(
        "file:{}?vfs=vwal&vwal_storage=file://{}",
        lab.path("app.db").display(),
        lab.path("new").display()
    );
    let db = Connection::open(url).unwrap();
    wait_for("a base snapshot", || database(&db).durable_frame_no() == database(&db).frame_no());
    assert!(lab.path("new").exists(), "what is stored elsewhere is not stored here");
}

#[test]
fn a_snapshot_is_made_although_nothing_was_written() {
    let lab = stored();
    let db = lab.open("app.db", "").unwrap();
    assert_eq!(database(&db).snapshot().unwrap(), database(&db).frame_no());
    assert_eq!(count(&db), 1);
}

#[test]
fn a_session_that_is_to_take_over_does_so_although_it_only_reads() {
    let lab = stored();
    fs::rename(lab.path("store"), lab.path("elsewhere")).unwrap();
    fs::create_dir(lab.path("store")).unwrap();
    let db = lab.open("app.db", "").unwrap();
    let log_id = database(&db).log_id();
    drop(db);
    let db = lab.open("app.db", &format!("&vwal_take_over={log_id}")).unwrap();
    assert_eq!(count(&db), 1);
    wait_for("a base snapshot", || lab.objects().iter().any(|name| name.ends_with(".bundle")));
}
