//! `VACUUM` and `VACUUM INTO`.

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, dump, query};

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO t SELECT i, zeroblob(700) || i FROM n";

#[test]
fn vacuum_shrinks_the_database() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        record.ok(&db, "DELETE FROM t WHERE id % 10 <> 0; PRAGMA page_count");
        record.ok(&db, "VACUUM; PRAGMA page_count; PRAGMA freelist_count; PRAGMA wal_checkpoint");
        record.content(&db, "main");
        record.ok(&db, "INSERT INTO t SELECT id + 1, body FROM t; VACUUM; PRAGMA page_count");
        drop(db);
        let db = lab.open("a.db");
        record.content(&db, "main");
    });
}

#[test]
fn vacuum_waits_for_no_reader_and_readers_keep_their_snapshot() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        let reader = lab.open("a.db");
        record.ok(&reader, "BEGIN; SELECT count(*) FROM t");
        record.ok(&db, "DELETE FROM t WHERE id > 7");
        record.sql(&db, "VACUUM");
        record.ok(&reader, "SELECT count(*), sum(length(body)) FROM t; COMMIT; SELECT count(*) FROM t");
        record.content(&reader, "main");
    });
}

#[test]
fn vacuum_into_a_plain_file() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        record.ok(&db, "DELETE FROM t WHERE id % 4 = 1");
        record.ok(&db, &format!("VACUUM INTO '{}'", lab.path("b.db").display()));
        record.sql(&db, &format!("VACUUM INTO '{}'", lab.path("b.db").display()));
        let copy = lab.open_stock("b.db").unwrap();
        record.ok(&copy, "PRAGMA journal_mode; PRAGMA page_count");
        record.content(&copy, "main");
        record.content(&db, "main");
    });
}

#[test]
fn vacuum_into_a_vwal_uri() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        let target = lab.engine.uri(&lab.path("b.db"), "");
        record.note("into", crate::text::run(&db, &format!("VACUUM INTO '{target}'")));
        let copy = lab.create("b.db", "");
        record.content(&copy, "main");
        record.ok(&copy, "UPDATE t SET body = id; PRAGMA wal_checkpoint(TRUNCATE)");
        record.content(&copy, "main");
    });
}

#[test]
fn a_file_that_vacuum_into_made_is_an_ordinary_database() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    db.execute_batch(FILL).unwrap();
    let target = Engine::Vwal.uri(&lab.path("b.db"), "");
    db.execute_batch(&format!("VACUUM INTO '{target}'")).unwrap();
    assert!(!lab.wal("b.db").exists(), "a rollback-mode file has no log directory");
    let plain = lab.open_stock("b.db").unwrap();
    assert_intact(&plain, "main");
    assert_eq!(dump(&plain, "main"), dump(&db, "main"));
    assert_eq!(query(&plain, "PRAGMA journal_mode"), "delete");
}
