//! `sqlite3_file_control()`: what is about the database file does no harm to one that ends with a footer.

use std::ffi::{c_int, c_void};

use rusqlite::{Connection, ffi};

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

const FILL: &str = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
    INSERT INTO t(b) SELECT zeroblob(500) FROM n";

fn control(db: &Connection, operation: c_int, value: i64) -> c_int {
    let mut value = value;
    // SAFETY: the connection is open, and each of these operations reads and writes an integer of at most 8 bytes.
    unsafe {
        ffi::sqlite3_file_control(db.handle(), c"main".as_ptr(), operation, (&raw mut value).cast::<c_void>())
    }
}

#[test]
fn a_chunk_size_and_hints_change_neither_the_end_of_the_file_nor_the_log() {
    let lab = Lab::new(Engine::Vwal);
    let mut log_id = String::new();
    for round in 0..3 {
        let db = lab.open("a.db");
        assert_eq!(control(&db, ffi::SQLITE_FCNTL_CHUNK_SIZE, 1 << 20), ffi::SQLITE_OK);
        query(&db, &format!("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b); {FILL}"));
        for operation in [ffi::SQLITE_FCNTL_SIZE_HINT, ffi::SQLITE_FCNTL_POWERSAFE_OVERWRITE] {
            assert_eq!(control(&db, operation, 10 << 20), ffi::SQLITE_OK);
        }
        query(&db, &format!("{FILL}; PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t WHERE a % 3 = {round}"));
        let pages: u64 = query(&db, "PRAGMA page_count").parse().unwrap();
        let known = query(&db, "SELECT vwal_log_id()");
        if round > 0 {
            assert_eq!(known, log_id, "the log goes on");
        }
        log_id = known;
        drop(db);
        let size = std::fs::metadata(lab.path("a.db")).unwrap().len();
        assert_eq!((size / 4096, size % 4096), (pages, 86), "pages, and the footer");
    }
    let db = lab.open("a.db");
    assert_eq!(control(&db, ffi::SQLITE_FCNTL_CHUNK_SIZE, 1 << 20), ffi::SQLITE_OK);
    query(&db, "SELECT count(*) FROM t");
    assert_eq!(query(&db, "PRAGMA journal_mode=DELETE"), "delete");
    query(&db, FILL);
    drop(db);
    assert_intact(&lab.open_stock("a.db").unwrap(), "main");
}
