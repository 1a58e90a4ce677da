//! Every page size that SQLite has.

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::query;

const SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 120)
    INSERT INTO t SELECT i, zeroblob(i * 37) || i FROM n;
    CREATE INDEX by_body ON t(body)";

const CHANGE: &str = "DELETE FROM t WHERE id % 3 = 0;
    UPDATE t SET body = body || 'more' WHERE id % 5 = 0;
    INSERT INTO t VALUES (1000, zeroblob(5) || 'last')";

#[test]
fn a_new_database_takes_the_page_size_it_is_given() {
    for size in SIZES {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
            record.ok(&db, "PRAGMA page_size");
            record.ok(&db, FILL);
            record.ok(&db, "PRAGMA page_count");
            record.ok(&db, "PRAGMA wal_checkpoint");
            record.ok(&db, CHANGE);
            record.content(&db, "main");
            drop(db);
            let db = lab.open("a.db");
            record.ok(&db, "PRAGMA page_size; PRAGMA page_count; PRAGMA freelist_count; PRAGMA journal_mode");
            record.content(&db, "main");
        });
    }
}

#[test]
fn vacuum_in_rollback_mode_changes_the_page_size() {
    for (from, to) in [(4096, 512), (512, 65536), (65536, 1024), (8192, 16384)] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", &format!("PRAGMA page_size={from}"));
            record.ok(&db, FILL);
            record.ok(&db, &format!("PRAGMA journal_mode=DELETE; PRAGMA page_size={to}; VACUUM"));
            record.ok(&db, "PRAGMA journal_mode=WAL; PRAGMA page_size; PRAGMA page_count");
            record.ok(&db, CHANGE);
            record.content(&db, "main");
            drop(db);
            let db = lab.open("a.db");
            record.ok(&db, "PRAGMA page_size; PRAGMA page_count");
            record.content(&db, "main");
        });
    }
}

#[test]
fn vacuum_in_wal_mode_keeps_the_page_size() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=2048");
        record.ok(&db, FILL);
        record.ok(&db, "PRAGMA page_size=8192; VACUUM; PRAGMA page_size");
        record.content(&db, "main");
    });
}

#[test]
fn the_status_row_tells_the_page_size() {
    for size in SIZES {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
        db.execute_batch(FILL).unwrap();
        let pages = query(&db, "PRAGMA page_count");
        assert_eq!(query(&db, "SELECT page_size, db_size_pages FROM vwal_status"), format!("{size}|{pages}"));
    }
}
