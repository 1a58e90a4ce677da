//! When the base file alone holds everything: after `wal_checkpoint(TRUNCATE)`, `vwal_checkpoint()` and the last close.

use rusqlite::Connection;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, dump, query, run};

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body);
    CREATE INDEX by_body ON t(body);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO t SELECT i, zeroblob(300) || i FROM n;
    DELETE FROM t WHERE id % 7 = 0";

/// The base file without its log, read by stock SQLite.
fn assert_base_file_is_complete(lab: &Lab, expected: &str) {
    let copy = lab.path("copied.db");
    std::fs::copy(lab.path("a.db"), &copy).unwrap();
    let stock = lab.open_stock("copied.db").unwrap();
    assert_intact(&stock, "main");
    assert_eq!(dump(&stock, "main"), expected);
    drop(stock);
    std::fs::remove_file(copy).unwrap();
}

fn filled(lab: &Lab, size: u32) -> Connection {
    let db = lab.create("a.db", &format!("PRAGMA page_size={size}"));
    query(&db, FILL);
    db
}

#[test]
fn after_a_truncating_checkpoint() {
    for size in [512, 4096, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = filled(&lab, size);
        for round in 0..3 {
            query(&db, &format!("UPDATE t SET body = body || {round} WHERE id % 5 = {round}"));
            assert_eq!(query(&db, "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
            assert_base_file_is_complete(&lab, &dump(&db, "main"));
            assert_eq!(query(&db, "SELECT vwal_checkpointed_frame_no() = vwal_frame_no()"), "1");
        }
    }
}

#[test]
fn after_vwal_checkpoint() {
    let lab = Lab::new(Engine::Vwal);
    let db = filled(&lab, 4096);
    assert_eq!(query(&db, "SELECT vwal_checkpoint() = vwal_frame_no()"), "1");
    assert_base_file_is_complete(&lab, &dump(&db, "main"));
    assert_eq!(query(&db, "SELECT vwal_checkpointed_frame_no() = vwal_frame_no()"), "1");
}

#[test]
fn after_the_last_close() {
    for size in [512, 4096, 65536] {
        let lab = Lab::new(Engine::Vwal);
        let db = filled(&lab, size);
        let other = lab.open("a.db");
        let expected = dump(&other, "main");
        drop(db);
        assert_eq!(dump(&other, "main"), expected);
        drop(other);
        assert_base_file_is_complete(&lab, &expected);
    }
}

#[test]
fn a_shrunk_database_leaves_no_old_pages_behind_its_end() {
    let lab = Lab::new(Engine::Vwal);
    let db = filled(&lab, 1024);
    query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
    let before = std::fs::metadata(lab.path("a.db")).unwrap().len();
    query(&db, "DELETE FROM t WHERE id > 20; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    let pages: u64 = query(&db, "PRAGMA page_count").parse().unwrap();
    let after = std::fs::metadata(lab.path("a.db")).unwrap().len();
    assert!(after < before);
    assert!(after < (pages + 1) * 1024, "{pages} pages and a footer, not {after} bytes");
    assert_base_file_is_complete(&lab, &dump(&db, "main"));
}

#[test]
fn a_reader_in_the_way_of_the_drain_keeps_its_snapshot() {
    let lab = Lab::new(Engine::Vwal);
    let db = filled(&lab, 1024);
    let reader = lab.open("a.db");
    let before = query(&reader, "BEGIN; SELECT count(*), sum(length(body)) FROM t");
    query(&db, "UPDATE t SET body = 'short'; DELETE FROM t WHERE id > 100");
    // It may drain what the reader allows, and says how far it came.
    query(&db, "SELECT vwal_checkpoint()");
    assert_eq!(query(&db, "PRAGMA wal_checkpoint(TRUNCATE)").split('|').next(), Some("1"), "busy");
    assert_eq!(query(&reader, "SELECT count(*), sum(length(body)) FROM t"), before);
    query(&reader, "COMMIT");
    assert_eq!(query(&db, "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
    assert_base_file_is_complete(&lab, &dump(&reader, "main"));
}

#[test]
fn a_connection_does_not_get_the_log_of_a_file_that_took_the_name_of_its_own() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("a.db").unwrap();
    query(&stock, "CREATE TABLE t(x); INSERT INTO t VALUES ('old')");
    drop(stock);
    // Read-only, so that it stays in rollback mode.
    let old = lab.open_with("a.db", "mode=ro").unwrap();
    assert_eq!(query(&old, "SELECT * FROM t"), "old");
    let new = lab.create("b.db", "");
    query(&new, "CREATE TABLE t(x); INSERT INTO t VALUES ('new')");
    drop(new);
    std::fs::rename(lab.path("b.db"), lab.path("a.db")).unwrap();
    std::fs::rename(lab.wal("b.db"), lab.wal("a.db")).unwrap();
    let new = lab.open("a.db");
    query(&new, "INSERT INTO t VALUES ('newer')");
    assert!(run(&old, "SELECT * FROM t").contains('!'));
    assert_eq!(query(&new, "SELECT * FROM t"), "new\nnewer");
    assert_eq!(query(&lab.open("a.db"), "SELECT * FROM t"), "new\nnewer");
}

/// As without vwal: the header says how long the file should be, and a footer in front of that would hide what is missing.
#[test]
fn a_file_that_was_cut_is_refused_and_stays_as_it_is() {
    for engine in [Engine::Stock, Engine::Vwal] {
        let lab = Lab::new(Engine::Vwal);
        let db = engine.open(&lab.path("a.db"), "").unwrap();
        query(&db, "PRAGMA journal_mode=WAL");
        query(&db, FILL);
        query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
        drop(db);
        let pages = std::fs::metadata(lab.path("a.db")).unwrap().len() / 4096;
        let file = std::fs::OpenOptions::new().write(true).open(lab.path("a.db")).unwrap();
        file.set_len((pages - 1) * 4096).unwrap();
        let before = std::fs::read(lab.path("a.db")).unwrap();
        let refused = lab.open_with("a.db", "").expect_err("it was cut").to_string();
        assert!(refused.contains("it was cut"), "{engine:?}: {refused}");
        assert_eq!(std::fs::read(lab.path("a.db")).unwrap(), before);
    }
}
