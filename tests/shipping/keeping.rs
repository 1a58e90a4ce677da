//! What the keeper does on its own: merges and snapshots.

use crate::lab::{Lab, database, wait_for};

/// A number from the metrics.
fn metric(db: &rusqlite::Connection, name: &str) -> u64 {
    let text: String = db.query_row("SELECT vwal_metrics()", [], |row| row.get(0)).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap_or_else(|| panic!("{text}"));
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn bundles_are_merged_while_commits_go_on() {
    let lab = Lab::new();
    let db = lab.open("app.db", "&vwal_ship_interval_ms=0").unwrap();
    db.execute_batch("CREATE TABLE t(x)").unwrap();
    for i in 0..40 {
        db.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
        database(&db).sync().unwrap();
    }
    wait_for("a merge", || metric(&db, "vwal_merges_total") == 1);
    assert!(lab.objects().iter().any(|name| name.contains("/1/")), "{:?}", lab.objects());
    assert_eq!(database(&db).status().last_error, None);
}

#[test]
fn a_snapshot_is_taken_when_it_is_asked_for_and_when_it_is_due() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let database = database(&db);
    database.checkpoint().unwrap();
    assert_eq!(database.snapshot().unwrap(), database.frame_no());
    assert_eq!(lab.objects().iter().filter(|name| name.contains("/snapshot/")).count(), 1);
    drop(db);

    let db = lab.open("app.db", "&vwal_snapshot_interval_ms=1").unwrap();
    db.execute_batch("INSERT INTO t VALUES (2); PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    wait_for("a snapshot", || metric(&db, "vwal_snapshots_total") == 1);
}
