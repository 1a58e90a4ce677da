//! Commits reach storage: by themselves, when they are waited for, and at the last close.

use crate::lab::{Lab, database, wait_for};

#[test]
fn commits_reach_storage_by_themselves() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1);").unwrap();
    let database = database(&db);
    let frame_no = database.frame_no();
    wait_for("shipping", || database.durable_frame_no() >= frame_no);
    assert_eq!(database.status().storage, Some(lab.url()));
    assert_eq!(database.status().last_error, None);
    assert!(lab.objects().iter().any(|name| name.ends_with(".bundle")), "{:?}", lab.objects());
}

#[test]
fn sync_waits_for_storage_and_the_last_close_ships_the_rest() {
    let lab = Lab::new();
    let db = lab.open("app.db", "&vwal_ship_interval_ms=3600000").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1);").unwrap();
    let synced = db.query_row("SELECT vwal_sync()", [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(database(&db).durable_frame_no(), synced);
    db.execute_batch("INSERT INTO t VALUES (2);").unwrap();
    let last = database(&db).frame_no();
    assert!(database(&db).durable_frame_no() < last, "the interval has not passed");
    drop(db);
    let db = lab.open("app.db", "").unwrap();
    let database = database(&db);
    assert_eq!(database.durable_frame_no(), last, "the last close shipped it, and noted that");
    database.sync().unwrap();
    assert_eq!(database.durable_frame_no(), last, "storage says so, too");
    assert_eq!(database.checkpointed_frame_no(), last, "and then brought the file up to date");
}

#[test]
fn a_remote_acknowledgement_means_that_storage_has_it() {
    let lab = Lab::new();
    let db = lab.open("app.db", "&vwal_ack=remote").unwrap();
    // The first transaction makes the database, and is not of the log yet.
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (-1);").unwrap();
    let database = database(&db);
    for round in 0..20 {
        db.execute("INSERT INTO t VALUES (?1)", [round]).unwrap();
        assert_eq!(database.durable_frame_no(), database.frame_no());
    }
}
