//! `PRAGMA auto_vacuum`: full and incremental.

use crate::compare::same_as_stock;

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB);
    CREATE TABLE u(x);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 400)
    INSERT INTO t SELECT i, zeroblob(500) || i FROM n";

#[test]
fn full_auto_vacuum_shrinks_the_database_at_commit() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=1024; PRAGMA auto_vacuum=FULL");
        record.ok(&db, "PRAGMA auto_vacuum");
        record.ok(&db, FILL);
        record.ok(
            &db,
            "PRAGMA page_count; DELETE FROM t WHERE id > 50; PRAGMA page_count; PRAGMA freelist_count",
        );
        record.ok(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
        record.ok(&db, "DROP TABLE t; PRAGMA page_count");
        record.ok(&db, "CREATE TABLE v AS SELECT 1 AS one; PRAGMA page_count");
        record.content(&db, "main");
        drop(db);
        let db = lab.open("a.db");
        record.ok(&db, "PRAGMA auto_vacuum; PRAGMA page_count");
        record.content(&db, "main");
    });
}

#[test]
fn incremental_vacuum_frees_pages_in_steps() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=1024; PRAGMA auto_vacuum=INCREMENTAL");
        record.ok(&db, FILL);
        record.ok(&db, "DELETE FROM t WHERE id > 50; PRAGMA page_count; PRAGMA freelist_count");
        for _ in 0..3 {
            record.ok(&db, "PRAGMA incremental_vacuum(40); PRAGMA page_count; PRAGMA freelist_count");
            record.ok(&db, "PRAGMA wal_checkpoint(RESTART)");
        }
        record
            .ok(&db, "BEGIN; PRAGMA incremental_vacuum; ROLLBACK; PRAGMA page_count; PRAGMA freelist_count");
        record.ok(&db, "PRAGMA incremental_vacuum; PRAGMA page_count; PRAGMA freelist_count");
        record.content(&db, "main");
        drop(db);
        let db = lab.open("a.db");
        record.content(&db, "main");
    });
}
