//! `status`, `verify` and `log` change nothing, whatever state a database is in: they run under strace, and the files are compared.
//!
//! Without strace the test says so and compares the files alone; with `CI` in the environment it fails instead.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;

use crate::run::{Application, command, database, log_dir, on};

/// System calls that change a file or a name.
const CHANGES: [&str; 29] = [
    "chmod",
    "chown",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "lchown",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknodat",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "symlinkat",
    "truncate",
    "unlink",
    "unlinkat",
    "write",
];

/// The lines of a trace that change something in `dir`, or open a file there so that it could be changed.
fn changes(trace: &str, dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("a path of text");
    let is_change = |line: &&str| {
        let call = line.split_once(' ').map_or(*line, |(_, call)| call.trim_start());
        let name = call.split('(').next().unwrap_or_default();
        let has = |flags: &[&str]| flags.iter().any(|flag| line.contains(flag));
        line.contains(dir)
            && (CHANGES.contains(&name)
                || name.starts_with("open") && has(&["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"])
                || name == "mmap" && has(&["PROT_WRITE"]) && has(&["MAP_SHARED"]))
    };
    trace.lines().filter(is_change).map(str::to_owned).collect()
}

/// What a subcommand on a database does to the files of `dir`. `None`: there is no strace.
fn traced(subcommand: &str, db: &Path, dir: &Path) -> Option<(i32, Vec<String>)> {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "256", "-o"])
        .arg(&trace)
        .arg(command().get_program())
        .args([OsStr::new("--json"), OsStr::new(subcommand), db.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) => {
            let trace = fs::read_to_string(trace).unwrap();
            assert!(trace.contains(db.to_str().unwrap()), "strace cannot trace: {status}");
            Some((status.code().expect("it ends"), changes(&trace, dir)))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "strace cannot be started: {error}");
            eprintln!("SKIPPED: strace cannot be started: {error}");
            None
        }
    }
}

/// Every file below `dir`, its bytes and when it was changed.
fn all(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>, std::time::SystemTime)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let changed = fs::symlink_metadata(&path).unwrap().modified().unwrap();
        match path.is_dir() {
            true => files.extend(all(&path)),
            false => files.push((path.clone(), Some(fs::read(&path).unwrap()), changed)),
        }
        files.push((path, None, changed));
    }
    files.sort();
    files
}

fn segments(db: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(log_dir(db)).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    names.sort();
    names
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Bytes before the first frame of a segment (docs/format.md).
const SEGMENT_HEAD: usize = 4096;
/// Bytes of a frame with a page of 4096 bytes.
const FRAME: usize = 56 + 4096;

/// A state of a database: its name, how it is made, and what `vwal verify` returns.
type State = (&'static str, fn(&Path), i32);

const STATES: [State; 10] = [
    ("in rollback mode", |_| (), 0),
    ("in WAL mode", |db| Connection::open(db).unwrap().execute_batch("PRAGMA journal_mode=WAL").unwrap(), 0),
    (
        "with a log of SQLite without vwal",
        |db| {
            let other = db.with_file_name("other.db");
            let conn = Connection::open(db).unwrap();
            conn.execute_batch("PRAGMA journal_mode=WAL; INSERT INTO t VALUES (4)").unwrap();
            let wal =
                |db: &Path| db.with_file_name(format!("{}-wal", db.file_name().unwrap().to_str().unwrap()));
            fs::copy(db, &other).unwrap();
            fs::copy(wal(db), wal(&other)).unwrap();
            drop(conn);
            fs::rename(&other, db).unwrap();
            fs::rename(wal(&other), wal(db)).unwrap();
        },
        0,
    ),
    ("closed", |db| assert_eq!(on("attach", db).code, 0), 0),
    ("killed", |db| Application::start(db).kill(), 0),
    (
        "killed, and behind its log a segment that has no head",
        |db| {
            Application::start(db).kill();
            fs::write(log_dir(db).join("00000000000000000900.seg"), [0; 9000]).unwrap();
            fs::write(log_dir(db).join("00000000000000000900.copy"), [0; 9000]).unwrap();
        },
        0,
    ),
    (
        "killed, with a torn tail",
        |db| {
            Application::start(db).kill();
            let last = segments(db).pop().unwrap();
            // Part of a frame after the last whole one, as a write that did not end leaves it.
            change(&last, |bytes| {
                let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
                let end = SEGMENT_HEAD + used.saturating_sub(SEGMENT_HEAD).next_multiple_of(FRAME);
                bytes.resize(bytes.len().max(end + FRAME), 0);
                bytes[end..end + 3000].fill(7);
            });
        },
        0,
    ),
    (
        "killed, and a sealed segment damaged",
        |db| {
            Application::start(db).kill();
            change(&segments(db)[0], |bytes| bytes[4096 + 500] ^= 1);
        },
        3,
    ),
    (
        "killed, and the database file emptied",
        |db| {
            Application::start(db).kill();
            fs::write(db, "").unwrap();
        },
        3,
    ),
    (
        "killed, and a segment gone",
        |db| {
            Application::start(db).kill();
            fs::remove_file(&segments(db)[0]).unwrap();
        },
        3,
    ),
];

#[test]
fn looking_changes_nothing() {
    for (state, make, code) in STATES {
        let temporary = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(temporary.path()).unwrap();
        let db = database(&dir, "app.db");
        make(&db);
        let before = all(&dir);
        for subcommand in ["status", "log", "verify"] {
            if let Some((found, changes)) = traced(subcommand, &db, &dir) {
                assert_eq!(changes, [""; 0], "{subcommand} of a database {state}");
                let expected = if subcommand == "verify" { code } else { found };
                assert_eq!(
                    found,
                    expected,
                    "{subcommand} of a database {state}: {}",
                    on(subcommand, &db).stdout
                );
            }
            let run = on(subcommand, &db);
            assert!([0, 3].contains(&run.code), "{subcommand} of a database {state}: {}", run.stderr);
            assert!(all(&dir) == before, "{subcommand} of a database {state} has changed files");
        }
    }
}

#[test]
fn a_command_that_changes_files_is_noticed() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(temporary.path()).unwrap();
    let db = database(&dir, "app.db");
    let Some((code, changes)) = traced("attach", &db, &dir) else { return };
    assert_eq!(code, 0);
    for call in ["openat", "mkdir", "pwrite64", "renameat", "fdatasync"] {
        assert!(changes.iter().any(|line| line.contains(call)), "no {call} in {changes:#?}");
    }
}

/// Its log would not be moved aside by an open, so that this is no reason to refuse one.
#[test]
fn whoever_holds_the_log_of_an_emptied_file_is_named() {
    let place = tempfile::tempdir().unwrap();
    let db = database(place.path(), "app.db");
    let application = Application::start(&db);
    fs::write(&db, "").unwrap();
    let told = on("detach", &db);
    assert_ne!(told.code, 0, "{}", told.stderr);
    assert!(told.stderr.contains(&format!("in use by process {}", application.pid())), "{}", told.stderr);
    application.kill();
}
