//! `SQLITE_BUSY` and `SQLITE_BUSY_SNAPSHOT` between connections of one process.

use std::time::Duration;

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query, run};

#[test]
fn one_writer_at_a_time() {
    same_as_stock(|lab, record| {
        let one = lab.create("a.db", "");
        record.ok(&one, "CREATE TABLE t(x)");
        let two = lab.open("a.db");
        record.ok(&one, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
        record.sql(&two, "BEGIN IMMEDIATE");
        record.sql(&two, "INSERT INTO t VALUES (2)");
        record.ok(&two, "SELECT count(*) FROM t");
        record.ok(&one, "COMMIT");
        record.ok(&two, "INSERT INTO t VALUES (3)");
        record.content(&one, "main");
    });
}

#[test]
fn a_reader_that_wants_to_write_on_a_stale_snapshot_is_refused() {
    same_as_stock(|lab, record| {
        let one = lab.create("a.db", "");
        record.ok(&one, "CREATE TABLE t(x)");
        let two = lab.open("a.db");
        record.ok(&two, "BEGIN; SELECT count(*) FROM t");
        record.ok(&one, "INSERT INTO t VALUES (1)");
        record.sql(&two, "INSERT INTO t VALUES (2)");
        record.ok(&two, "SELECT count(*) FROM t; ROLLBACK");
        record.ok(&two, "INSERT INTO t VALUES (3)");
        record.content(&one, "main");
    });
}

#[test]
fn a_connection_that_is_idle_keeps_nobody_out() {
    same_as_stock(|lab, record| {
        let one = lab.create("a.db", "");
        record.ok(&one, "CREATE TABLE t(x)");
        for round in 0..10 {
            // Opening may write-lock the log for a moment; so do transactions that write nothing.
            let two = lab.open("a.db");
            record.sql(&one, &format!("INSERT INTO t VALUES ({round})"));
            record.ok(&two, "BEGIN IMMEDIATE; ROLLBACK; SELECT count(*) FROM t");
            record.sql(&one, &format!("INSERT INTO t VALUES ({round})"));
            record.ok(&two, "BEGIN IMMEDIATE; COMMIT; SELECT count(*) FROM t");
            record.sql(&one, &format!("INSERT INTO t VALUES ({round})"));
            record.ok(&one, "BEGIN IMMEDIATE");
            record.sql(&two, "BEGIN IMMEDIATE");
            record.ok(&one, "COMMIT");
            record.ok(&two, "SELECT count(*) FROM t");
            record.sql(&one, &format!("INSERT INTO t VALUES ({round})"));
        }
        record.content(&one, "main");
    });
}

#[test]
fn writers_that_wait_all_get_their_turn() {
    let lab = Lab::new(Engine::Vwal);
    query(&lab.create("a.db", ""), "CREATE TABLE t(thread, i)");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let lab = &lab;
            scope.spawn(move || {
                let db = lab.open("a.db");
                db.busy_timeout(Duration::from_secs(60)).unwrap();
                for i in 0..50 {
                    // Deferred, immediate, and one that reads first and may have to start over.
                    match i % 3 {
                        0 => drop(query(&db, &format!("INSERT INTO t VALUES ({thread}, {i})"))),
                        1 => drop(query(
                            &db,
                            &format!("BEGIN IMMEDIATE; INSERT INTO t VALUES ({thread}, {i}); COMMIT"),
                        )),
                        _ => loop {
                            let sql = format!(
                                "BEGIN; SELECT count(*) FROM t; INSERT INTO t VALUES ({thread}, {i}); COMMIT"
                            );
                            let result = run(&db, &sql);
                            if !result.contains('!') {
                                break;
                            }
                            let stale = result.contains("!517: ") || result.contains("!5: ");
                            assert!(stale, "SQLITE_BUSY or SQLITE_BUSY_SNAPSHOT, not {result}");
                            query(&db, "ROLLBACK");
                        },
                    }
                }
            });
        }
    });
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT count(*), count(DISTINCT thread * 1000 + i) FROM t"), "300|300");
    assert_intact(&db, "main");
}
