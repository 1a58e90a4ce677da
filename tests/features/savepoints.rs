//! Savepoints and rollbacks while a small page cache spills dirty pages into the log.

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, dump, query};

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)";

fn insert(from: u32, to: u32) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (VALUES({from}) UNION ALL SELECT i + 1 FROM n WHERE i < {to})
         INSERT INTO t SELECT i, zeroblob(900) || i FROM n"
    )
}

#[test]
fn a_transaction_larger_than_the_cache_commits_whole() {
    for cache in [5, 10] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "PRAGMA page_size=1024");
            let reader = lab.open("a.db");
            record.ok(&db, &format!("PRAGMA cache_size={cache}; {TABLE}; BEGIN; {}", insert(1, 300)));
            record.ok(&reader, "SELECT count(*) FROM t");
            record.ok(
                &db,
                "UPDATE t SET body = body || 'again' WHERE id % 7 = 0; SELECT sum(length(body)) FROM t",
            );
            record.ok(&db, "COMMIT");
            record.content(&reader, "main");
            record.ok(&db, "PRAGMA wal_checkpoint");
        });
    }
}

#[test]
fn rollback_to_undoes_what_was_spilled_since() {
    for (cache, size) in [(5, 512), (10, 4096), (5, 65536)] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", &format!("PRAGMA page_size={size}; PRAGMA cache_size={cache}"));
            record.ok(&db, &format!("{TABLE}; {}", insert(1, 50)));
            record.ok(&db, &format!("BEGIN; {}; SAVEPOINT one; {}", insert(100, 200), insert(300, 400)));
            record.ok(&db, "SAVEPOINT two; UPDATE t SET body = 'x' || body WHERE id % 2; SELECT sum(length(body)) FROM t");
            record.ok(&db, "ROLLBACK TO two; SELECT count(*), sum(length(body)) FROM t");
            record.ok(&db, &format!("{}; RELEASE two", insert(500, 600)));
            record.ok(&db, "ROLLBACK TO one; SELECT count(*), sum(length(body)) FROM t");
            record.ok(&db, "DELETE FROM t WHERE id BETWEEN 20 AND 150; RELEASE one; COMMIT");
            record.content(&db, "main");
            record.ok(&db, &format!("BEGIN; SAVEPOINT s; {}; ROLLBACK TO s; COMMIT", insert(700, 900)));
            record.content(&db, "main");
            record.ok(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
            drop(db);
            record.content(&lab.open("a.db"), "main");
        });
    }
}

#[test]
fn a_rolled_back_transaction_that_spilled_leaves_nothing() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=512; PRAGMA cache_size=5");
        record.ok(&db, &format!("{TABLE}; {}", insert(1, 20)));
        for _ in 0..3 {
            record.ok(&db, &format!("BEGIN; {}; DELETE FROM t WHERE id < 10; ROLLBACK", insert(100, 300)));
            record.content(&db, "main");
        }
        record.ok(&db, "PRAGMA page_count; PRAGMA wal_checkpoint");
        record.ok(&db, &insert(1000, 1010));
        record.content(&lab.open("a.db"), "main");
    });
}

#[test]
fn a_constraint_failure_in_a_spilled_statement_undoes_that_statement() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=512; PRAGMA cache_size=5");
        record.ok(
            &db,
            &format!("{TABLE}; INSERT INTO t VALUES (250, 'in the way'); BEGIN; {}", insert(1, 100)),
        );
        record.sql(&db, &insert(101, 300));
        record.ok(&db, "SELECT count(*) FROM t; COMMIT");
        record.content(&db, "main");
    });
}

#[test]
fn what_was_spilled_and_committed_survives_a_crash() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "PRAGMA page_size=512; PRAGMA cache_size=5");
    query(&db, &format!("{TABLE}; BEGIN; {}; SAVEPOINT s; {}", insert(1, 100), insert(200, 300)));
    query(
        &db,
        "UPDATE t SET body = body || 'x' WHERE id < 40; ROLLBACK TO s; UPDATE t SET body = 'y' WHERE id > 80",
    );
    query(&db, "COMMIT");
    let expected = dump(&db, "main");
    // Spilled frames of a transaction that never commits lie behind it.
    query(&db, &format!("BEGIN; {}", insert(1000, 1200)));
    lab.copy("a.db", "crashed.db");
    let after = lab.open("crashed.db");
    assert_intact(&after, "main");
    assert_eq!(dump(&after, "main"), expected);
}
