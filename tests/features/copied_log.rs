//! A copy of the log directory, older than the database file, has its place.

use std::fs;

use rusqlite::Connection;
use vwal::inspect::{Depth, inspect};

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

fn made(lab: &Lab) -> Connection {
    let db = lab.create("a.db", "PRAGMA synchronous=FULL; CREATE TABLE t(x)");
    query(&db, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    db
}

/// Keep the log directory, as it is now, as the one of "copy".
fn copy_log(lab: &Lab) {
    lab.copy("a.db", "copy");
}

/// Put the copy in the place of the log directory.
fn swap(lab: &Lab) {
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    fs::rename(lab.wal("copy"), lab.wal("a.db")).unwrap();
}

fn rows(db: &Connection) -> String {
    query(db, "SELECT group_concat(x) FROM t")
}

/// The database has these rows, now and after one more commit.
fn assert_goes_on(lab: &Lab, expected: &str) {
    let db = lab.open("a.db");
    assert_eq!(rows(&db), expected);
    query(&db, "INSERT INTO t VALUES (9)");
    drop(db);
    let db = lab.open("a.db");
    assert_eq!(rows(&db), format!("{expected},9"));
    assert_intact(&db, "main");
}

#[test]
fn a_copy_that_has_the_commit_of_the_footer_goes_on() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    copy_log(&lab);
    query(&db, "SELECT vwal_checkpoint()");
    swap(&lab);
    assert!(db.execute("INSERT INTO t VALUES (3)", []).is_err(), "it would not be found again");
    drop(db);
    // Looked at from outside it is judged as the next open judges it.
    let looked = inspect(&lab.path("a.db"), Depth::Frames).unwrap();
    assert_eq!(looked.findings, []);
    assert!(
        looked.notes.iter().any(|note| note.contains("an older copy of the log directory")),
        "{:?}",
        looked.notes
    );
    assert_goes_on(&lab, "1,2");
}

#[test]
fn commits_after_that_of_the_footer_are_kept() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    copy_log(&lab);
    query(&db, "INSERT INTO t VALUES (3)");
    lab.copy("a.db", "later");
    drop(db);
    // The file of before the third commit, with every commit before that, beside the log with all three.
    let copy = lab.open("copy");
    query(&copy, "SELECT vwal_checkpoint()");
    drop(copy);
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    fs::rename(lab.path("copy"), lab.path("a.db")).unwrap();
    fs::rename(lab.wal("later"), lab.wal("a.db")).unwrap();
    assert_goes_on(&lab, "1,2,3");
}

#[test]
fn a_copy_that_lacks_commits_of_the_file_is_refused_and_can_be_moved_away() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    copy_log(&lab);
    query(&db, "INSERT INTO t VALUES (3); SELECT vwal_checkpoint()");
    swap(&lab);
    drop(db);
    let looked = inspect(&lab.path("a.db"), Depth::Frames).unwrap();
    let found: Vec<&str> = looked.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert!(found.len() == 1 && found[0].contains("later than the log directory"), "{found:?}");
    let refused = lab.open_with("a.db", "").expect_err("the file is newer").to_string();
    assert!(refused.contains("later than the log directory"), "{refused}");
    assert!(refused.contains("move that directory away"), "{refused}");
    fs::rename(lab.wal("a.db"), lab.path("away")).unwrap();
    assert_goes_on(&lab, "1,2,3");
}

/// What `last_error` advises while another directory has the name.
#[test]
fn everything_is_kept_when_the_copy_is_moved_away_before_the_last_close() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    copy_log(&lab);
    query(&db, "INSERT INTO t VALUES (3)");
    swap(&lab);
    assert!(db.execute("INSERT INTO t VALUES (4)", []).is_err(), "it would not be found again");
    let advice = query(&db, "PRAGMA vwal_last_error");
    assert!(advice.contains("move that one away"), "{advice}");
    fs::rename(lab.wal("a.db"), lab.path("away")).unwrap();
    let advice = query(&db, "PRAGMA vwal_last_error");
    assert!(advice.contains("close all connections"), "{advice}");
    assert!(!advice.contains("move that one away"), "{advice}");
    drop(db);
    let db = lab.open("a.db");
    assert!(rows(&db).starts_with("1,2,3"), "{}", rows(&db));
    assert_intact(&db, "main");
}

/// The same log id, the same number of frames, and other commits in them.
#[test]
fn the_file_of_a_copy_that_went_another_way_is_refused() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    lab.copy("a.db", "other.db");
    query(&db, "INSERT INTO t VALUES (3)");
    copy_log(&lab);
    drop(db);
    let other = lab.open("other.db");
    query(&other, "INSERT INTO t VALUES (-3); SELECT vwal_checkpoint()");
    fs::copy(lab.path("other.db"), lab.path("a.db")).unwrap();
    swap(&lab);
    let before = fs::read(lab.path("a.db")).unwrap();
    let refused = lab.open_with("a.db", "").expect_err("it is another commit").to_string();
    assert!(refused.contains("changed or replaced it"), "{refused}");
    assert_eq!(fs::read(lab.path("a.db")).unwrap(), before);
}
