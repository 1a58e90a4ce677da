//! `sqlite3_wal_hook`: called after each commit with the number of frames in the log.

use std::sync::{Arc, Mutex};

use crate::compare::same_as_stock;

#[test]
fn the_hook_sees_each_commit_and_the_frames_in_the_log() {
    same_as_stock(|lab, record| {
        let mut db = lab.create("a.db", "");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let hook = move |wal: &mut rusqlite::hooks::Wal, frames| {
            sink.lock().unwrap().push(format!("{} {frames}", wal.name().to_str().unwrap()));
            Ok(())
        };
        db.wal_hook(Some(hook)).unwrap();
        record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT * FROM t");
        record.ok(&db, "BEGIN; INSERT INTO t VALUES (2); ROLLBACK; BEGIN; INSERT INTO t VALUES (zeroblob(30000)); COMMIT");
        record.note("calls", format!("{:?}", seen.lock().unwrap()));
        assert_eq!(seen.lock().unwrap().len(), 3);
        // The log starts again behind a checkpoint, and so does the count.
        record.ok(&db, "PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES (3); INSERT INTO t VALUES (4)");
        record.note("calls", format!("{:?}", seen.lock().unwrap()));
        assert_eq!(seen.lock().unwrap().len(), 5);
    });
}

#[test]
fn a_hook_may_checkpoint() {
    same_as_stock(|lab, record| {
        let mut db = lab.create("a.db", "");
        let results = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&results);
        let hook = move |wal: &mut rusqlite::hooks::Wal, frames| {
            if frames >= 5 {
                wal.checkpoint()?;
                sink.lock().unwrap().push(frames);
            }
            Ok(())
        };
        db.wal_hook(Some(hook)).unwrap();
        record.ok(&db, "CREATE TABLE t(x)");
        for i in 0..30 {
            record.ok(&db, &format!("INSERT INTO t VALUES ({i})"));
        }
        record.note("checkpoints", format!("{:?}", results.lock().unwrap()));
        assert!(!results.lock().unwrap().is_empty());
        record.content(&lab.open("a.db"), "main");
    });
}

#[test]
fn the_error_of_a_hook_is_the_result_of_the_commit() {
    same_as_stock(|lab, record| {
        let mut db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x)");
        let hook = |_: &mut rusqlite::hooks::Wal, _| {
            Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_PERM), None))
        };
        db.wal_hook(Some(hook)).unwrap();
        record.sql(&db, "INSERT INTO t VALUES (1)");
        // The commit has happened all the same.
        record.ok(&lab.open("a.db"), "SELECT * FROM t");
    });
}
