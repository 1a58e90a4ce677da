//! The Rust surface: `vwal::register`, `vwal::Database`.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use vwal::{Database, Error, Options, SegmentState};

fn open(path: &Path, params: &str) -> Connection {
    vwal::register(Options::new()).expect("vwal can be registered");
    Connection::open(format!("file:{}?vfs=vwal{params}", path.display())).expect("the database opens")
}

fn made(path: &Path, params: &str) -> (Connection, Database) {
    let db = open(path, params);
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); PRAGMA synchronous=NORMAL;").unwrap();
    let database = Database::of(&db, "main").expect("it is virtual");
    (db, database)
}

#[test]
fn numbers_move_with_commits_syncs_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let (db, database) = made(&dir.path().join("a.db"), "&vwal_sync_interval_ms=0");
    let before = database.frame_no();
    db.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    assert!(database.frame_no() > before);
    assert!(database.durable_frame_no() < database.frame_no(), "NORMAL does not fsync");
    assert_eq!(database.sync().unwrap(), database.frame_no());
    assert_eq!(database.durable_frame_no(), database.frame_no());
    assert!(database.checkpointed_frame_no() < database.frame_no());
    assert_eq!(database.checkpoint().unwrap(), database.frame_no());
    let status = database.status();
    assert_eq!(status.checkpointed_frame_no, database.frame_no());
    assert_eq!((status.segment_count, status.log_bytes), (0, 0), "a drained log is empty");
    assert!(database.segments().is_empty());
}

#[test]
fn wait_durable_waits_for_a_commit_and_makes_it_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (db, database) = made(&dir.path().join("a.db"), "&vwal_sync_interval_ms=0");
    let next = database.frame_no() + 1;
    let begun = Instant::now();
    assert!(matches!(database.wait_durable(next, Duration::from_millis(50)), Err(Error::Timeout(_))));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let waiter = {
        let database = database.clone();
        std::thread::spawn(move || database.wait_durable(next, Duration::from_secs(30)))
    };
    db.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    waiter.join().unwrap().expect("the commit is durable");
    assert!(database.durable_frame_no() >= next);
}

#[test]
fn segments_follow_each_other_and_the_last_one_is_current() {
    let dir = tempfile::tempdir().unwrap();
    let (db, database) = made(&dir.path().join("a.db"), "&vwal_swap=frames%3E%3D5");
    for i in 0..30 {
        db.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
    }
    let segments = database.segments();
    assert!(segments.len() >= 4, "{segments:?}");
    for pair in segments.windows(2) {
        assert_eq!(pair[0].end_frame_no + 1, pair[1].start_frame_no);
        assert_eq!(pair[0].state, SegmentState::Sealed);
        assert!(pair[0].end_frame_no + 1 - pair[0].start_frame_no >= 5);
    }
    let last = segments.last().unwrap();
    assert_eq!((last.state, last.end_frame_no), (SegmentState::Current, database.frame_no()));
}

#[test]
fn a_handle_that_outlives_its_connections_keeps_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let (db, kept) = made(&path, "");
    let frame_no = kept.frame_no();
    drop(db);
    let (db, again) = {
        let db = open(&path, "");
        db.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        let database = Database::of(&db, "main").unwrap();
        (db, database)
    };
    assert!(again.frame_no() > frame_no);
    assert_eq!(kept.frame_no(), frame_no, "the old handle is of the old log");
    drop((db, again));
    let db = open(&path, "");
    assert_eq!(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
}

#[test]
fn what_is_not_virtual_is_said_to_be_not() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("new.db"), "");
    assert!(matches!(Database::of(&db, "main"), Err(Error::NotVirtual(_))), "not before its first write");
    assert!(matches!(Database::of(&db, "no such schema"), Err(Error::NotVirtual(_))));
    let stock = Connection::open(dir.path().join("stock.db")).unwrap();
    stock.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x)").unwrap();
    assert!(matches!(Database::of(&stock, "main"), Err(Error::NotVirtual(_))));
}

#[test]
fn a_database_is_virtual_as_soon_as_its_first_transaction_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("new.db"), "");
    db.execute_batch("BEGIN; CREATE TABLE t(x)").unwrap();
    assert!(matches!(Database::of(&db, "main"), Err(Error::NotVirtual(_))), "nothing is committed");
    db.execute_batch("COMMIT").unwrap();
    let frame_no = Database::of(&db, "main").expect("it has a table").frame_no();
    db.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    assert!(Database::of(&db, "main").unwrap().frame_no() > frame_no);
}

#[test]
fn registering_twice_is_fine_but_not_with_other_options() {
    vwal::register(Options::new()).unwrap();
    vwal::register(Options::new()).unwrap();
    assert!(matches!(vwal::register(Options::new().group_commit(false)), Err(Error::Register(_))));
}

#[test]
fn a_small_log_reaches_the_base_file_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let (db, database) = made(&dir.path().join("a.db"), "&vwal_checkpoint_age_ms=20");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Far fewer frames than SQLite's automatic checkpoint waits for.
    while database.checkpointed_frame_no() < database.frame_no() {
        assert!(Instant::now() < deadline, "{:?}", database.status());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    // A snapshot is kept: what is committed behind it stays in the log.
    db.execute_batch("BEGIN; SELECT * FROM t;").unwrap();
    let writer = open(&dir.path().join("a.db"), "&vwal_checkpoint_age_ms=20");
    let snapshot = database.frame_no();
    writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        database.checkpointed_frame_no(),
        snapshot,
        "an open read transaction holds the base file back"
    );
    assert_eq!(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    db.execute_batch("COMMIT").unwrap();
    while database.checkpointed_frame_no() < database.frame_no() {
        assert!(Instant::now() < deadline, "{:?}", database.status());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
}

#[test]
#[ignore = "the work of a child process"]
fn registers_in_several_threads() {
    let barrier = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for at in 0..8 {
            let barrier = &barrier;
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                barrier.wait();
                vwal::register(Options::new()).expect("vwal can be registered");
                let db = open(&dir.path().join(format!("{at}.db")), "");
                db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").expect("a commit");
                Database::of(&db, "main").expect("it is virtual");
            });
        }
    });
}

#[test]
fn threads_that_register_at_the_same_moment_do_not_see_each_others_half() {
    for round in 0..100 {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "registers_in_several_threads", "--ignored"])
            .output()
            .unwrap();
        assert!(child.status.success(), "round {round}: {}", String::from_utf8_lossy(&child.stdout));
    }
}
