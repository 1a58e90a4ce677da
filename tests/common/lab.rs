//! A directory with databases, opened through stock SQLite or through vwal: the same test runs on either.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Which of the two serves the databases of a [`Lab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite's own WAL.
    Stock,
    /// The VFS `vwal`.
    Vwal,
}

/// Registers vwal on the SQLite that is linked into the test, once.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| vwal::register(vwal::Options::new()).expect("vwal is registered"));
}

impl Engine {
    /// The URI of the database file `path`. `params` are further URI parameters: "mode=ro&cache=shared".
    pub fn uri(self, path: &Path, params: &str) -> String {
        register();
        let vfs = match self {
            Engine::Stock => "",
            Engine::Vwal => "vfs=vwal",
        };
        let all: Vec<&str> = [vfs, params].into_iter().filter(|text| !text.is_empty()).collect();
        let query = if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) };
        format!("file:{}{query}", percent(path.to_str().expect("a path of text")))
    }

    /// Opens `path` without waiting for locks.
    pub fn open(self, path: &Path, params: &str) -> rusqlite::Result<Connection> {
        open_uri(&self.uri(path, params))
    }
}

/// Opens a URI without waiting for locks.
pub fn open_uri(uri: &str) -> rusqlite::Result<Connection> {
    register();
    let connection = Connection::open_with_flags(uri, OpenFlags::default())?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

/// A path as it stands in a URI.
fn percent(path: &str) -> String {
    let mut out = String::new();
    for &byte in path.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A temporary directory and the engine that opens the databases in it.
pub struct Lab {
    /// Who serves the databases.
    pub engine: Engine,
    directory: tempfile::TempDir,
}

impl Lab {
    /// An empty directory.
    pub fn new(engine: Engine) -> Self {
        Lab { engine, directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// The file `name` in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The `-wal` beside the database `name`: a directory under vwal, a file under stock SQLite.
    pub fn wal(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}-wal"))
    }

    /// Opens the database `name`.
    pub fn open(&self, name: &str) -> Connection {
        self.open_with(name, "").unwrap_or_else(|error| panic!("{:?} opens {name}: {error}", self.engine))
    }

    /// Opens the database `name` with URI parameters.
    pub fn open_with(&self, name: &str, params: &str) -> rusqlite::Result<Connection> {
        self.engine.open(&self.path(name), params)
    }

    /// Opens the database `name` with stock SQLite, whatever the engine is.
    pub fn open_stock(&self, name: &str) -> rusqlite::Result<Connection> {
        Engine::Stock.open(&self.path(name), "")
    }

    /// Makes a database in WAL mode. `setup` runs before that: page size, auto_vacuum.
    pub fn create(&self, name: &str, setup: &str) -> Connection {
        let connection = self.open(name);
        connection.execute_batch(setup).expect("the set-up works");
        let mode: String = connection
            .query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
            .expect("WAL mode is possible");
        assert_eq!(mode, "wal", "{name} is in WAL mode");
        connection
    }

    /// Copies the database `from` and what lies in its `-wal` to `to`, as they are now: what a `kill -9` would leave.
    pub fn copy(&self, from: &str, to: &str) {
        copy_database(&self.path(from), &self.path(to));
    }
}

/// Copies a database file with its `-wal`, be that a file or a directory, to a name where nothing is yet.
pub fn copy_database(from: &Path, to: &Path) {
    let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    std::fs::copy(from, to).expect("the database file is copied");
    let (from, to) = (wal(from), wal(to));
    if from.is_dir() {
        std::fs::create_dir(&to).expect("the copy has no log yet");
        for entry in std::fs::read_dir(&from).expect("the log directory is read") {
            let entry = entry.expect("an entry of the log directory");
            match std::fs::copy(entry.path(), to.join(entry.file_name())) {
                Ok(_) => {}
                // A background thread recycled or removed it in between.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{:?} is not copied: {error}", entry.path()),
            }
        }
    } else if from.exists() {
        std::fs::copy(from, to).expect("the -wal is copied");
    }
}
