//! One process that has a database open, on one disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use super::golden::{self, Hashed};
use crate::db::Database;
use crate::io::SyncSite;
use crate::testing::faults::stored::Stored;
use crate::testing::io::mount::Mount;
use crate::testing::io::{Disks, Image, Node, TestIo};
use crate::testing::vfs;
use crate::wal::Wal;

/// The home of the database.
const HOME: &str = "/db";
/// The base file.
pub const BASE: &str = "/db/app.db";

/// How the database is used.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub page_size: u32,
    /// OFF, NORMAL, FULL or EXTRA.
    pub synchronous: &'static str,
    pub group_commit: bool,
    /// Frames in a segment.
    pub swap: u32,
    pub storage: bool,
    /// An fsync that is left out.
    pub without: Option<SyncSite>,
}

impl Config {
    /// Whether a commit that returned in WAL mode is durable.
    pub fn is_full(&self) -> bool {
        matches!(self.synchronous, "FULL" | "EXTRA")
    }

    /// The level for a time without vwal: with less than FULL, SQLite's rollback journal may not stand a power loss
    /// (<https://sqlite.org/pragma.html#pragma_synchronous>).
    pub fn synchronous_with_journal(&self) -> &'static str {
        if self.is_full() { self.synchronous } else { "FULL" }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-byte pages, {}, group commit {}, {} frames in a segment{}",
            self.page_size,
            self.synchronous,
            if self.group_commit { "on" } else { "off" },
            self.swap,
            if self.storage { ", storage" } else { "" }
        )
    }
}

/// See the module.
pub struct Machine {
    pub io: TestIo,
    pub config: Config,
    /// What storage it ships to.
    pub stored: Arc<Stored>,
    mount: Mount,
}

impl Machine {
    /// A new machine, with an empty disk.
    pub fn new(config: Config) -> Machine {
        let mut image = Image::default();
        image.names.insert(HOME.into(), Node::Directory);
        Machine::after(config, Disks::new(image), None)
    }

    /// A machine that finds a disk, and a storage.
    pub fn after(config: Config, disks: Disks, stored: Option<Arc<Stored>>) -> Machine {
        vfs::install();
        let io = TestIo::after(disks);
        if let Some(site) = config.without {
            io.skip_sync(site);
        }
        let stored = stored.unwrap_or_else(|| Stored::new(&io));
        Machine { mount: Mount::new(&io), io, config, stored }
    }

    /// What the power leaves of it, when only what was fsynced survives.
    pub fn crash_hard(&self) -> Machine {
        Machine::after(self.config, Disks::new(self.io.disks().crash_hard()), Some(Arc::clone(&self.stored)))
    }

    /// Open a connection through vwal.
    pub fn open(&self) -> rusqlite::Result<Connection> {
        let config = &self.config;
        let mut uri = format!(
            "file:{}?vwal_swap=frames%3E%3D{}&vwal_group_commit={}&vwal_queue_ms=0&vwal_checkpoint_age_ms=0",
            self.mount.path(Path::new(BASE)).display(),
            config.swap,
            if config.group_commit { "on" } else { "off" },
        );
        if config.storage {
            uri.push_str("&vwal_storage=memory://unused&vwal_close_timeout_ms=0&vwal_storage_timeout_ms=1");
        }
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI;
        let db = Connection::open_with_flags_and_vfs(uri, flags, c"vwal")?;
        db.busy_timeout(std::time::Duration::ZERO)?;
        db.execute_batch(&format!(
            "PRAGMA page_size={}; PRAGMA synchronous={}; PRAGMA cache_size=12; PRAGMA wal_autocheckpoint=0",
            config.page_size, config.synchronous
        ))?;
        Ok(db)
    }

    /// Open a connection that has nothing to do with vwal, and keeps the database to itself.
    pub fn open_stock(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let db = Connection::open_with_flags_and_vfs(self.mount.path(Path::new(BASE)), flags, c"vwal-sim")?;
        db.execute_batch(&format!(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size={}; PRAGMA synchronous={}",
            self.config.page_size,
            self.config.synchronous_with_journal()
        ))?;
        Ok(db)
    }

    /// Open the database and say which commit it holds, all of it.
    pub fn open_and_check(&self, hashes: &BTreeMap<u32, Hashed>) -> Result<(Connection, u32), String> {
        let db = self.open().map_err(|error| format!("it does not open: {error}"))?;
        let k = golden::check(&db, hashes)?;
        check_positions(&db)?;
        Ok((db, k))
    }
}

/// The positions of the log, if there is one, are in order.
pub fn check_positions(db: &Connection) -> Result<(), String> {
    virtual_database(db).map_or(Ok(()), |(_, wal)| wal.log().positions().check())
}

/// The handle of the virtual database, and its log; none while it is not virtual.
pub fn virtual_database(db: &Connection) -> Option<(Database, Arc<Wal>)> {
    let database = Database::of(db, "main").ok()?;
    let wal = Arc::clone(database.wal());
    Some((database, wal))
}
