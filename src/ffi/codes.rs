//! Errors as SQLite result codes (<https://sqlite.org/rescode.html>).

use std::ffi::c_int;

use libsqlite3_sys as sqlite;

use crate::error::{Error, FileOp};

impl Error {
    /// The result code that SQLite gets.
    pub(crate) fn sqlite_code(&self) -> c_int {
        match self {
            Error::Io { op: FileOp::Read, .. } => sqlite::SQLITE_IOERR_READ,
            Error::Io { op: FileOp::Write, .. } => sqlite::SQLITE_IOERR_WRITE,
            Error::Io { op: FileOp::Sync | FileOp::SyncDir, .. } => sqlite::SQLITE_IOERR_FSYNC,
            Error::Io {
                op: FileOp::Open | FileOp::Lock | FileOp::List | FileOp::CreateDir | FileOp::Map,
                ..
            } => sqlite::SQLITE_CANTOPEN,
            Error::Io { .. } => sqlite::SQLITE_IOERR,
            Error::Vfs { code, .. } => *code,
            Error::Corrupt { .. } => sqlite::SQLITE_CORRUPT,
            Error::Busy { .. } | Error::InUse { .. } | Error::Timeout(_) => sqlite::SQLITE_BUSY,
            Error::Full { .. } => sqlite::SQLITE_FULL,
            // SQLite makes SQLITE_NOMEM of it for the application, wherever a VFS returns it.
            Error::NoMemory { .. } => sqlite::SQLITE_IOERR_NOMEM,
            Error::ReadOnly { .. } => sqlite::SQLITE_READONLY,
            Error::Poisoned { .. } => sqlite::SQLITE_IOERR_FSYNC,
            Error::Foreign { .. } => sqlite::SQLITE_CANTOPEN,
            Error::Usage(_) | Error::NotVirtual(_) | Error::Register(_) => sqlite::SQLITE_ERROR,
            Error::Forked => sqlite::SQLITE_IOERR,
            Error::Storage { .. } | Error::NotStored { .. } => sqlite::SQLITE_IOERR,
            Error::DamagedObject { .. } => sqlite::SQLITE_CORRUPT,
            Error::NothingThere { .. } | Error::NotRestorable { .. } => sqlite::SQLITE_NOTFOUND,
            Error::Target { .. } => sqlite::SQLITE_CANTOPEN,
            Error::Fenced { .. } => sqlite::SQLITE_READONLY,
            Error::Backlog { .. } => sqlite::SQLITE_FULL,
        }
    }
}
