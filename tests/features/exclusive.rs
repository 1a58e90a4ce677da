//! `PRAGMA locking_mode=EXCLUSIVE`.

use crate::compare::same_as_stock;

#[test]
fn before_the_first_access() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        let db = lab.open("a.db");
        record.ok(&db, "PRAGMA locking_mode=EXCLUSIVE; SELECT * FROM t");
        record.ok(&db, "INSERT INTO t VALUES (2); SELECT count(*) FROM t; PRAGMA wal_checkpoint(FULL)");
        record.ok(&db, "PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t; INSERT INTO t VALUES (3)");
        let other = lab.open("a.db");
        record.sql(&other, "INSERT INTO t VALUES (4)");
        record.content(&db, "main");
    });
}

#[test]
fn before_the_first_access_it_keeps_others_out() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        // Opened first: what open itself reads of a database that is locked is not the subject here.
        let other = lab.open("a.db");
        let db = lab.open("a.db");
        record.ok(&other, "PRAGMA user_version");
        record.sql(&db, "PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES (2)");
        record.sql(&other, "INSERT INTO t VALUES (3)");
        record.sql(&db, "INSERT INTO t VALUES (4)");
        record.sql(&other, "SELECT count(*) FROM t");
        drop(other);
        record.sql(&db, "INSERT INTO t VALUES (5)");
        drop(db);
        record.content(&lab.open("a.db"), "main");
    });
}

#[test]
fn after_the_first_access() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        let other = lab.open("a.db");
        record.ok(&other, "SELECT * FROM t");
        // It needs the database for itself.
        record.sql(&db, "PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES (2)");
        record.sql(&other, "INSERT INTO t VALUES (3)");
        drop(other);
        record.ok(&db, "INSERT INTO t VALUES (4); PRAGMA locking_mode");
        record.ok(
            &db,
            "BEGIN; INSERT INTO t VALUES (5); ROLLBACK; SELECT count(*) FROM t; PRAGMA wal_checkpoint",
        );
        record.ok(&db, "PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t");
        let other = lab.open("a.db");
        record.sql(&other, "INSERT INTO t VALUES (6)");
        record.ok(&db, "INSERT INTO t VALUES (7)");
        record.content(&other, "main");
    });
}

#[test]
fn a_new_database_from_its_first_byte() {
    same_as_stock(|lab, record| {
        let db = lab.open("a.db");
        record.ok(&db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
        for i in 0..20 {
            record.ok(&db, &format!("INSERT INTO t VALUES ({i})"));
        }
        record.ok(&db, "PRAGMA wal_checkpoint; PRAGMA wal_checkpoint(TRUNCATE)");
        record.ok(&db, "BEGIN; UPDATE t SET x = x + 1; ROLLBACK; SELECT sum(x) FROM t");
        record.content(&db, "main");
        drop(db);
        let db = lab.open("a.db");
        record.ok(&db, "PRAGMA locking_mode; PRAGMA journal_mode");
        record.content(&db, "main");
    });
}
