//! `PRAGMA mmap_size` is harmless.

use crate::compare::same_as_stock;
use crate::text::run;

#[test]
fn a_mapped_database_shows_the_same() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=1024");
        let reader = lab.open("a.db");
        for connection in [&db, &reader] {
            // What it answers depends on what the VFS can do, so it is not recorded.
            assert!(!run(connection, "PRAGMA mmap_size=268435456").starts_with('!'));
        }
        record.ok(&db, "CREATE TABLE t(id INTEGER PRIMARY KEY, body)");
        for round in 0..6 {
            record.ok(
                &db,
                &format!(
                    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
                     INSERT INTO t(body) SELECT zeroblob(800) || i || {round} FROM n"
                ),
            );
            record.ok(&reader, "BEGIN; SELECT count(*), sum(length(body)) FROM t");
            record.ok(&db, "UPDATE t SET body = body || 'x' WHERE id % 3 = 0; PRAGMA wal_checkpoint");
            record.ok(&reader, "SELECT count(*), sum(length(body)) FROM t; COMMIT");
            record.ok(&db, "PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t WHERE id % 5 = 1");
        }
        record.ok(&db, "VACUUM; PRAGMA page_count");
        record.content(&reader, "main");
    });
}
