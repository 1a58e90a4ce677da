//! The checkpoint modes and their three result columns: busy, frames in the log, frames checkpointed.

use crate::compare::same_as_stock;

const MODES: [&str; 5] = ["PASSIVE", "FULL", "RESTART", "TRUNCATE", "NOOP"];

#[test]
fn with_nobody_in_the_way() {
    for mode in MODES {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "");
            record.ok(&db, "CREATE TABLE t(x)");
            for round in 0..3 {
                record.ok(
                    &db,
                    &format!("INSERT INTO t VALUES ({round}); INSERT INTO t VALUES (zeroblob(9000))"),
                );
                record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
                record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            }
            record.ok(&db, "PRAGMA wal_checkpoint(NOOP); PRAGMA wal_checkpoint");
            record.content(&db, "main");
        });
    }
}

#[test]
fn with_an_open_reader_in_the_way() {
    for mode in MODES {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "");
            record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
            let reader = lab.open("a.db");
            record.ok(&reader, "BEGIN; SELECT count(*) FROM t");
            record.ok(&db, "INSERT INTO t VALUES (3); UPDATE t SET x = x + 10");
            record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&reader, "SELECT * FROM t");
            record.ok(&db, "INSERT INTO t VALUES (4)");
            record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&reader, "SELECT * FROM t; COMMIT; SELECT * FROM t");
            record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&db, "INSERT INTO t VALUES (5); PRAGMA wal_checkpoint(NOOP)");
            record.content(&reader, "main");
        });
    }
}

#[test]
fn with_a_reader_of_a_log_that_is_checkpointed_already() {
    for mode in MODES {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "");
            record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); PRAGMA wal_checkpoint");
            let reader = lab.open("a.db");
            record.ok(&reader, "BEGIN; SELECT count(*) FROM t");
            record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&db, "INSERT INTO t VALUES (2)");
            record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&reader, "SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t");
            record.ok(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.content(&reader, "main");
        });
    }
}

#[test]
fn with_an_open_writer_in_the_way() {
    for mode in MODES {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "");
            record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
            let writer = lab.open("a.db");
            record.ok(&writer, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2)");
            record.sql(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.sql(&writer, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&writer, "COMMIT");
            record.sql(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.content(&db, "main");
        });
    }
}

#[test]
fn of_attached_databases_all_at_once() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("b.db", ""), "CREATE TABLE u(x)");
        let db = lab.create("a.db", "");
        let uri = lab.engine.uri(&lab.path("b.db"), "");
        db.execute_batch(&format!("CREATE TABLE t(x); ATTACH '{uri}' AS b")).unwrap();
        record.ok(&db, "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1); INSERT INTO u VALUES (2)");
        record.ok(&db, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA b.wal_checkpoint(NOOP)");
        record.content(&db, "b");
    });
}

#[test]
fn an_empty_log_has_nothing_to_tell() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x)");
        for mode in MODES {
            let db = lab.open("a.db");
            record.sql(&db, &format!("PRAGMA wal_checkpoint({mode})"));
            record.ok(&db, "SELECT count(*) FROM t");
            record.sql(&db, &format!("PRAGMA wal_checkpoint({mode})"));
        }
    });
}
