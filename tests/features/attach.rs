//! `ATTACH`: several databases in one transaction.

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

#[test]
fn several_vwal_databases_in_one_transaction() {
    same_as_stock(|lab, record| {
        for (name, size) in [("b.db", 512), ("c.db", 65536)] {
            let db = lab.create(name, &format!("PRAGMA page_size={size}"));
            record.ok(&db, "CREATE TABLE t(x)");
        }
        let db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x)");
        for (schema, name) in [("b", "b.db"), ("c", "c.db")] {
            let uri = lab.engine.uri(&lab.path(name), "");
            db.execute_batch(&format!("ATTACH '{uri}' AS {schema}")).unwrap();
        }
        record.ok(&db, "PRAGMA b.journal_mode; PRAGMA c.journal_mode; PRAGMA c.page_size");
        record.ok(
            &db,
            "BEGIN; INSERT INTO main.t VALUES (1); INSERT INTO b.t VALUES (2); INSERT INTO c.t VALUES (3); COMMIT",
        );
        record.ok(&db, "BEGIN; INSERT INTO main.t VALUES (4); INSERT INTO b.t VALUES (5); ROLLBACK");
        record.ok(&db, "BEGIN; SAVEPOINT s; INSERT INTO b.t VALUES (6); ROLLBACK TO s; INSERT INTO c.t VALUES (7); COMMIT");
        let other = lab.open("b.db");
        record.ok(&db, "BEGIN; INSERT INTO main.t VALUES (8); INSERT INTO b.t VALUES (9)");
        record.ok(&other, "SELECT * FROM t");
        record.sql(&other, "INSERT INTO t VALUES (10)");
        record.ok(&db, "COMMIT");
        record.ok(&other, "INSERT INTO t VALUES (11)");
        record.ok(&db, "PRAGMA wal_checkpoint; PRAGMA b.wal_checkpoint; PRAGMA c.wal_checkpoint(TRUNCATE)");
        for schema in ["main", "b", "c"] {
            record.content(&db, schema);
        }
        record.ok(&db, "DETACH b");
        record.sql(&db, "SELECT * FROM b.t");
        record.ok(&other, "INSERT INTO t VALUES (12)");
        drop((db, other));
        for name in ["a.db", "b.db", "c.db"] {
            record.content(&lab.open(name), "main");
        }
    });
}

#[test]
fn a_vwal_and_a_plain_database_in_one_transaction() {
    same_as_stock(|lab, record| {
        for plain_mode in ["delete", "truncate", "persist", "memory", "wal"] {
            let plain = format!("plain-{plain_mode}.db");
            let db = lab.create(&format!("a-{plain_mode}.db"), "");
            record.ok(&db, "CREATE TABLE t(x)");
            let uri = Engine::Stock.uri(&lab.path(&plain), "vfs=unix");
            db.execute_batch(&format!("ATTACH '{uri}' AS p")).unwrap();
            record.ok(&db, &format!("PRAGMA p.journal_mode={plain_mode}; CREATE TABLE p.t(x)"));
            record.ok(&db, "BEGIN; INSERT INTO main.t VALUES (1); INSERT INTO p.t VALUES (2); COMMIT");
            record.ok(&db, "BEGIN; INSERT INTO main.t VALUES (3); INSERT INTO p.t VALUES (4); ROLLBACK");
            record.content(&db, "main");
            record.content(&db, "p");
            drop(db);
            record.content(&lab.open_stock(&plain).unwrap(), "main");
        }
    });
}

#[test]
fn a_rollback_mode_database_attached_through_vwal_keeps_its_mode() {
    let lab = Lab::new(Engine::Vwal);
    lab.open_stock("plain.db").unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    let db = lab.create("a.db", "");
    let uri = Engine::Vwal.uri(&lab.path("plain.db"), "");
    db.execute_batch(&format!("CREATE TABLE t(x); ATTACH '{uri}' AS p")).unwrap();
    assert_eq!(query(&db, "PRAGMA p.journal_mode"), "delete");
    db.execute_batch("BEGIN; INSERT INTO main.t VALUES (1); INSERT INTO p.t VALUES (2); COMMIT").unwrap();
    assert_eq!(query(&db, "SELECT vwal_log_id('p')"), "NULL");
    assert!(!lab.wal("plain.db").exists());
    assert_intact(&db, "p");
    // And the pragma makes it virtual.
    assert_eq!(query(&db, "PRAGMA p.journal_mode=WAL"), "wal");
    db.execute_batch("INSERT INTO p.t VALUES (3)").unwrap();
    assert!(lab.wal("plain.db").is_dir());
    assert_eq!(
        query(&db, "SELECT group_concat(schema) FROM (SELECT schema FROM vwal_status ORDER BY schema)"),
        "main,p"
    );
    assert_eq!(query(&db, "SELECT group_concat(x) FROM p.t"), "2,3");
}

#[test]
fn a_wal_mode_database_attached_through_vwal_is_virtual() {
    let lab = Lab::new(Engine::Vwal);
    let stock = lab.open_stock("b.db").unwrap();
    query(&stock, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    drop(stock);
    let db = lab.create("a.db", "");
    let uri = Engine::Vwal.uri(&lab.path("b.db"), "");
    db.execute_batch(&format!("ATTACH '{uri}' AS b; INSERT INTO b.t VALUES (2)")).unwrap();
    assert_eq!(query(&db, "SELECT group_concat(x) FROM b.t"), "1,2");
    assert!(lab.wal("b.db").is_dir());
    assert_ne!(query(&db, "SELECT vwal_log_id('b')"), "NULL");
    assert_ne!(query(&db, "SELECT vwal_frame_no('b')"), "0");
}

#[test]
fn the_same_database_twice_in_one_connection() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x)");
        let uri = lab.engine.uri(&lab.path("a.db"), "");
        db.execute_batch(&format!("ATTACH '{uri}' AS again")).unwrap();
        record
            .ok(&db, "INSERT INTO main.t VALUES (1); SELECT * FROM again.t; INSERT INTO again.t VALUES (2)");
        record.sql(&db, "BEGIN; INSERT INTO main.t VALUES (3); INSERT INTO again.t VALUES (4)");
        record.sql(&db, "ROLLBACK");
        record.content(&db, "main");
    });
}
