//! A copy of the log directory, older than the database file, has its place.

use std::fs;
use std::path::PathBuf;

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

/// Every file of "a.db" and its log directory that vwal has made, with what is in it.
fn files(lab: &Lab) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(lab.wal("a.db")).unwrap().map(|entry| entry.unwrap().path());
    // Who opens the log puts its name into the lock.
    let mut paths: Vec<PathBuf> = entries.filter(|path| !path.ends_with("lock")).collect();
    paths.push(lab.path("a.db"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Every way to look at the database says that the file is later than its log directory, and nothing is touched.
fn refused(lab: &Lab) {
    const SAID: [&str; 3] = [
        "of this very log, which is later than frame",
        "an older copy of the log directory has its place",
        "closed in order",
    ];
    let before = files(lab);
    let error = lab.open_with("a.db", "").expect_err("the file is later").to_string();
    let looked = inspect(&lab.path("a.db"), Depth::Frames).unwrap();
    let found: Vec<&str> = looked.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    for said in SAID {
        assert!(error.contains(said), "{error}");
        assert!(found[0].contains(said), "{found:?}");
    }
    assert!(files(lab) == before, "something was changed");
}

/// Whether the file is whole cannot be told from a footer: a pass leaves that of the state before it until its end.
#[test]
fn a_copy_that_has_the_commit_of_the_footer_is_refused_and_can_be_moved_away() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    copy_log(&lab);
    query(&db, "SELECT vwal_checkpoint()");
    swap(&lab);
    assert!(db.execute("INSERT INTO t VALUES (3)", []).is_err(), "it would not be found again");
    drop(db);
    refused(&lab);
    fs::rename(lab.wal("a.db"), lab.path("away")).unwrap();
    assert_goes_on(&lab, "1,2");
}

#[test]
fn a_copy_that_has_commits_after_that_of_the_footer_is_refused_and_goes_on_with_its_own_file() {
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
    refused(&lab);
    fs::rename(lab.path("later"), lab.path("a.db")).unwrap();
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
    refused(&lab);
    fs::rename(lab.wal("a.db"), lab.path("away")).unwrap();
    assert_goes_on(&lab, "1,2,3");
}

/// A commit that writes page 1 changes the change counter, which differs from the metadata's for the same reason.
#[test]
fn a_copy_of_before_a_change_of_page_1_is_told_in_the_same_words() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab);
    copy_log(&lab);
    query(&db, "CREATE TABLE u(x); SELECT vwal_checkpoint()");
    swap(&lab);
    drop(db);
    refused(&lab);
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
    assert!(refused.contains("of a copy of the database that went another way"), "{refused}");
    assert_eq!(fs::read(lab.path("a.db")).unwrap(), before);
}
