//! vwal: a virtual WAL for stock, unmodified SQLite.
//!
//! An application links this crate and calls [`register`] once; any other program loads the shared library as an SQLite
//! extension. From then on a database that is opened through the VFS `vwal` (`file:app.db?vfs=vwal`) commits into
//! append-only segments beside it, and the database file is only ever brought forward from segments that are durable.
//!
//! ```
//! use rusqlite::Connection;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("app.db");
//! vwal::register(vwal::Options::from_env()?)?;
//! let db = Connection::open(format!("file:{}?vfs=vwal", path.display()))?;
//! db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1);")?;
//!
//! let database = vwal::Database::of(&db, "main")?;
//! let frame_no = database.sync()?; // on disk now, whatever `PRAGMA synchronous` says
//! assert_eq!(frame_no, database.frame_no());
//! # Ok(())
//! # }
//! ```
//!
//! Modules, in the order in which they may use each other: `types`, `error`, `sync` → `memory`, `pool` → `options` → `format` → `io`, `storage` →
//! `shm`, `segment` → `cache`, `page_index` → `log` → `ship` → `restore` → `wal` → `db` → `ffi`. `docs/design.md` tells
//! the whole story.

mod cache;
mod db;
mod error;
mod ffi;
pub mod format;
pub mod io;
mod log;
mod memory;
mod options;
mod page_index;
mod pool;
pub mod restore;
pub mod segment;
pub mod ship;
mod shm;
pub mod storage;
mod sync;
#[cfg(any(test, fuzzing))]
mod testing;
mod types;
mod wal;

pub use db::{Database, SegmentInfo, Status, inspect};
pub use error::{Error, FileOp, Result, StorageErrorKind};
pub use ffi::{register, sqlite3_vwal_init};
pub use log::read_meta;
pub use options::{Ack, BacklogFull, Options, Retention, RetentionRule, SwapPolicy, WhenFenced};
pub use shm::Process;
#[cfg(fuzzing)]
pub use testing::fuzz;
pub use types::{CommitId, Level, LogId, PageSize, Parent, SegmentState};

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
