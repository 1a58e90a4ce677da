//! Storage that was off for a while, databases that were something else for a while.

use crate::lab::{Lab, database, wait_for};

/// Bundles of level 0 in storage.
fn level_zero(lab: &Lab) -> usize {
    lab.objects().iter().filter(|name| name.contains("/0/")).count()
}

#[test]
fn a_log_that_went_on_without_storage_is_bridged() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let log_id = database(&db).log_id();
    drop(db);
    // Everything that is committed here is checkpointed at the close, so the frames are gone.
    let db = lab.open("app.db", "&vwal_storage=off").unwrap();
    db.execute_batch("INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);").unwrap();
    assert_eq!(database(&db).status().storage, None);
    drop(db);
    let before = level_zero(&lab);
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("INSERT INTO t VALUES (4); SELECT vwal_sync();").unwrap();
    assert_eq!(database(&db).log_id(), log_id);
    assert_eq!(database(&db).status().last_error, None);
    assert_eq!(level_zero(&lab), before + 2, "a full image over the gap, and the frames behind it");
}

#[test]
fn a_database_that_sqlite_wrote_to_behind_the_log_begins_a_new_log_in_the_place_of_the_old_one() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let log_id = database(&db).log_id();
    drop(db);
    std::fs::copy(lab.path("app.db"), lab.path("old.db")).unwrap();
    // Under this name SQLite does not see the log directory, which keeps it out.
    std::fs::rename(lab.path("app.db"), lab.path("elsewhere.db")).unwrap();
    let plain = rusqlite::Connection::open(lab.path("elsewhere.db")).unwrap();
    plain.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    drop(plain);
    std::fs::rename(lab.path("elsewhere.db"), lab.path("app.db")).unwrap();

    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("INSERT INTO t VALUES (3); SELECT vwal_sync();").unwrap();
    let database = database(&db);
    assert_ne!(database.log_id(), log_id);
    assert_eq!(database.status().last_error, None);
    // The copy from before goes on with the old log, and is told that it has been ended.
    let copy = lab.open("old.db", "").unwrap();
    let old = crate::lab::database(&copy);
    wait_for("the fence", || old.fence().is_some());
    let why = old.fence().unwrap().to_string();
    assert!(why.contains("was ended") && why.contains(&database.log_id().to_string()), "{why}");
    assert!(copy.execute_batch("INSERT INTO t VALUES (9)").is_err());
}

#[test]
fn an_unrelated_database_is_refused_unless_it_is_told_to_take_over() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let log_id = database(&db).log_id();
    drop(db);
    let before = lab.objects();
    let other = lab.open("other.db", "").unwrap();
    // The first transaction is not of the log yet, so it is not refused, however soon the fence comes.
    other.execute_batch("CREATE TABLE u(x); SELECT x FROM u;").unwrap();
    let refused = database(&other);
    wait_for("the fence", || refused.fence().is_some());
    assert!(refused.fence().unwrap().to_string().contains("of another database"));
    assert_eq!(lab.objects(), before);
    drop(other);
    let other = lab.open("other.db", &format!("&vwal_take_over={log_id}")).unwrap();
    other.execute_batch("INSERT INTO u VALUES (2); SELECT vwal_sync();").unwrap();
    assert_eq!(database(&other).status().last_error, None);
}

#[test]
fn each_database_has_a_place_of_its_own_by_its_name() {
    let lab = Lab::new();
    // Only the last part of a path is made: what is above it may be the place of a disk that is not mounted.
    std::fs::create_dir(lab.path("store")).unwrap();
    let url = format!("&vwal_storage={}/{{name}}", lab.url());
    for name in ["one.db", "two.db"] {
        let db = lab.open(name, &url).unwrap();
        db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
        assert_eq!(database(&db).status().storage, Some(format!("{}/{name}", lab.url())));
    }
}

#[test]
fn leaving_wal_mode_ships_the_rest_first() {
    let lab = Lab::new();
    let db = lab.open("app.db", "&vwal_ship_interval_ms=3600000").unwrap();
    db.execute_batch(
        "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync(); INSERT INTO t VALUES (2);",
    )
    .unwrap();
    let before = level_zero(&lab);
    db.execute_batch("PRAGMA journal_mode=DELETE").unwrap();
    assert_eq!(level_zero(&lab), before + 1);
    assert!(!lab.path("app.db-wal").exists());
}

#[test]
fn a_database_that_grew_outside_of_wal_mode_is_not_recognised_and_takes_its_place_when_it_is_told_to() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let log_id = database(&db).log_id();
    // New pages take the place of the footer, and the log is gone: nothing says any more what this database was.
    db.execute_batch("PRAGMA journal_mode=DELETE; INSERT INTO t VALUES (zeroblob(100000));").unwrap();
    drop(db);
    let before = lab.objects();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL").unwrap();
    let refused = database(&db);
    wait_for("the fence", || refused.fence().is_some());
    let why = refused.fence().unwrap().to_string();
    assert!(why.contains(&format!("vwal_take_over={log_id}")), "{why}");
    assert_eq!(lab.objects(), before);
    drop((refused, db));
    let db = lab.open("app.db", &format!("&vwal_take_over={log_id}")).unwrap();
    db.execute_batch("INSERT INTO t VALUES (2); SELECT vwal_sync();").unwrap();
    assert_eq!(database(&db).status().last_error, None);
}
