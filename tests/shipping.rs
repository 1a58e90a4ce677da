//! Shipping, seen from an application: what a database with storage does, and what is in storage afterwards.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use vwal::{Database, Options};

/// A database file and a directory for its storage.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        vwal::register(Options::new()).expect("vwal can be registered");
        Lab { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self) -> String {
        format!("file://{}", self.path("store").display())
    }

    fn open(&self, name: &str, params: &str) -> rusqlite::Result<Connection> {
        let path = self.path(name);
        Connection::open(format!(
            "file:{}?vfs=vwal&vwal_storage={}&vwal_ship_interval_ms=50{params}",
            path.display(),
            self.url()
        ))
    }

    /// Objects in storage, by name.
    fn objects(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.path("store"), &mut names);
        names.sort();
        names
    }
}

fn walk(dir: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), names);
        } else {
            names.push(entry.path().display().to_string());
        }
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn database(db: &Connection) -> Database {
    Database::of(db, "main").expect("a virtual database")
}

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
    wait_for("finding the place in storage", || database.durable_frame_no() > 0);
    assert_eq!(database.durable_frame_no(), last, "the last close shipped it");
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

#[test]
fn an_old_copy_is_fenced_off() {
    let lab = Lab::new();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync();").unwrap();
    drop(db);
    std::fs::copy(lab.path("app.db"), lab.path("copy.db")).unwrap();
    let db = lab.open("app.db", "").unwrap();
    db.execute_batch("INSERT INTO t VALUES (2); SELECT vwal_sync();").unwrap();
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
