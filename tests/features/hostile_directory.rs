//! A log directory in which somebody else put something before the database was opened.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::lab::{Engine, Lab};
use crate::text::query;

/// A closed database, and a file of somebody else that is also `name` in its log directory.
fn linked(name: &str) -> Lab {
    let lab = Lab::new(Engine::Vwal);
    drop(lab.create("a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"));
    fs::write(lab.path("precious"), "somebody else's").unwrap();
    let link = lab.wal("a.db").join(name);
    let _ = fs::remove_file(&link);
    fs::hard_link(lab.path("precious"), link).unwrap();
    lab
}

#[test]
fn the_wal_index_is_not_written_into_another_file() {
    let lab = linked("shm");
    let db = lab.open("a.db");
    assert_eq!(query(&db, "INSERT INTO t VALUES (2); SELECT x FROM t"), "1\n2");
    assert_eq!(fs::read_to_string(lab.path("precious")).unwrap(), "somebody else's");
    assert_eq!(fs::metadata(lab.path("precious")).unwrap().nlink(), 1);
}

#[test]
fn the_owner_is_not_written_into_another_file() {
    let lab = linked("lock");
    let failed = lab.open_with("a.db", "").and_then(|db| db.execute_batch("SELECT x FROM t"));
    assert!(failed.is_err(), "a lock with two names is refused");
    assert_eq!(fs::read_to_string(lab.path("precious")).unwrap(), "somebody else's");
}

/// Read through, it would take hours.
#[test]
fn a_segment_that_is_mostly_a_hole_is_opened_at_once() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    query(&db, "PRAGMA wal_autocheckpoint=0; INSERT INTO t VALUES (2); SELECT vwal_sync()");
    lab.copy("a.db", "b.db");
    drop(db);
    let segment = fs::read_dir(lab.wal("b.db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .expect("a killed process leaves its segment");
    fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(8 << 40).unwrap();
    assert_eq!(query(&lab.open("b.db"), "SELECT x FROM t"), "1\n2");
}
