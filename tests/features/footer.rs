//! The footer behind the last page of the base file: there, and hidden.

use std::fs;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
    INSERT INTO t SELECT i, zeroblob(300) || i FROM n";

#[test]
fn lies_behind_the_pages_and_is_not_counted() {
    for size in [512, 4096, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
        query(&db, FILL);
        query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
        let pages: u64 = query(&db, "PRAGMA page_count").parse().unwrap();
        let length = fs::metadata(lab.path("a.db")).unwrap().len();
        assert!(length > pages * size, "{pages} pages of {size} bytes and a footer, not {length} bytes");
        // A new connection takes the size from the file.
        let other = lab.open("a.db");
        assert_eq!(query(&other, "PRAGMA page_count"), pages.to_string());
        assert_eq!(query(&db, "SELECT db_size_pages FROM vwal_status"), pages.to_string());
        // Growth over the footer.
        query(&other, "INSERT INTO t SELECT id + 1000, body FROM t; PRAGMA wal_checkpoint(TRUNCATE)");
        assert_intact(&db, "main");
        drop((db, other));
        assert_intact(&lab.open("a.db"), "main");
    }
}

#[test]
fn is_no_harm_to_stock_sqlite_after_the_way_back() {
    for size in [512, 4096, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
        query(&db, FILL);
        let pages = query(&db, "PRAGMA page_count");
        query(&db, "PRAGMA journal_mode=DELETE");
        drop(db);
        let stock = lab.open_stock("a.db").unwrap();
        assert_eq!(query(&stock, "PRAGMA page_count"), pages);
        assert_intact(&stock, "main");
        query(&stock, "INSERT INTO t SELECT id + 1000, body FROM t");
        assert_intact(&stock, "main");
        query(&stock, "DELETE FROM t WHERE id > 10; VACUUM");
        assert_intact(&stock, "main");
        drop(stock);
        let db = lab.open("a.db");
        assert_eq!(query(&db, "SELECT count(*) FROM t"), "10");
        assert_intact(&db, "main");
    }
}

#[test]
fn a_torn_or_missing_footer_is_not_fatal() {
    for cut in [1_u64, 20, 10_000] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.create("a.db", "");
        query(&db, FILL);
        let pages: u64 = query(&db, "PRAGMA page_count").parse().unwrap();
        drop(db);
        let file = fs::OpenOptions::new().write(true).open(lab.path("a.db")).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(cut).max(pages * 4096)).unwrap();
        drop(file);
        let db = lab.open("a.db");
        assert_eq!(query(&db, "PRAGMA page_count; SELECT count(*) FROM t"), format!("{pages}\n100"));
        assert_intact(&db, "main");
        query(&db, "INSERT INTO t VALUES (1000, 'x')");
        drop(db);
        assert_eq!(query(&lab.open("a.db"), "SELECT count(*) FROM t"), "101");
    }
}
