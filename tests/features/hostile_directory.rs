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

/// A closed database, and an answer to opening it again.
fn reopened(lab: &Lab) -> String {
    match lab.open_with("a.db", "") {
        Ok(db) => query(&db, "SELECT count(*) FROM t"),
        Err(error) => error.to_string(),
    }
}

/// As root: for others the system says no when they give a directory away.
#[test]
fn a_log_directory_of_somebody_else_is_refused() {
    let lab = Lab::new(Engine::Vwal);
    drop(lab.create("a.db", "CREATE TABLE t(x)"));
    let stranger = Some(54321);
    if std::os::unix::fs::lchown(lab.wal("a.db"), stranger, None).is_err() {
        return;
    }
    let refused = reopened(&lab);
    assert!(refused.contains("belongs to user 54321, the database to user"), "{refused}");
    std::os::unix::fs::lchown(lab.path("a.db"), stranger, None).unwrap();
    assert_eq!(reopened(&lab), "0");
}

#[test]
fn a_log_directory_that_others_may_write_in_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new(Engine::Vwal);
    drop(lab.create("a.db", "CREATE TABLE t(x)"));
    let set_mode = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(lab.path("a.db"), 0o644);
    set_mode(lab.wal("a.db"), 0o777);
    let refused = reopened(&lab);
    assert!(refused.contains("others may write in the log directory (mode 777)"), "{refused}");
    set_mode(lab.path("a.db"), 0o666);
    assert_eq!(reopened(&lab), "0");
}
