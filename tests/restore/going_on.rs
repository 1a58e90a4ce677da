//! A restored database lives on: in plain SQLite, and through vwal.

use std::fs;

use rusqlite::Connection;
use vwal::format::footer::{FOOTER_SIZE, Footer};
use vwal::restore::{Restore, Target};
use vwal::{Database, Options};

use crate::history::{History, block_on};
use crate::objects::Objects;
use crate::states::restore;

#[test]
fn vwal_goes_on_with_the_log() {
    let history = History::new(41, 20, 0);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), 41, 3, 1 << 20));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    restore(&objects.storage(), Target::Latest, &path).unwrap();
    vwal::register(Options::default().default_vfs(false)).unwrap();
    let last = history.states.last().unwrap().commit;
    {
        let db = Connection::open(format!("file:{}?vfs=vwal", path.display())).unwrap();
        db.query_row("SELECT count(*) FROM t", [], |_| Ok(())).unwrap();
        let database = Database::of(&db, "main").unwrap();
        assert_eq!((database.log_id(), database.frame_no()), (history.log_id, last.frame_no));
        db.execute_batch("CREATE TABLE more(x); INSERT INTO more VALUES (7)").unwrap();
        assert!(database.frame_no() > last.frame_no);
        let said: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(said, "ok");
    }
    let db = Connection::open(format!("file:{}?vfs=vwal", path.display())).unwrap();
    assert_eq!(db.query_row("SELECT x FROM more", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
}

#[test]
fn plain_sqlite_writes_to_it() {
    let history = History::new(42, 15, 0);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), 42, 3, 1 << 20));
    let dir = tempfile::tempdir().unwrap();
    for (number, state) in history.states.iter().enumerate() {
        let path = dir.path().join(format!("{number}.db"));
        restore(&objects.storage(), Target::Frame(state.commit.frame_no), &path).unwrap();
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE more(x); INSERT INTO more SELECT body FROM t; DELETE FROM t").unwrap();
        let said: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(said, "ok");
    }
}

#[test]
fn a_database_that_takes_over_says_from_whom() {
    let history = History::new(43, 15, 0);
    let objects = Objects::new();
    let storage = objects.storage();
    block_on(history.ship(&storage, 43, 3, 1 << 20));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let state = &history.states[7];
    let take_over = Restore::new(&"memory://unused".parse().unwrap())
        .target(Target::Frame(state.commit.frame_no))
        .take_over();
    let restored = block_on(take_over.run_from(&storage, &path, &mut |_| ())).unwrap();
    assert_ne!(restored.log_id, history.log_id);
    let bytes = fs::read(&path).unwrap();
    let footer = Footer::decode(&bytes[bytes.len() - FOOTER_SIZE..]).unwrap();
    let parent = footer.parent.unwrap();
    assert_eq!((footer.log_id, footer.frame_no), (restored.log_id, state.commit.frame_no));
    // It begins at an old state, but where the old log ends nobody else may go on.
    assert_eq!(
        (parent.log_id, parent.frame_no),
        (history.log_id, history.states.last().unwrap().commit.frame_no)
    );
}
