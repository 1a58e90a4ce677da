//! A database, and a directory or a faulty store for its storage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::memory::InMemory;
use rusqlite::Connection;
use vwal::{Database, Options};

use crate::faulty::{Counts, Faults, FaultyStore};

/// A database file and a directory for its storage.
pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Lab {
        vwal::register(Options::new()).expect("vwal can be registered");
        Lab { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.path("store").display())
    }

    /// Of two parameters with the same name the first one counts, so `params` come before the defaults here.
    pub fn open(&self, name: &str, params: &str) -> rusqlite::Result<Connection> {
        let path = self.path(name);
        Connection::open(format!(
            "file:{}?vfs=vwal{params}&vwal_storage={}&vwal_ship_interval_ms=50",
            path.display(),
            self.url()
        ))
    }

    /// Objects in storage, by name.
    pub fn objects(&self) -> Vec<String> {
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

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn database(db: &Connection) -> Database {
    Database::of(db, "main").expect("a virtual database")
}

/// A database whose storage is in memory, behind a store that can be made to fail.
pub struct FaultyLab {
    dir: tempfile::TempDir,
    name: String,
    pub store: Arc<FaultyStore>,
}

impl FaultyLab {
    /// `name` must be one that no other test has.
    pub fn new(name: &str) -> FaultyLab {
        vwal::register(Options::new()).expect("vwal can be registered");
        let store = FaultyStore::new(Arc::new(InMemory::new()), 1, Faults::NONE);
        vwal::storage::provide(name, Arc::clone(&store) as _);
        FaultyLab { dir: tempfile::tempdir().expect("a temporary directory"), name: name.to_owned(), store }
    }

    pub fn open(&self, params: &str) -> rusqlite::Result<Connection> {
        let path = self.dir.path().join("app.db");
        Connection::open(format!(
            "file:{}?vfs=vwal{params}&vwal_storage=memory://{}&vwal_ship_interval_ms=50",
            path.display(),
            self.name
        ))
    }

    /// How many requests there were, once there have been no more for a while.
    pub fn settled_counts(&self) -> Counts {
        let mut before = self.store.counts();
        loop {
            std::thread::sleep(Duration::from_millis(400));
            let counts = self.store.counts();
            if counts == before {
                return counts;
            }
            before = counts;
        }
    }
}
