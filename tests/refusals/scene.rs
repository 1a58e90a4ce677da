//! What the rows have in common: a place, the command, and SQLite's error log.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once};

use rusqlite::Connection;
use vwal::format::segment_header::{SEAL_OFFSET, SEAL_SIZE};

use crate::lab::{Engine, Lab};
use crate::text::query;

/// What a person got to hear.
#[derive(Debug)]
pub struct Told {
    /// SQLite's extended result code, or the exit code.
    pub code: i32,
    /// The message, or standard error.
    pub message: String,
    /// From `PRAGMA vwal_last_error`, where there was a connection to ask.
    pub last_error: String,
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

extern "C" fn write_log(_: *mut c_void, _code: c_int, message: *const c_char) {
    // SAFETY: SQLite passes a C string.
    let line = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    LOG.lock().expect("the log").push(line);
}

/// The lines of SQLite's error log, of all threads.
pub fn log() -> Vec<String> {
    LOG.lock().expect("the log").clone()
}

/// A directory for databases. The first one has SQLite's error log written down.
pub fn lab() -> Lab {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: before SQLite is used by anybody; the function lives for ever.
        let code = unsafe {
            libsqlite3_sys::sqlite3_config(
                libsqlite3_sys::SQLITE_CONFIG_LOG,
                write_log as extern "C" fn(*mut c_void, c_int, *const c_char),
                std::ptr::null_mut::<c_void>(),
            )
        };
        assert_eq!(code, libsqlite3_sys::SQLITE_OK);
    });
    Lab::new(Engine::Vwal)
}

/// What an open or a statement that fails tells.
pub fn told(error: &rusqlite::Error) -> Told {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(code, message) => (code.extended_code, message.clone()),
        other => panic!("not of SQLite: {other}"),
    };
    Told { code, message: message.unwrap_or_default(), last_error: String::new() }
}

/// What an open tells.
pub fn refused_open(opened: rusqlite::Result<Connection>) -> Told {
    told(&opened.map(drop).expect_err("the open is refused"))
}

/// What a statement tells, and `PRAGMA vwal_last_error` after it.
pub fn refused(db: &Connection, sql: &str) -> Told {
    let error = db.execute_batch(sql).expect_err(sql);
    Told { last_error: query(db, "PRAGMA vwal_last_error"), ..told(&error) }
}

/// What the command tells when it fails.
pub fn command(args: &[&dyn AsRef<OsStr>], environment: &[(&str, &str)]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vwal"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VWAL_")) {
        command.env_remove(name);
    }
    let output = command
        .args(args.iter().map(AsRef::as_ref))
        .envs(environment.iter().copied())
        .output()
        .expect("the command runs");
    Told {
        code: output.status.code().expect("ended by a signal"),
        message: String::from_utf8_lossy(&output.stderr).into_owned(),
        last_error: String::new(),
    }
}

/// `killed.db`: what the kill of a process leaves that has committed to its log.
pub fn killed(lab: &Lab, params: &str) -> PathBuf {
    let db = lab.open_with("a.db", params).expect("it opens");
    query(&db, "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
    for _ in 0..20 {
        query(&db, "INSERT INTO t VALUES (randomblob(3000))");
    }
    let seal = || {
        let head = std::fs::read(first_segment(&lab.wal("a.db"))).expect("a segment");
        head[SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE].to_vec()
    };
    while !params.is_empty() && seal().iter().all(|&byte| byte == 0) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    lab.copy("a.db", "killed.db");
    lab.path("killed.db")
}

/// `file://` of a directory in the lab.
pub fn url(lab: &Lab, name: &str) -> String {
    format!("file://{}", lab.path(name).display())
}

/// Flips a byte of the file.
pub fn spoil(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("it is read");
    bytes[at] ^= 0x55;
    std::fs::write(path, bytes).expect("it is written");
}

/// The first segment of a log.
pub fn first_segment(dir: &Path) -> PathBuf {
    let names = std::fs::read_dir(dir).expect("the log").map(|entry| entry.expect("an entry").path());
    names.filter(|path| path.extension().is_some_and(|end| end == "seg")).min().expect("a segment")
}
