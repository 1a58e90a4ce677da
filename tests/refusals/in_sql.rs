//! Each refusal that SQL can meet.

use std::fs;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::scene::{Told, first_segment, killed, lab, log, refused, refused_open, spoil, url};
use crate::table::{Heard, Place, ROWS};
use crate::text::query;

fn code(name: &str) -> i32 {
    use libsqlite3_sys as sqlite;
    match name {
        "SQLITE_OK" => sqlite::SQLITE_OK,
        "SQLITE_ERROR" => sqlite::SQLITE_ERROR,
        "SQLITE_BUSY" => sqlite::SQLITE_BUSY,
        "SQLITE_CANTOPEN" => sqlite::SQLITE_CANTOPEN,
        "SQLITE_CORRUPT" => sqlite::SQLITE_CORRUPT,
        "SQLITE_FULL" => sqlite::SQLITE_FULL,
        "SQLITE_IOERR" => sqlite::SQLITE_IOERR,
        "SQLITE_READONLY" => sqlite::SQLITE_READONLY,
        "SQLITE_READONLY_DBMOVED" => sqlite::SQLITE_READONLY_DBMOVED,
        other => panic!("which code is {other}?"),
    }
}

#[test]
fn each_is_told_where_the_table_says() {
    for row in ROWS {
        let Heard::Sql { code: name, place, words, provoke } = &row.sql else { continue };
        let before = log().len();
        let told = provoke();
        assert_eq!(told.code, code(name), "{}: {told:?}", row.name);
        let logged = log()[before..].iter().any(|line| line.contains(words));
        match place {
            Place::Message => assert!(told.message.contains(words), "{}: {told:?}", row.name),
            Place::LastError => assert!(told.last_error.contains(words), "{}: {told:?}", row.name),
            Place::Log => {}
        }
        assert!(logged, "{}: not in SQLite's error log", row.name);
    }
}

/// Another process has a database open that it cannot share, since it may not write to it.
pub fn held(lab: &Lab) -> Process {
    query(&lab.open("a.db"), "CREATE TABLE t(x)");
    let mut other = Process::start();
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "mode=ro&vwal_read_only=on");
    assert_eq!(other.open("x", &uri), "");
    assert_eq!(other.sql("x", "SELECT count(*) FROM t"), "0");
    other
}

pub fn another_process() -> Told {
    let lab = lab();
    let _other = held(&lab);
    refused_open(lab.open_with("a.db", ""))
}

pub fn another_process_has_the_attached() -> Told {
    let lab = lab();
    let _other = held(&lab);
    let db = lab.open("main.db");
    refused(&db, &format!("ATTACH '{}' AS b", Engine::Vwal.uri(&lab.path("a.db"), "")))
}

pub fn stock_in_wal_mode(lab: &Lab) -> Connection {
    let stock = lab.open_stock("a.db").expect("it opens");
    query(&stock, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
    stock
}

pub fn stock_has_it() -> Told {
    let lab = lab();
    let _stock = stock_in_wal_mode(&lab);
    refused_open(lab.open_with("a.db", ""))
}

pub fn stock_came() -> Told {
    let lab = lab();
    let db = lab.open("a.db");
    let _stock = stock_in_wal_mode(&lab);
    refused(&db, "SELECT * FROM sqlite_master")
}

/// Another database in the place of `killed.db`.
pub fn replace_killed(lab: &Lab) {
    killed(lab, "");
    let stock = lab.open_stock("other.db").expect("it opens");
    query(&stock, "PRAGMA journal_mode=WAL; CREATE TABLE other(x)");
    drop(stock);
    fs::rename(lab.path("other.db"), lab.path("killed.db")).expect("it is replaced");
}

pub fn foreign() -> Told {
    let lab = lab();
    replace_killed(&lab);
    refused_open(lab.open_with("killed.db", ""))
}

pub fn emptied() -> Told {
    let lab = lab();
    let _killed = killed(&lab, "");
    fs::write(lab.path("killed.db"), "").expect("an empty file");
    let db = lab.open("killed.db");
    assert_eq!(query(&db, "CREATE TABLE t(x); SELECT count(*) FROM t"), "0");
    Told { code: 0, message: String::new(), last_error: query(&db, "PRAGMA vwal_last_error") }
}

pub fn replaced() -> Told {
    let lab = lab();
    let db = lab.open("a.db");
    fs::remove_file(lab.path("a.db")).expect("it goes");
    let _other = lab.create("a.db", "CREATE TABLE t(x)");
    refused(&db, "SELECT * FROM sqlite_master")
}

/// The metadata of `killed.db` damaged in both slots.
pub fn damage_metadata(lab: &Lab) {
    let killed = killed(lab, "");
    let meta = lab.wal("killed.db").join("meta");
    let length = fs::metadata(&meta).expect("metadata").len();
    (0..length as usize).step_by(64).for_each(|at| spoil(&meta, at + 8));
    assert!(killed.is_file());
}

pub fn damaged_log() -> Told {
    let lab = lab();
    damage_metadata(&lab);
    refused_open(lab.open_with("killed.db", ""))
}

/// Frames of a complete segment of `killed.db` damaged.
pub fn damage_frames(lab: &Lab) {
    killed(lab, "vwal_swap=frames>=10");
    let segment = first_segment(&lab.wal("killed.db"));
    // Behind the head, and in front of the index.
    (4096 + 500..4096 * 8).step_by(1000).for_each(|at| spoil(&segment, at));
}

pub fn damaged_frame() -> Told {
    let lab = lab();
    damage_frames(&lab);
    let db = lab.open("killed.db");
    refused(&db, "SELECT max(x) FROM t")
}

/// A link where the log directory of a database in WAL mode belongs.
pub fn link_directory(lab: &Lab) {
    drop(stock_in_wal_mode(lab));
    std::os::unix::fs::symlink("elsewhere", lab.wal("a.db")).expect("a link");
}

pub fn linked_directory() -> Told {
    let lab = lab();
    link_directory(&lab);
    refused_open(lab.open_with("a.db", ""))
}

/// A database in WAL mode whose log directory would have a name that is too long.
pub fn name_too_long(lab: &Lab) -> String {
    drop(stock_in_wal_mode(lab));
    let name = "x".repeat(252);
    fs::rename(lab.path("a.db"), lab.path(&name)).expect("it is renamed");
    name
}

pub fn no_directory() -> Told {
    let lab = lab();
    let name = name_too_long(&lab);
    refused_open(lab.open_with(&name, ""))
}

pub fn wrong_option() -> Told {
    let lab = lab();
    refused_open(lab.open_with("a.db", "vwal_swap=often"))
}

pub fn other_options() -> Told {
    let lab = lab();
    let db = lab.open_with("a.db", "vwal_swap=frames>=10").expect("it opens");
    query(&db, "CREATE TABLE t(x); SELECT * FROM t");
    refused_open(lab.open_with("a.db", "vwal_swap=frames>=11"))
}

pub fn not_virtual() -> Told {
    let lab = lab();
    refused(&lab.open_stock("a.db").expect("it opens"), "SELECT vwal_sync()")
}

pub fn stranger() -> Told {
    let lab = lab();
    let db = lab.create("a.db", "CREATE TABLE t(x)");
    let stranger = lab.wal("a.db").join(".DS_Store");
    fs::write(&stranger, "not ours").expect("it is written");
    refused(&db, "PRAGMA journal_mode=DELETE")
}

pub fn directory_gone() -> Told {
    let lab = lab();
    let db = lab.create("a.db", "PRAGMA synchronous=FULL; CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    fs::remove_dir_all(lab.wal("a.db")).expect("it goes");
    refused(&db, "INSERT INTO t VALUES (2)")
}

/// A database whose storage has no place: an unmounted disk.
fn unshipped(lab: &Lab, params: &str) -> Connection {
    let storage = url(lab, "unmounted/store");
    let params = format!("vwal_storage={storage}&vwal_ship_interval_ms=10&vwal_close_timeout_ms=0&{params}");
    lab.open_with("a.db", &params).expect("it opens")
}

pub fn backlog() -> Told {
    let lab = lab();
    let db = unshipped(&lab, "vwal_backlog_size=256KiB");
    query(&db, "CREATE TABLE t(x)");
    let refused_at = (0..1000).find(|_| db.execute("INSERT INTO t VALUES (zeroblob(3000))", []).is_err());
    assert!(refused_at.is_some(), "there is a limit");
    refused(&db, "INSERT INTO t VALUES (0)")
}

fn wait_for_last_error(db: &Connection, words: &str) -> String {
    let started = Instant::now();
    loop {
        let said = query(db, "PRAGMA vwal_last_error");
        if said.contains(words) {
            return said;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "'{words}' is not in: {said}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn not_stored() -> Told {
    let lab = lab();
    let db = unshipped(&lab, "vwal_ack=remote&vwal_storage_timeout_ms=200");
    query(&db, "CREATE TABLE t(x)");
    refused(&db, "INSERT INTO t VALUES (0)")
}

pub fn not_stored_by_sync() -> Told {
    let lab = lab();
    let db = unshipped(&lab, "vwal_storage_timeout_ms=200");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (0)");
    refused(&db, "SELECT vwal_sync()")
}

/// `a.db` has shipped to the directory `store`, which is empty since: a mount point without its disk.
pub fn empty_storage(lab: &Lab) {
    let params = format!("vwal_storage={}&vwal_ship_interval_ms=10", url(lab, "store"));
    let db = lab.open_with("a.db", &params).expect("it opens");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync()");
    drop(db);
    fs::rename(lab.path("store"), lab.path("unmounted")).expect("it is renamed");
    fs::create_dir(lab.path("store")).expect("a directory");
}

pub fn storage_emptied() -> Told {
    let lab = lab();
    empty_storage(&lab);
    let params = format!("vwal_storage={}&vwal_storage_timeout_ms=2000", url(&lab, "store"));
    let db = lab.open_with("a.db", &params).expect("it opens");
    query(&db, "INSERT INTO t VALUES (2)");
    refused(&db, "SELECT vwal_sync()")
}

/// `copy.db` is an old copy of `a.db`, which has shipped since.
pub fn old_copy(lab: &Lab) {
    let params = format!("vwal_storage={}&vwal_ship_interval_ms=10", url(lab, "store"));
    let db = lab.open_with("a.db", &params).expect("it opens");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync()");
    drop(db);
    fs::copy(lab.path("a.db"), lab.path("copy.db")).expect("a copy");
    let db = lab.open_with("a.db", &params).expect("it opens");
    query(&db, "INSERT INTO t VALUES (2); SELECT vwal_sync()");
}

pub fn fenced() -> Told {
    let lab = lab();
    old_copy(&lab);
    let params = format!("vwal_storage={}&vwal_ship_interval_ms=10", url(&lab, "store"));
    let copy = lab.open_with("copy.db", &params).expect("it opens");
    wait_for_last_error(&copy, "fenced off from");
    refused(&copy, "INSERT INTO t VALUES (3)")
}

#[test]
fn a_refusal_is_told_until_its_reason_is_gone() {
    let lab = lab();
    let db = lab.create("a.db", "CREATE TABLE t(x)");
    let last_error = || query(&db, "SELECT coalesce(last_error, '') FROM vwal_status");
    let strangers = [".DS_Store", "notes.txt"].map(|name| lab.wal("a.db").join(name));
    for stranger in &strangers {
        fs::write(stranger, "not ours").expect("it is written");
    }
    let leave = || db.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get::<_, String>(0));
    leave().expect_err("they are in the way");
    query(&db, "INSERT INTO t VALUES (1)");
    assert!(last_error().contains("not a file of vwal"), "a commit has nothing to do with it");
    fs::remove_file(&strangers[0]).expect("it goes");
    assert!(last_error().contains("not a file of vwal"), "there is the other one");
    fs::remove_file(&strangers[1]).expect("it goes");
    assert_eq!(last_error(), "");
    assert_eq!(leave().expect("nothing is in the way"), "delete");
    assert_eq!(query(&db, "PRAGMA journal_mode=WAL; SELECT * FROM t"), "wal\n1");
    assert_eq!(last_error(), "");
}

#[test]
fn why_a_database_cannot_be_used_is_told_for_as_long_as_it_cannot() {
    let lab = lab();
    let db = lab.open("a.db");
    let stock = stock_in_wal_mode(&lab);
    db.execute_batch("SELECT * FROM sqlite_master").expect_err("stock SQLite has it");
    for pragma in ["PRAGMA vwal_last_error", "PRAGMA main.vwal_last_error"] {
        assert!(query(&db, pragma).contains("without vwal"), "{}", query(&db, pragma));
    }
    assert_eq!(query(&db, "PRAGMA temp.vwal_last_error"), "");
    drop(stock);
    query(&db, "INSERT INTO t VALUES (1)");
    assert_eq!(
        query(&db, "PRAGMA vwal_last_error; SELECT log_id IS NULL, last_error FROM vwal_status"),
        "\n0|NULL"
    );
}
