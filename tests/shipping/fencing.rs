//! One log, one primary: who may not ship is told, and touches nothing.

use crate::faulty::Faults;
use crate::lab::{FaultyLab, Lab, database, wait_for};

/// `app.db`, open, after it has shipped `before`, was copied to `copy.db`, and has shipped `after`: the copy is old.
fn went_on_without_its_copy(lab: &Lab, before: &str, after: &str) -> rusqlite::Connection {
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch(before).unwrap();
    drop(db);
    std::fs::copy(lab.path("app.db"), lab.path("copy.db")).unwrap();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch(after).unwrap();
    db
}

#[test]
fn an_old_copy_is_fenced_off() {
    let lab = Lab::new();
    let db = went_on_without_its_copy(
        &lab,
        "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();",
        "INSERT INTO t VALUES (2); SELECT vwal_sync();",
    );
    let before = lab.objects();
    let copy = lab.open("copy.db", "").unwrap();
    let old = database(&copy);
    wait_for("the fence", || old.fence().is_some());
    let error = copy.execute_batch("INSERT INTO t VALUES (3);").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ReadOnly), "{error}");
    assert!(old.status().last_error.unwrap().contains("old copy"));
    let rows: i64 = copy.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "reading goes on");
    assert_eq!(lab.objects(), before, "nothing of the first one's was touched");
    db.execute_batch("INSERT INTO t VALUES (4); SELECT vwal_sync();").unwrap();
}

#[test]
fn a_snapshot_of_a_database_that_is_fenced_off_is_refused_and_not_waited_for() {
    let lab = Lab::new();
    let _db = went_on_without_its_copy(
        &lab,
        "CREATE TABLE t(x); SELECT vwal_sync();",
        "INSERT INTO t VALUES (1); SELECT vwal_sync();",
    );
    let other = lab.open("copy.db", "").unwrap();
    let fenced = database(&other);
    wait_for("the fence", || fenced.fence().is_some());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(fenced.snapshot()));
    let result = told.recv_timeout(std::time::Duration::from_secs(30)).expect("an answer");
    assert!(matches!(result, Err(vwal::Error::Fenced { .. })), "{result:?}");
}

#[test]
fn a_fence_is_told_for_as_long_as_it_stands() {
    let lab = Lab::new();
    let db = went_on_without_its_copy(
        &lab,
        "CREATE TABLE t(x); SELECT vwal_sync();",
        "INSERT INTO t VALUES (1); SELECT vwal_sync();",
    );
    let copy = lab.open("copy.db", "&vwal_fenced=local").unwrap();
    let old = database(&copy);
    wait_for("the fence", || old.fence().is_some());
    copy.execute_batch("INSERT INTO t VALUES (2); PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    assert_eq!(old.checkpoint().unwrap(), old.frame_no(), "the pass has nothing to wait for");
    assert!(old.status().last_error.is_some_and(|error| error.contains("old copy")));
    // No timeout is too long.
    assert!(database(&db).wait_durable(1, std::time::Duration::MAX).is_ok());
}

#[test]
fn a_listing_that_does_not_show_the_newest_objects_fences_nobody_off() {
    let lab = FaultyLab::new("stale");
    lab.store.set_faults(Faults { stale: 100, ..Faults::NONE });
    for round in 0..4 {
        let db = lab.open("").unwrap();
        db.execute_batch("CREATE TABLE IF NOT EXISTS t(x)").unwrap();
        for i in 0..4 {
            db.execute("INSERT INTO t VALUES (?1)", [round * 4 + i]).unwrap();
            db.execute_batch(
                "SELECT vwal_sync(); PRAGMA wal_checkpoint(TRUNCATE); SELECT vwal_checkpoint();",
            )
            .unwrap();
        }
        assert_eq!(database(&db).status().last_error, None);
        assert_eq!(database(&db).durable_frame_no(), database(&db).frame_no());
    }
}

#[test]
fn who_is_fenced_off_and_goes_on_locally_is_told_for_as_long_as_it_is_so() {
    let lab = Lab::new();
    let _db = went_on_without_its_copy(
        &lab,
        "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();",
        "INSERT INTO t VALUES (2); SELECT vwal_sync();",
    );
    let copy = lab.open("copy.db", "&vwal_fenced=local").unwrap();
    let old = database(&copy);
    wait_for("the fence", || old.fence().is_some());
    copy.execute_batch("INSERT INTO t VALUES (3);").unwrap();
    assert_eq!(old.checkpoint().unwrap(), old.frame_no(), "its checkpoints go on");
    assert_eq!(old.status().last_error, old.fence().map(|error| error.to_string()));
}

/// The old file, unlinked while it is open, goes on shipping; the new one has a log of its own.
#[test]
fn a_file_made_anew_does_not_ship_among_the_objects_of_the_one_before() {
    let lab = Lab::new();
    let old = lab.open("app.db", "").unwrap();
    old.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    let old_id = database(&old).status().log_id;
    std::fs::remove_file(lab.path("app.db")).unwrap();
    let new = lab.open("app.db", "").unwrap();
    new.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (2);").unwrap();
    let fenced = database(&new);
    assert_ne!(fenced.status().log_id, old_id);
    wait_for("the fence", || fenced.fence().is_some());
    let told = fenced.status().last_error.unwrap();
    assert!(told.contains(&format!("vwal_take_over={old_id}")), "{told}");
    old.execute_batch("INSERT INTO t VALUES (3); SELECT vwal_sync();").unwrap();
    drop((old, new, fenced));
    // The place of the old one can be taken.
    let new = lab.open("app.db", &format!("&vwal_take_over={old_id}")).unwrap();
    new.execute_batch("INSERT INTO t VALUES (4); SELECT vwal_sync();").unwrap();
    let rows: i64 = new.query_row("SELECT sum(x) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 6);
}
