//! The ways to close without a checkpoint, and to keep the `-wal`.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl};

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::query;

fn persist_wal(connection: &Connection, mut value: i32) -> i32 {
    connection
        .file_control(Some("main"), FileControl::PersistWal(&mut value))
        .expect("the file control is known");
    value
}

#[test]
fn persist_wal_is_set_and_told() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        record.note("before", persist_wal(&db, -1));
        record.note("set", persist_wal(&db, 1));
        record.note("after", persist_wal(&db, -1));
        drop(db);
        record.note("the -wal is there", lab.wal("a.db").exists());
        let db = lab.open("a.db");
        record.ok(&db, "INSERT INTO t VALUES (2)");
        record.note("a property of the handle", persist_wal(&db, -1));
        record.content(&db, "main");
    });
}

#[test]
fn no_checkpoint_on_close_keeps_every_commit() {
    same_as_stock(|lab, record| {
        let mut db = lab.create("a.db", "");
        record.ok(&db, "CREATE TABLE t(x)");
        for round in 0..4 {
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
            record
                .ok(&db, &format!("INSERT INTO t VALUES ({round}); INSERT INTO t VALUES (zeroblob(20000))"));
            drop(db);
            record.note("the -wal is there", lab.wal("a.db").exists());
            db = lab.open("a.db");
            record.content(&db, "main");
        }
    });
}

#[test]
fn the_log_goes_on_after_a_close_without_checkpoint() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let before = query(&db, "SELECT vwal_log_id(), vwal_frame_no()");
    drop(db);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT vwal_log_id(), vwal_frame_no()"), before);
    query(&db, "INSERT INTO t VALUES (2)");
    assert_eq!(query(&db, "SELECT count(*) FROM t"), "2");
}
