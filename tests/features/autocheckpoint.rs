//! `PRAGMA wal_autocheckpoint`.

use crate::compare::same_as_stock;

#[test]
fn after_0_1_7_and_the_default_number_of_frames() {
    for pages in ["0", "1", "7", "1000"] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "PRAGMA page_size=512");
            let reader = lab.open("a.db");
            record.ok(&db, &format!("PRAGMA wal_autocheckpoint={pages}; PRAGMA wal_autocheckpoint"));
            record.ok(&db, "CREATE TABLE t(x)");
            for i in 0..30 {
                record.ok(&db, &format!("INSERT INTO t VALUES (zeroblob({}))", i * 20));
                record.ok(&reader, "SELECT count(*), sum(length(x)) FROM t");
                // Tells how far the log is checkpointed, and does nothing (SQLite 3.51).
                record.ok(&reader, "PRAGMA wal_checkpoint(NOOP)");
            }
            record.ok(&reader, "PRAGMA wal_checkpoint");
            record.content(&reader, "main");
        });
    }
}

#[test]
fn the_default_is_1000_pages() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=512");
        record.ok(&db, "PRAGMA wal_autocheckpoint; CREATE TABLE t(x)");
        for i in 0..12 {
            record.ok(&db, &format!("INSERT INTO t VALUES (zeroblob({}))", 50_000 + i));
            record.ok(&db, "PRAGMA wal_checkpoint(NOOP)");
        }
        record.content(&db, "main");
    });
}

#[test]
fn a_reader_holds_it_back_and_does_not_lose_its_snapshot() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, "PRAGMA wal_autocheckpoint=3; CREATE TABLE t(x); INSERT INTO t VALUES (0)");
        let reader = lab.open("a.db");
        record.ok(&reader, "BEGIN; SELECT * FROM t");
        for i in 1..20 {
            record.ok(&db, &format!("INSERT INTO t VALUES ({i}); UPDATE t SET x = x + 1"));
            record.ok(&db, "PRAGMA wal_checkpoint(NOOP)");
            record.ok(&reader, "SELECT * FROM t");
        }
        record.ok(&reader, "COMMIT; SELECT count(*), sum(x) FROM t");
        record.ok(&db, "INSERT INTO t VALUES (100); PRAGMA wal_checkpoint(NOOP)");
        record.content(&reader, "main");
    });
}
