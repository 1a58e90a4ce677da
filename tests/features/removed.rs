//! A database and its log directory are removed together while a connection has no segment open: as with stock SQLite, the connection
//! goes on with what it has open.

use std::fs;

use rusqlite::Connection;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

type Prepare = fn(&Lab, Connection) -> Connection;

/// What leaves the log without a current segment.
const STATES: [(&str, Prepare); 4] = [
    ("after wal_checkpoint(TRUNCATE)", |_, db| {
        assert_eq!(query(&db, "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
        db
    }),
    ("after vwal_checkpoint()", |_, db| {
        query(&db, "SELECT vwal_checkpoint()");
        db
    }),
    ("before the first read", |lab, db| {
        drop(db);
        lab.open("dir/a.db")
    }),
    ("with spare segments", |lab, db| {
        // Each is more than a segment of 4 MiB holds.
        (0..4).for_each(|_| drop(query(&db, "INSERT INTO t VALUES (0, zeroblob(5000000))")));
        query(&db, "DELETE FROM t WHERE x = 0; PRAGMA wal_checkpoint(TRUNCATE)");
        let names = fs::read_dir(lab.wal("dir/a.db")).unwrap().map(|entry| entry.unwrap().file_name());
        let spares = names.filter(|name| name.to_str().unwrap().ends_with(".free")).count();
        assert!(spares > 1, "{spares} spares");
        db
    }),
];

/// A database with row 1, in the state `prepare`.
fn prepared(prepare: Prepare) -> (Lab, Connection) {
    let lab = Lab::new(Engine::Vwal);
    fs::create_dir(lab.path("dir")).unwrap();
    let db = lab.create("dir/a.db", "");
    query(&db, "PRAGMA synchronous=FULL; CREATE TABLE t(x, b); INSERT INTO t VALUES (1, NULL)");
    let db = prepare(&lab, db);
    query(&db, "PRAGMA synchronous=FULL");
    (lab, db)
}

fn remove_both(lab: &Lab) {
    fs::remove_file(lab.path("dir/a.db")).unwrap();
    fs::remove_dir_all(lab.wal("dir/a.db")).unwrap();
}

fn remove_parent(lab: &Lab) {
    fs::remove_dir_all(lab.path("dir")).unwrap();
}

#[test]
fn a_connection_goes_on_with_what_it_has_open() {
    for (state, prepare) in STATES {
        for remove in [remove_both, remove_parent] {
            let (lab, db) = prepared(prepare);
            remove(&lab);
            assert_eq!(query(&db, "SELECT count(*), max(x) FROM t"), "1|1", "{state}");
            for x in 2..6 {
                query(&db, &format!("INSERT INTO t VALUES ({x}, zeroblob(5000000)); SELECT vwal_sync()"));
                assert_eq!(query(&db, "SELECT count(*), max(x) FROM t"), format!("{x}|{x}"), "{state}");
            }
            // The log is as bounded as in a directory.
            query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
            assert_eq!(query(&db, "SELECT count(*) FROM vwal_segments"), "0", "{state}");
            query(&db, "INSERT INTO t VALUES (6, NULL)");
            assert_intact(&db, "main");
            assert_eq!(query(&db, "SELECT count(*), max(x) FROM t"), "6|6", "{state}");
            drop(db);
            let left = fs::read_dir(lab.path("dir")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{state}: it ends with its last connection");
        }
    }
}

#[test]
fn another_database_of_that_name_is_not_disturbed() {
    for (state, prepare) in STATES {
        let (lab, old) = prepared(prepare);
        remove_both(&lab);
        let new = lab.create("dir/a.db", "PRAGMA synchronous=FULL; CREATE TABLE t(x, b)");
        for x in 2..6 {
            query(&old, &format!("INSERT INTO t VALUES ({x}, zeroblob(5000000))"));
            query(&new, &format!("INSERT INTO t VALUES (100 + {x}, NULL)"));
        }
        assert_eq!(query(&old, "SELECT count(*), max(x) FROM t"), "5|5", "{state}");
        drop(old);
        drop(new);
        let new = lab.open("dir/a.db");
        assert_eq!(query(&new, "SELECT count(*), max(x) FROM t"), "4|105", "{state}");
        assert_intact(&new, "main");
    }
}

/// The database stays: the next open would not find the commits.
#[test]
fn commits_are_refused_when_the_log_directory_alone_is_removed() {
    for (state, prepare) in STATES {
        let (lab, db) = prepared(prepare);
        fs::remove_dir_all(lab.wal("dir/a.db")).unwrap();
        assert_eq!(query(&db, "SELECT count(*) FROM t"), "1", "{state}");
        for x in 2..5 {
            let refused = db.execute("INSERT INTO t VALUES (?1, NULL)", [x]);
            assert!(refused.is_err(), "{state}: it would not be found again");
            let why = query(&db, "PRAGMA vwal_last_error");
            assert!(why.contains("removed, renamed or replaced"), "{state}: {why}");
        }
        drop(db);
        let db = lab.open("dir/a.db");
        assert_eq!(query(&db, "SELECT count(*) FROM t"), "1", "{state}");
        query(&db, "INSERT INTO t VALUES (2, NULL)");
        assert_intact(&db, "main");
    }
}

/// A commit in between is refused; with the database's own name nobody is left who would look for the commits.
#[test]
fn a_log_directory_that_is_removed_a_moment_before_its_database() {
    for (state, prepare) in STATES {
        let (lab, db) = prepared(prepare);
        fs::remove_dir_all(lab.wal("dir/a.db")).unwrap();
        assert!(
            db.execute("INSERT INTO t VALUES (0, NULL)", []).is_err(),
            "{state}: it would not be found again"
        );
        fs::remove_file(lab.path("dir/a.db")).unwrap();
        query(&db, "INSERT INTO t VALUES (2, NULL); SELECT vwal_sync()");
        assert_eq!(query(&db, "SELECT count(*), max(x) FROM t"), "2|2", "{state}");
        assert_intact(&db, "main");
    }
}

/// An fsync of what recovery has read proves nothing, so that it is copied elsewhere; here there is nowhere to put a copy.
#[test]
fn a_log_that_was_recovered_goes_on_without_names() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "PRAGMA synchronous=FULL; CREATE TABLE t(x)");
    query(&db, "INSERT INTO t VALUES (1)");
    // As a killed process leaves it.
    lab.copy("a.db", "killed.db");
    drop(db);
    let db = lab.open("killed.db");
    query(&db, "PRAGMA synchronous=FULL; SELECT count(*) FROM t");
    fs::remove_file(lab.path("killed.db")).unwrap();
    fs::remove_dir_all(lab.wal("killed.db")).unwrap();
    for x in 2..5 {
        query(&db, &format!("INSERT INTO t VALUES ({x}); SELECT vwal_sync()"));
    }
    assert_eq!(query(&db, "SELECT count(*), max(x) FROM t"), "4|4");
    assert_intact(&db, "main");
}
