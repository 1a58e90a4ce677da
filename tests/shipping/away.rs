//! Storage in a directory that is renamed, removed, emptied, replaced or unmounted: nothing is acknowledged that a restore
//! lacks when the directory is back, and nothing is put into what took its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use vwal::restore::Restore;

use crate::lab::{Lab, database, wait_for};

const REMOTE: &str = "&vwal_ack=remote&vwal_storage_timeout_ms=300";

/// A database whose rows 1 to 3 storage has, and which is open.
fn shipped(lab: &Lab) -> Connection {
    let db = lab.open("app.db", "&vwal_ack=remote").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);").unwrap();
    drop(db);
    let db = lab.open("app.db", REMOTE).unwrap();
    let opened = database(&db);
    opened.sync().unwrap();
    acknowledged(&db, 3);
    db
}

/// A row that storage has when this returns. A first attempt may fail while the shipper looks what is there.
fn acknowledged(db: &Connection, row: i64) {
    if db.execute("INSERT INTO t VALUES (?1)", [row]).is_err() {
        wait_for("shipping goes on", || db.execute_batch("SELECT vwal_sync()").is_ok());
    }
    assert_eq!(database(db).durable_frame_no(), database(db).frame_no());
    assert_eq!(database(db).status().last_error, None, "storage has it");
}

/// A row that storage does not have, which both ways of asking for it say, with one of the words `why`.
fn refused(db: &Connection, row: i64, why: &[&str]) {
    let durable = database(db).durable_frame_no();
    let error = db.execute("INSERT INTO t VALUES (?1)", [row]).expect_err("storage is away");
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::SystemIoFailure), "{error}");
    // The shipper of a busy machine may not have come to it when the first one is refused.
    wait_for("the reason", || {
        let error = db.execute_batch("SELECT vwal_sync()").expect_err("storage is away").to_string();
        assert!(error.contains("storage does not have it"), "{error}");
        why.iter().any(|why| error.contains(why))
    });
    assert!(database(db).status().last_error.is_some_and(|said| said.contains("storage does not have it")));
    assert_eq!(database(db).durable_frame_no(), durable);
}

/// What is said of a directory that is not there: by the put that finds it so, and by the look that follows.
const NOT_THERE: &[&str] = &["is not there any more", "the directory is not there"];
/// What is said of another directory, or of one without the log.
const ANOTHER: &[&str] =
    &["another directory than the one", "was storage emptied?", "nothing of this log is there"];

/// What a default restore of the directory `store` gives: the rows.
fn restored(lab: &Lab, store: &str) -> Vec<i64> {
    let path = lab.path("restored.db");
    let _ = fs::remove_file(&path);
    let url = format!("file://{}", lab.path(store).display()).parse().unwrap();
    Restore::new(&url).run(&path, |_| ()).unwrap();
    let db = Connection::open(&path).unwrap();
    let mut rows = db.prepare("SELECT x FROM t ORDER BY x").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn rename(lab: &Lab, from: &str, to: &str) {
    fs::rename(lab.path(from), lab.path(to)).unwrap();
}

/// The directory is what a mount point is without its disk: empty.
fn unmount(lab: &Lab) {
    rename(lab, "store", "elsewhere");
    fs::create_dir(lab.path("store")).unwrap();
}

/// The directory that was there before [`unmount`]. Nothing may have been put into the empty one.
fn mount(lab: &Lab) {
    fs::remove_dir(lab.path("store")).unwrap();
    rename(lab, "elsewhere", "store");
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).unwrap().next().is_none()
}

#[test]
fn a_directory_that_is_renamed_away_and_back() {
    let lab = Lab::new();
    let db = shipped(&lab);
    rename(&lab, "store", "elsewhere");
    refused(&db, 4, NOT_THERE);
    assert!(!lab.path("store").exists(), "it was made again");
    rename(&lab, "elsewhere", "store");
    acknowledged(&db, 5);
    wait_for("the end of the error", || database(&db).status().last_error.is_none());
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_directory_in_whose_place_is_an_empty_one_for_a_while() {
    let lab = Lab::new();
    let db = shipped(&lab);
    unmount(&lab);
    refused(&db, 4, ANOTHER);
    // A snapshot is another thread's, and would make the empty directory look like the right one.
    database(&db).snapshot().expect_err("there is nowhere to put it");
    refused(&db, 5, ANOTHER);
    assert!(is_empty(&lab.path("store")), "{:?}", lab.objects());
    mount(&lab);
    acknowledged(&db, 6);
    database(&db).snapshot().expect("the keeper goes on");
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_directory_that_is_emptied_by_moving_everything_away_and_back() {
    let lab = Lab::new();
    let db = shipped(&lab);
    fs::create_dir(lab.path("elsewhere")).unwrap();
    let move_all = |from: &str, to: &str| {
        for entry in fs::read_dir(lab.path(from)).unwrap().map(Result::unwrap) {
            fs::rename(entry.path(), lab.path(to).join(entry.file_name())).unwrap();
        }
    };
    move_all("store", "elsewhere");
    refused(&db, 4, ANOTHER);
    assert!(is_empty(&lab.path("store")), "{:?}", lab.objects());
    move_all("elsewhere", "store");
    acknowledged(&db, 5);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

/// What a cleaner of old files leaves: directories.
#[test]
fn a_directory_whose_files_are_removed() {
    let lab = Lab::new();
    let db = shipped(&lab);
    copy(&lab, "store", "backup");
    names(&lab, "store").iter().for_each(|path| fs::remove_file(path).unwrap());
    let told = database(&db).snapshot().expect_err("the keeper puts nothing there either").to_string();
    assert!(told.contains("was storage emptied?"), "{told}");
    refused(&db, 4, ANOTHER);
    assert!(names(&lab, "store").is_empty());
    fs::remove_dir_all(lab.path("store")).unwrap();
    rename(&lab, "backup", "store");
    acknowledged(&db, 5);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_directory_is_remembered_when_another_one_was_used_since() {
    let lab = Lab::new();
    drop(shipped(&lab));
    let url = format!("file://{}", lab.path("other").display());
    let to_other = |row: i64| {
        let db = lab.open("app.db", &format!("{REMOTE}&vwal_storage={url}")).unwrap();
        acknowledged(&db, row);
    };
    to_other(4);
    // It has less than the other one, and is the right one all the same.
    let db = lab.open("app.db", REMOTE).unwrap();
    acknowledged(&db, 5);
    drop(db);
    to_other(6);
    unmount(&lab);
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 7, ANOTHER);
    assert!(is_empty(&lab.path("store")), "{:?}", lab.objects());
    mount(&lab);
    acknowledged(&db, 8);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_directory_that_comes_back_as_a_copy_of_itself() {
    let lab = Lab::new();
    let db = shipped(&lab);
    rename(&lab, "store", "elsewhere");
    refused(&db, 4, NOT_THERE);
    // Another inode, as another mount of the same disk may have another device: what is in it says that it is the one.
    copy(&lab, "elsewhere", "store");
    acknowledged(&db, 5);
    database(&db).snapshot().expect("the keeper goes on in this one, too");
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_directory_that_is_removed_is_begun_anew_only_when_that_is_said() {
    let lab = Lab::new();
    let db = shipped(&lab);
    fs::remove_dir_all(lab.path("store")).unwrap();
    refused(&db, 4, NOT_THERE);
    drop(db);
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 5, NOT_THERE);
    let log_id = database(&db).log_id();
    let way_out = format!("vwal_take_over={log_id}");
    let error = db.execute_batch("SELECT vwal_sync()").unwrap_err().to_string();
    assert!(error.contains(&way_out), "{error}");
    drop(db);
    assert!(!lab.path("store").exists(), "it was made again");
    let db = lab.open("app.db", &format!("{REMOTE}&{way_out}")).unwrap();
    acknowledged(&db, 6);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_directory_that_is_not_there_at_the_next_open() {
    let lab = Lab::new();
    drop(shipped(&lab));
    rename(&lab, "store", "elsewhere");
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 4, NOT_THERE);
    assert!(!lab.path("store").exists(), "it was made again");
    rename(&lab, "elsewhere", "store");
    acknowledged(&db, 5);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_mount_point_without_its_disk_at_the_next_open() {
    let lab = Lab::new();
    drop(shipped(&lab));
    unmount(&lab);
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 4, ANOTHER);
    assert!(is_empty(&lab.path("store")), "{:?}", lab.objects());
    mount(&lab);
    acknowledged(&db, 5);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

fn copy(lab: &Lab, from: &str, to: &str) {
    let copied = Command::new("cp").args(["-a"]).args([lab.path(from), lab.path(to)]).status();
    assert!(copied.expect("cp runs").success());
}

/// Everything in a directory of storage: the names.
fn names(lab: &Lab, store: &str) -> Vec<PathBuf> {
    let mut directories = vec![lab.path(store)];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_older_copy_of_the_directory_in_its_place() {
    let lab = Lab::new();
    let db = shipped(&lab);
    copy(&lab, "store", "older");
    acknowledged(&db, 4);
    let way_out = format!("vwal_take_over={}", database(&db).log_id());
    drop(db);
    rename(&lab, "store", "elsewhere");
    rename(&lab, "older", "store");
    let before = names(&lab, "store");
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 5, &["has an older copy of the directory its place?"]);
    let error = db.execute_batch("SELECT vwal_sync()").unwrap_err().to_string();
    assert!(error.contains(&way_out), "{error}");
    assert_eq!(names(&lab, "store"), before);
    rename(&lab, "store", "older");
    rename(&lab, "elsewhere", "store");
    acknowledged(&db, 6);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5, 6]);
    drop(db);
    rename(&lab, "store", "elsewhere");
    rename(&lab, "older", "store");
    let db = lab.open("app.db", &format!("{REMOTE}&{way_out}")).unwrap();
    acknowledged(&db, 7);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5, 6, 7]);
}

/// The directory of another database, which ships there.
#[test]
fn a_wrong_directory_with_a_live_log_in_it() {
    let lab = Lab::new();
    let db = shipped(&lab);
    drop(db);
    let elsewhere = format!("&vwal_storage=file://{}&vwal_ack=remote", lab.path("others").display());
    let other = lab.open("other.db", &elsewhere).unwrap();
    other.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
    drop(other);
    rename(&lab, "store", "elsewhere");
    rename(&lab, "others", "store");
    let before = names(&lab, "store");
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 4, ANOTHER);
    assert_eq!(names(&lab, "store"), before);
    rename(&lab, "store", "others");
    rename(&lab, "elsewhere", "store");
    acknowledged(&db, 5);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
}

/// A kill leaves what was noted before the first acknowledgement, and nothing else.
#[test]
fn the_first_acknowledgement_comes_after_the_note_of_where_it_is() {
    let lab = Lab::new();
    let db = lab.open("app.db", "&vwal_ack=remote").unwrap();
    db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);").unwrap();
    // As a killed process leaves it.
    copy(&lab, "app.db", "killed.db");
    copy(&lab, "app.db-wal", "killed.db-wal");
    drop(db);
    rename(&lab, "store", "elsewhere");
    let db = lab.open("killed.db", REMOTE).unwrap();
    refused(&db, 3, NOT_THERE);
    assert!(!lab.path("store").exists(), "it was made again");
}

#[test]
fn another_place_is_begun_without_a_question() {
    let lab = Lab::new();
    drop(shipped(&lab));
    let other = format!("&vwal_storage=file://{}&vwal_ack=remote", lab.path("other").display());
    let db = lab.open("app.db", &other).unwrap();
    acknowledged(&db, 4);
    assert_eq!(restored(&lab, "other"), [1, 2, 3, 4]);
}

#[test]
fn a_disk_that_is_unmounted_and_mounted_again() {
    let inside = Command::new("unshare")
        .args(["-rm", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "away::in_a_namespace_of_its_own", "--test-threads=1", "--nocapture"])
        .output();
    // What the system does not permit is said before the test begins.
    let said = match &inside {
        Ok(output) => {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => error.to_string(),
    };
    if !said.contains(MOUNTED) {
        eprintln!("SKIPPED: this system permits no mounts of an own: {said}");
        return;
    }
    assert!(inside.is_ok_and(|output| output.status.success()), "{said}");
}

const MOUNTED: &str = "the disk is mounted";

#[test]
#[ignore = "started by the test above, where it may mount"]
fn in_a_namespace_of_its_own() {
    let lab = Lab::new();
    let (disk, point) = (lab.path("disk"), lab.path("store"));
    for directory in [&disk, &point] {
        fs::create_dir(directory).unwrap();
    }
    let mount = || Command::new("mount").arg("--bind").args([&disk, &point]).status();
    assert!(mount().expect("mount runs").success());
    println!("{MOUNTED}");
    let unmount = || {
        // Nothing of vwal keeps the disk busy, but what it does at the moment.
        wait_for("unmounting", || {
            Command::new("umount").arg(&point).status().expect("umount runs").success()
        });
        assert!(is_empty(&point));
    };
    let db = shipped(&lab);
    unmount();
    refused(&db, 4, ANOTHER);
    assert!(is_empty(&point), "{:?}", lab.objects());
    assert!(mount().expect("mount runs").success());
    acknowledged(&db, 5);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5]);
    drop(db);
    unmount();
    let db = lab.open("app.db", REMOTE).unwrap();
    refused(&db, 6, ANOTHER);
    assert!(is_empty(&point), "{:?}", lab.objects());
    assert!(mount().expect("mount runs").success());
    acknowledged(&db, 7);
    assert_eq!(restored(&lab, "store"), [1, 2, 3, 4, 5, 6, 7]);
}
