//! Read-only opens, `mode=ro` and `immutable=1`; and `nolock=1`.

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{query, run};

#[test]
fn beside_a_writer() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        let reader = lab.open_with("a.db", "mode=ro").unwrap();
        record.ok(&reader, "PRAGMA journal_mode; SELECT * FROM t");
        record.sql(&reader, "INSERT INTO t VALUES (2)");
        record.sql(&reader, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2)");
        record.sql(&reader, "ROLLBACK");
        record.sql(&reader, "PRAGMA user_version=5");
        record.ok(&db, "INSERT INTO t VALUES (3)");
        record.ok(&reader, "BEGIN; SELECT * FROM t");
        record.ok(&db, "INSERT INTO t VALUES (4); PRAGMA wal_checkpoint");
        record.ok(&reader, "SELECT * FROM t; COMMIT");
        record.content(&reader, "main");
        drop(db);
        record.content(&reader, "main");
    });
}

#[test]
fn of_a_database_that_nobody_else_has_open() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        let reader = lab.open_with("a.db", "mode=ro").unwrap();
        record.content(&reader, "main");
        record.sql(&reader, "DELETE FROM t");
        drop(reader);
        let db = lab.open("a.db");
        record.ok(&db, "INSERT INTO t VALUES (2)");
        record.content(&db, "main");
    });
}

#[test]
fn then_a_writer_opens() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        let reader = lab.open_with("a.db", "mode=ro").unwrap();
        record.ok(&reader, "SELECT * FROM t");
        let db = lab.open("a.db");
        record.ok(&db, "INSERT INTO t VALUES (2)");
        record.ok(&reader, "SELECT * FROM t");
        drop(reader);
        record.ok(&db, "INSERT INTO t VALUES (3)");
        record.content(&db, "main");
    });
}

#[test]
fn of_a_rollback_mode_database_changes_nothing() {
    let lab = Lab::new(Engine::Vwal);
    lab.open_stock("a.db").unwrap().execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
    let before = std::fs::read(lab.path("a.db")).unwrap();
    let reader = lab.open_with("a.db", "mode=ro").unwrap();
    assert_eq!(query(&reader, "SELECT * FROM t; PRAGMA journal_mode"), "1\ndelete");
    drop(reader);
    assert_eq!(std::fs::read(lab.path("a.db")).unwrap(), before);
    assert!(!lab.wal("a.db").exists());
}

/// `vwal_read_only=on`: not even recovery changes a file.
#[test]
fn after_a_crash_with_every_file_left_as_it_is() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    lab.copy("a.db", "crashed.db");
    // A segment that recovery would remove.
    std::fs::write(lab.wal("crashed.db").join("00000000000000000900.seg"), [0; 9000]).unwrap();
    let files = || {
        let names = std::fs::read_dir(lab.wal("crashed.db")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            names.chain([lab.path("crashed.db")]).map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = files();
    let reader = lab.open_with("crashed.db", "mode=ro&vwal_read_only=on").unwrap();
    assert_eq!(query(&reader, "SELECT * FROM t; PRAGMA integrity_check"), "1\n2\nok");
    assert!(run(&reader, "DELETE FROM t").starts_with("!8: "), "a read-only database is read-only");
    // Nor can another connection write meanwhile.
    let writer = lab.open("crashed.db");
    assert!(run(&writer, "INSERT INTO t VALUES (3)").starts_with("!8: "), "the log is open read-only");
    assert_eq!(query(&writer, "SELECT * FROM t"), "1\n2");
    drop(writer);
    drop(reader);
    assert!(files() == before, "a file was changed");
    let db = lab.open("crashed.db");
    assert_eq!(query(&db, "INSERT INTO t VALUES (3); SELECT * FROM t"), "1\n2\n3");
}

#[test]
fn after_a_crash_shows_what_was_committed() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    lab.copy("a.db", "crashed.db");
    let reader = lab.open_with("crashed.db", "mode=ro").unwrap();
    assert_eq!(query(&reader, "SELECT * FROM t"), "1\n2");
    assert!(run(&reader, "DELETE FROM t").starts_with("!8: "), "a read-only database is read-only");
    drop(reader);
    assert_eq!(query(&lab.open("crashed.db"), "SELECT * FROM t"), "1\n2");
}

#[test]
fn immutable_reads_a_closed_database() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        // Stock SQLite has removed its -wal by now; vwal has drained its log.
        let reader = lab.open_with("a.db", "immutable=1").unwrap();
        record.content(&reader, "main");
        record.sql(&reader, "INSERT INTO t VALUES (2)");
        drop(reader);
        record.content(&lab.open("a.db"), "main");
    });
}

#[test]
fn immutable_reads_a_rollback_mode_database() {
    same_as_stock(|lab, record| {
        lab.open_stock("a.db").unwrap().execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
        let reader = lab.open_with("a.db", "immutable=1").unwrap();
        record.content(&reader, "main");
        record.note("a -wal", lab.wal("a.db").exists());
    });
}

#[test]
fn of_a_missing_database_fails() {
    same_as_stock(|lab, record| {
        let error = lab.open_with("missing.db", "mode=ro").unwrap_err();
        record.note("open", format!("{:?}", error.sqlite_error()));
        record.note("made", lab.path("missing.db").exists() || lab.wal("missing.db").exists());
        let error = lab.open_with("missing.db", "mode=rw").unwrap_err();
        record.note("open", format!("{:?}", error.sqlite_error()));
        record.note("made", lab.path("missing.db").exists() || lab.wal("missing.db").exists());
    });
}

/// Without locks SQLite has no WAL: it is an ordinary database in rollback mode.
#[test]
fn nolock_leaves_a_database_in_rollback_mode() {
    same_as_stock(|lab, record| {
        for name in ["new.db", "old.db"] {
            if name == "old.db" {
                lab.open_stock(name).unwrap().execute_batch("CREATE TABLE u(x)").unwrap();
            }
            let db = lab.open_with(name, "nolock=1").unwrap();
            record.sql(
                &db,
                "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1); PRAGMA journal_mode",
            );
            drop(db);
            let db = lab.open_with(name, "nolock=1").unwrap();
            record.content(&db, "main");
            record.note(name, lab.wal(name).exists());
        }
    });
}
