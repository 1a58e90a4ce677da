//! Requests cost money: at most one PUT per interval for a busy database, none for an idle one, and no LIST on a timer.

use std::time::{Duration, Instant};

use crate::lab::{FaultyLab, database, wait_for};

#[test]
fn a_busy_database_puts_once_per_interval_and_an_idle_one_asks_for_nothing() {
    let lab = FaultyLab::new("cost");
    let db = lab.open("&vwal_ship_interval_ms=300").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let database = database(&db);
    let before = lab.settled_counts();
    let started = Instant::now();
    let mut i = 0;
    while started.elapsed() < Duration::from_millis(1500) {
        db.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
        i += 1;
    }
    wait_for("shipping", || database.durable_frame_no() == database.frame_no());
    // As many intervals as have passed, whatever the machine was doing, and the one that was under way.
    let intervals = started.elapsed().as_millis() as u64 / 300 + 1;
    let busy = lab.settled_counts();
    let puts = busy.put - before.put;
    assert!(puts >= 1 && puts <= intervals, "{puts} puts in {intervals} intervals, {i} commits");
    assert_eq!(busy.list, before.list, "a listing while shipping");
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(lab.store.counts(), busy, "an idle database asks storage for nothing");
}

#[test]
fn opening_a_database_that_storage_has_puts_nothing() {
    let lab = FaultyLab::new("reopen");
    let db = lab.open("").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    drop(db);
    let before = lab.settled_counts();
    for _ in 0..3 {
        let db = lab.open("").unwrap();
        let database = database(&db);
        wait_for("finding the place in storage", || database.durable_frame_no() > 0);
        drop(db);
    }
    assert_eq!(lab.store.counts().put, before.put);
}
