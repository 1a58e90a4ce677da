//! The database file loses its name, by unlink or rename, and another one is made under it.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::text::{assert_intact, query, run};

/// A database with one table and one row, `x`.
fn made(lab: &Lab, name: &str, x: i64) -> Connection {
    let db = lab.create(name, "");
    query(&db, &format!("PRAGMA synchronous=FULL; CREATE TABLE t(x, b); INSERT INTO t(x) VALUES ({x})"));
    db
}

fn rows(db: &Connection) -> String {
    query(db, "SELECT count(*), min(x), max(x) FROM t")
}

/// Names in the directory, sorted.
fn names(lab: &Lab) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(lab.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The log directory of `name` that was moved aside.
fn aside(lab: &Lab, name: &str) -> PathBuf {
    let prefix = format!("{name}-wal.");
    let found: Vec<String> = names(lab).into_iter().filter(|name| name.starts_with(&prefix)).collect();
    assert_eq!(found.len(), 1, "one log is aside: {:?}", names(lab));
    lab.path(&found[0])
}

/// More than a segment of 4 MiB holds.
fn grow(db: &Connection, x: i64) {
    for _ in 0..3 {
        query(db, &format!("INSERT INTO t VALUES ({x}, zeroblob(2000000)); SELECT vwal_sync()"));
    }
}

#[test]
fn both_files_have_their_own_rows() {
    let lab = Lab::new(Engine::Vwal);
    let old = made(&lab, "a.db", 1);
    fs::remove_file(lab.path("a.db")).unwrap();
    let new = made(&lab, "a.db", 100);
    for x in 2..50 {
        query(&old, &format!("INSERT INTO t(x) VALUES ({x})"));
        query(&new, &format!("INSERT INTO t(x) VALUES (100 + {x})"));
    }
    for (db, expected) in [(&old, "49|1|49"), (&new, "49|100|149")] {
        assert_eq!(rows(db), expected);
        assert_intact(db, "main");
    }
    // A second connection is one to the file that has the name.
    assert_eq!(rows(&lab.open("a.db")), "49|100|149");
    drop((old, new));
    assert_eq!(rows(&lab.open("a.db")), "49|100|149");
    assert_eq!(names(&lab), ["a.db", "a.db-wal"]);
}

/// As the set-up of each test of a suite that leaves its connections to the garbage collector.
#[test]
fn again_and_again_without_closing() {
    for reversed in [false, true] {
        let lab = Lab::new(Engine::Vwal);
        let mut open = Vec::new();
        for x in 0..12 {
            if x > 0 {
                fs::remove_file(lab.path("a.db")).unwrap();
            }
            open.push((x, made(&lab, "a.db", x)));
        }
        for (x, db) in &open {
            query(db, &format!("INSERT INTO t(x) VALUES ({x})"));
            assert_eq!(rows(db), format!("2|{x}|{x}"));
        }
        if reversed {
            open.reverse();
        }
        open.into_iter().for_each(drop);
        assert_eq!(names(&lab), ["a.db", "a.db-wal"]);
        assert_eq!(rows(&lab.open("a.db")), "2|11|11");
    }
}

#[test]
fn a_log_ends_with_its_file() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab, "a.db", 1);
    fs::remove_file(lab.path("a.db")).unwrap();
    query(&db, "INSERT INTO t(x) VALUES (2)");
    assert_eq!(rows(&db), "2|1|2");
    drop(db);
    assert_eq!(names(&lab), [""; 0]);
}

#[test]
fn the_old_log_grows_in_its_own_directory() {
    let lab = Lab::new(Engine::Vwal);
    let old = made(&lab, "a.db", 1);
    fs::remove_file(lab.path("a.db")).unwrap();
    let new = made(&lab, "a.db", 100);
    let log_id = query(&old, "SELECT vwal_log_id()");
    grow(&old, 2);
    query(&old, "SELECT vwal_checkpoint(); PRAGMA wal_checkpoint(TRUNCATE)");
    grow(&old, 3);
    grow(&new, 101);
    let aside = aside(&lab, "a.db");
    assert!(aside.ends_with(format!("a.db-wal.{log_id}")));
    let segments = query(&old, "SELECT path FROM vwal_segments");
    assert!(!segments.is_empty() && segments.lines().all(|path| fs::exists(path).unwrap()), "{segments}");
    assert!(segments.lines().all(|path| path.starts_with(aside.to_str().unwrap())), "{segments}");
    assert_eq!((rows(&old), rows(&new)), ("7|1|3".into(), "4|100|101".into()));
    assert_intact(&old, "main");
    // WAL mode of the old one does not end in the directory of the new one.
    let left = run(&old, "PRAGMA journal_mode=DELETE");
    assert!(left.starts_with("!5: ") && left.contains("not where it was opened"), "{left}");
    assert_eq!(rows(&old), "7|1|3");
    query(&new, "PRAGMA journal_mode=DELETE");
    assert_eq!(query(&new, "PRAGMA journal_mode"), "delete");
    drop((old, new));
    assert_eq!(names(&lab), ["a.db"]);
}

#[test]
fn a_renamed_file_gets_everything_when_it_is_closed() {
    let lab = Lab::new(Engine::Vwal);
    let old = made(&lab, "a.db", 1);
    fs::rename(lab.path("a.db"), lab.path("b.db")).unwrap();
    query(&old, "INSERT INTO t(x) VALUES (2)");
    let new = made(&lab, "a.db", 100);
    grow(&old, 3);
    grow(&new, 101);
    assert_eq!((rows(&old), rows(&new)), ("5|1|3".into(), "4|100|101".into()));
    // The file is open under its other name, too.
    let other = lab.open("b.db");
    query(&other, "INSERT INTO t(x) VALUES (4)");
    assert_eq!(rows(&old), "6|1|4");
    drop((old, new, other));
    assert_eq!(names(&lab), ["a.db", "a.db-wal", "b.db"]);
    assert_eq!((rows(&lab.open("a.db")), rows(&lab.open("b.db"))), ("4|100|101".into(), "6|1|4".into()));
    assert_intact(&lab.open("b.db"), "main");
}

#[test]
fn a_killed_process_loses_nothing_of_either_file() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let mut process = Process::start();
    let make = "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x, b); INSERT INTO t(x) VALUES (1)";
    assert_eq!(process.open("old", &uri), "");
    process.sql("old", make);
    fs::rename(lab.path("a.db"), lab.path("b.db")).unwrap();
    assert_eq!(process.open("new", &uri), "");
    process.sql("new", make);
    for name in ["old", "new"] {
        assert_eq!(process.sql(name, "INSERT INTO t(x) VALUES (2)"), "");
        let grown =
            process.sql(name, "INSERT INTO t VALUES (3, zeroblob(9000000)); INSERT INTO t(x) VALUES (4)");
        assert_eq!(grown, "");
    }
    process.kill();
    // With the name of its database the log that stepped aside is found.
    fs::rename(aside(&lab, "a.db"), lab.wal("b.db")).unwrap();
    for name in ["a.db", "b.db"] {
        let db = lab.open(name);
        assert_eq!(rows(&db), "4|1|4", "{name}");
        assert_intact(&db, "main");
    }
}

/// A database of a killed process whose last row is only in its log.
fn killed(lab: &Lab) {
    let mut process = Process::start();
    assert_eq!(process.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "");
    process.sql("x", "PRAGMA synchronous=FULL; CREATE TABLE t(x, b); INSERT INTO t(x) VALUES (1)");
    process.kill();
}

#[test]
fn the_log_of_a_killed_process_is_moved_aside_when_its_file_is_missing_or_empty() {
    for is_missing in [true, false] {
        let lab = Lab::new(Engine::Vwal);
        killed(&lab);
        fs::copy(lab.path("a.db"), lab.path("old.db")).unwrap();
        fs::remove_file(lab.path("a.db")).unwrap();
        if !is_missing {
            fs::File::create(lab.path("a.db")).unwrap();
        }
        let new = made(&lab, "a.db", 100);
        assert_eq!(rows(&new), "1|100|100");
        drop(new);
        assert_eq!(rows(&lab.open("a.db")), "1|100|100");
        // Nothing was deleted: with its file the log is whole.
        fs::rename(aside(&lab, "a.db"), lab.wal("old.db")).unwrap();
        let old = lab.open("old.db");
        assert_eq!(rows(&old), "1|1|1");
        assert_intact(&old, "main");
    }
}

#[test]
fn each_log_that_is_moved_aside_keeps_its_own_name() {
    let lab = Lab::new(Engine::Vwal);
    killed(&lab);
    lab.copy("a.db", "copy.db");
    fs::remove_file(lab.path("a.db")).unwrap();
    drop(made(&lab, "a.db", 100));
    let first = aside(&lab, "a.db");
    // The same log once more.
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    fs::remove_file(lab.path("a.db")).unwrap();
    lab.copy("copy.db", "a.db");
    fs::remove_file(lab.path("a.db")).unwrap();
    drop(made(&lab, "a.db", 200));
    let second = PathBuf::from(format!("{}.2", first.display()));
    assert!(first.is_dir() && second.is_dir(), "{:?}", names(&lab));
}

#[test]
fn a_log_whose_commits_its_file_had_is_not_kept() {
    let lab = Lab::new(Engine::Vwal);
    drop(made(&lab, "a.db", 1));
    fs::remove_file(lab.path("a.db")).unwrap();
    drop(made(&lab, "a.db", 2));
    assert_eq!(names(&lab), ["a.db", "a.db-wal"]);
    assert_eq!(rows(&lab.open("a.db")), "1|2|2");
}

#[test]
fn another_process_is_told_that_the_old_file_is_still_open() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab, "a.db", 1);
    fs::remove_file(lab.path("a.db")).unwrap();
    let mut other = Process::start();
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let answer = other.open("x", &uri);
    let holder = format!("process {}", std::process::id());
    assert!(answer.starts_with("!5: ") && answer.contains(&holder), "{answer}");
    assert!(answer.contains("the file open that had this name before"), "{answer}");
    query(&db, "INSERT INTO t(x) VALUES (2)");
    drop(db);
    assert_eq!(other.open("x", &uri), "");
    assert_eq!(other.sql("x", "CREATE TABLE t(x); INSERT INTO t VALUES (3); SELECT x FROM t"), "3");
}

/// `rm -rf app.db*`, as in the set-up of many a test suite.
#[test]
fn removed_with_its_log_and_made_anew() {
    let lab = Lab::new(Engine::Vwal);
    let old = made(&lab, "a.db", 1);
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    fs::remove_file(lab.path("a.db")).unwrap();
    let new = made(&lab, "a.db", 100);
    let before = fs::read_dir(lab.wal("a.db")).unwrap().count();
    // No other segment can be made in a directory that is removed.
    (2..5).for_each(|x| grow(&old, x));
    query(&old, "SELECT vwal_checkpoint(); PRAGMA wal_checkpoint(TRUNCATE)");
    (5..8).for_each(|x| grow(&old, x));
    assert_eq!(
        fs::read_dir(lab.wal("a.db")).unwrap().count(),
        before,
        "nothing of it gets into the new directory"
    );
    grow(&new, 101);
    assert_eq!((rows(&old), rows(&new)), ("19|1|7".into(), "4|100|101".into()));
    assert_intact(&old, "main");
    drop((old, new));
    let new = lab.open("a.db");
    assert_eq!(rows(&new), "4|100|101");
    assert_intact(&new, "main");
    drop(new);
    assert_eq!(names(&lab), ["a.db", "a.db-wal"]);
}

/// A reader keeps the generation from ending, so the wal-index needs a second region of its file.
#[test]
fn the_wal_index_grows_in_a_removed_directory() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab, "a.db", 1);
    let reader = lab.open("a.db");
    query(&reader, "BEGIN");
    assert_eq!(rows(&reader), "1|1|1");
    fs::remove_dir_all(lab.wal("a.db")).unwrap();
    fs::remove_file(lab.path("a.db")).unwrap();
    (2..6).for_each(|x| grow(&db, x));
    assert_eq!((rows(&reader), rows(&db)), ("1|1|1".into(), "13|1|5".into()));
}

#[test]
fn moved_with_its_log_and_made_anew() {
    let lab = Lab::new(Engine::Vwal);
    let old = made(&lab, "a.db", 1);
    fs::create_dir(lab.path("new")).unwrap();
    fs::rename(lab.path("a.db"), lab.path("new/a.db")).unwrap();
    fs::rename(lab.wal("a.db"), lab.wal("new/a.db")).unwrap();
    let new = made(&lab, "a.db", 100);
    grow(&old, 2);
    grow(&new, 101);
    // What a kill would leave.
    lab.copy("new/a.db", "killed.db");
    assert_eq!(rows(&lab.open("killed.db")), "4|1|2");
    drop((old, new));
    assert_eq!((rows(&lab.open("a.db")), rows(&lab.open("new/a.db"))), ("4|100|101".into(), "4|1|2".into()));
}

#[test]
fn only_the_directory_above_is_renamed() {
    let lab = Lab::new(Engine::Vwal);
    fs::create_dir(lab.path("one")).unwrap();
    let db = made(&lab, "one/a.db", 1);
    fs::rename(lab.path("one"), lab.path("two")).unwrap();
    grow(&db, 2);
    query(&db, "SELECT vwal_checkpoint()");
    grow(&db, 3);
    lab.copy("two/a.db", "killed.db");
    assert_eq!(rows(&lab.open("killed.db")), "7|1|3");
    drop(db);
    let db = lab.open("two/a.db");
    assert_eq!(rows(&db), "7|1|3");
    assert_intact(&db, "main");
}

/// The footer, and the cut that follows it, belong to the file that the connection has open.
#[test]
fn an_idle_connection_does_not_write_to_the_file_that_took_the_name() {
    let lab = Lab::new(Engine::Vwal);
    let idle = lab.open("a.db");
    drop(made(&lab, "a.db", 1));
    let other = lab.open_stock("b.db").unwrap();
    query(&other, "PRAGMA journal_mode=DELETE; CREATE TABLE u(x); INSERT INTO u VALUES (zeroblob(100000))");
    drop(other);
    fs::rename(lab.path("b.db"), lab.path("a.db")).unwrap();
    let before = fs::read(lab.path("a.db")).unwrap();
    let error = idle.query_row("SELECT count(*) FROM t", [], |_| Ok(())).expect_err("it was replaced");
    assert!(error.to_string().contains("readonly"), "{error}");
    assert!(query(&idle, "PRAGMA vwal_last_error").contains("replaced by another file"));
    assert_eq!(fs::read(lab.path("a.db")).unwrap(), before);
}

#[test]
fn a_file_that_has_its_name_back_gets_no_second_log() {
    let lab = Lab::new(Engine::Vwal);
    let db = made(&lab, "a.db", 1);
    let log_id = query(&db, "SELECT vwal_log_id()");
    drop(db);
    // As a kill leaves it after the log had stepped aside.
    let aside = lab.path(&format!("a.db-wal.{log_id}"));
    fs::rename(lab.wal("a.db"), &aside).unwrap();
    fs::write(aside.join("00000000000000000900.seg"), "frames").unwrap();
    let before = fs::read(lab.path("a.db")).unwrap();
    let refused = lab.open_with("a.db", "").expect_err("its log is aside").to_string();
    assert!(refused.contains(aside.to_str().unwrap()) && refused.contains("has its name back"), "{refused}");
    assert_eq!(fs::read(lab.path("a.db")).unwrap(), before);
    // One without frames has nothing to keep.
    fs::remove_file(aside.join("00000000000000000900.seg")).unwrap();
    assert_eq!(rows(&lab.open("a.db")), "1|1|1");
}

/// With the log id after it, the name of the log directory is longer than any file system takes.
#[test]
fn a_file_with_a_long_name_is_made_anew() {
    for name in [format!("{}.db", "x".repeat(243)), format!("{}.db", "é".repeat(121))] {
        let lab = Lab::new(Engine::Vwal);
        let old = made(&lab, &name, 1);
        fs::remove_file(lab.path(&name)).unwrap();
        let new = made(&lab, &name, 100);
        query(&old, "INSERT INTO t(x) VALUES (2)");
        assert_eq!((rows(&old), rows(&new)), ("2|1|2".into(), "1|100|100".into()));
        drop((old, new));
        assert_eq!(names(&lab), [name.clone(), format!("{name}-wal")]);
        // Of a killed process, twice: each log keeps a name of its own.
        for _ in 0..2 {
            let db = lab.open(&name);
            query(&db, "INSERT INTO t(x) VALUES (101)");
            lab.copy(&name, "killed");
            drop(db);
            fs::remove_dir_all(lab.wal(&name)).unwrap();
            fs::rename(lab.wal("killed"), lab.wal(&name)).unwrap();
            fs::remove_file(lab.path("killed")).unwrap();
            fs::remove_file(lab.path(&name)).unwrap();
            drop(made(&lab, &name, 100));
        }
        assert_eq!(names(&lab).len(), 4, "{:?}", names(&lab));
    }
}
