//! The error of every layer. Each variant says what happened, where, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong. [`Error::sqlite_code`](crate::ffi) maps each variant to an SQLite result code.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An operation on a file failed.
    #[error("{op} '{}' failed{}: {message}", path.display(), at(*offset))]
    Io {
        /// What was tried.
        op: FileOp,
        /// The file or directory.
        path: PathBuf,
        /// Byte offset in the file, where there is one.
        offset: Option<u64>,
        /// The kind of the system's error.
        kind: io::ErrorKind,
        /// The system's words.
        message: String,
    },
    /// The VFS below vwal refused an operation on the database file, and its result code says more than that it failed.
    #[error("{op} '{}' failed{}: SQLite's VFS says {code}", path.display(), at(*offset))]
    Vfs {
        /// What was tried.
        op: FileOp,
        /// The database.
        path: PathBuf,
        /// Byte offset in the file, where there is one.
        offset: Option<u64>,
        /// SQLite's result code, which SQLite gets again.
        code: i32,
    },
    /// Bytes on disk are not what was written there.
    #[error("'{}' is damaged{}: {what}", path.display(), at(*offset))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Byte offset in the file, where there is one.
        offset: Option<u64>,
        /// What was found, what was expected, and what can be done.
        what: String,
    },
    /// Another process has the database open, and this one and that one cannot share it.
    #[error("'{}' is in use by {holder}, which cannot share it; close it there and try again", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
        /// "process 4711 (python3)".
        holder: String,
    },
    /// Somebody else is using the database in a way that keeps vwal from taking it over.
    #[error("'{}' cannot be taken over now: {what}", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// Who or what is in the way.
        what: String,
    },
    /// The disk, a quota or a size limit is full. Nothing acknowledged is lost.
    #[error("no space left to {op} '{}'", path.display())]
    Full {
        /// What was tried.
        op: FileOp,
        /// The file.
        path: PathBuf,
    },
    /// The system has no memory. What was tried has not happened, and can be tried again.
    #[error("no memory for {what} ({bytes} bytes): try again when there is some")]
    NoMemory {
        /// What it was for.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
    },
    /// The log cannot be written: the directory or the file system is read-only.
    #[error("'{}' is read-only", path.display())]
    ReadOnly {
        /// The log directory or file.
        path: PathBuf,
    },
    /// An fsync failed earlier, so what the disk holds is unknown; or the log lost files that it needs. It accepts no commit
    /// until it is reopened.
    #[error("no commit can rely on '{}' since an earlier failure ({message}): close all connections to the database and open it again", path.display())]
    Poisoned {
        /// The file or directory that cannot be relied on.
        path: PathBuf,
        /// The system's words at the time.
        message: String,
    },
    /// The base file is not the one that the log continues.
    #[error("'{}' does not belong to its log: {what}", path.display())]
    Foreign {
        /// The base file.
        path: PathBuf,
        /// What differs, and what can be done.
        what: String,
    },
    /// An option or argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// The database is not virtual: it is not in WAL mode, or was not opened through the VFS `vwal`.
    #[error("{0} is not an open vwal database: open it with vfs=vwal, in WAL mode")]
    NotVirtual(String),
    /// The call came from a process that was forked off the one that opened the database.
    #[error(
        "this process was forked from one that has vwal databases open, and cannot use any: open them after the fork, or exec"
    )]
    Forked,
    /// A wait ended before its condition was met.
    #[error("timed out: {0}")]
    Timeout(String),
    /// An operation on object storage failed. Nothing local is lost by that.
    #[error("{op} '{object}' in storage failed: {message}")]
    Storage {
        /// What was tried: "put", "get", "list", ...
        op: &'static str,
        /// URL and key of the object.
        object: String,
        /// What can be done about it.
        kind: StorageErrorKind,
        /// The store's words, without secrets.
        message: String,
    },
    /// An object in storage is not what was put there, or is not vwal's.
    #[error("object '{object}' in storage is damaged{}: {what}", at(*offset))]
    DamagedObject {
        /// URL and key of the object.
        object: String,
        /// Byte offset in it, where there is one.
        offset: Option<u64>,
        /// What was found, and what was expected.
        what: String,
    },
    /// Storage belongs to another primary now, or to another database: nothing is shipped there.
    #[error("fenced off from '{url}': {what}")]
    Fenced {
        /// The storage.
        url: String,
        /// Who has it, and what can be done.
        what: String,
    },
    /// Storage does not have what was asked for.
    #[error("'{url}' {what}")]
    NothingThere {
        /// The storage.
        url: String,
        /// What is not there.
        what: String,
    },
    /// Storage has the log, but cannot give the state that was asked for.
    #[error("'{url}' {what}")]
    NotRestorable {
        /// The storage.
        url: String,
        /// What is missing, and what can be restored instead.
        what: String,
    },
    /// A database cannot be restored to this place.
    #[error("cannot restore to '{}': {what}", path.display())]
    Target {
        /// The file that was to be made.
        path: PathBuf,
        /// What is in the way, and what can be done.
        what: String,
    },
    /// Commits that storage does not have yet take up all the room they may.
    #[error(
        "'{}' has {bytes} bytes of commits that storage does not have yet, and vwal_backlog_size allows {limit}: {cause}", path.display()
    )]
    Backlog {
        /// The database.
        path: PathBuf,
        /// Bytes of frames that are not in storage.
        bytes: u64,
        /// The most there may be.
        limit: u64,
        /// Why storage does not get on, as far as it is known.
        cause: String,
    },
    /// A commit is on this disk, but storage has not confirmed it.
    #[error(
        "frame {frame_no} of '{}' is committed and on this disk, but storage does not have it after {waited_ms} ms: {cause}", path.display()
    )]
    NotStored {
        /// The database.
        path: PathBuf,
        /// The frame that was waited for.
        frame_no: u64,
        /// How long the wait might take.
        waited_ms: u64,
        /// Why storage does not get on, as far as it is known.
        cause: String,
    },
    /// The registration with SQLite failed.
    #[error("vwal cannot be registered: {0}")]
    Register(String),
}

/// What can be done about a failed operation on storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// It may work later: the network, a timeout, throttling, an error of the server.
    Unavailable,
    /// The credentials are missing, wrong, or not enough.
    Denied,
    /// The bucket, directory or object is not there.
    NotFound,
    /// The store cannot do what vwal needs, above all create-only writes.
    Unsuitable,
    /// Anything else: trying again will not help.
    Other,
}

/// What was tried with a file or a directory. Messages say it; result codes and the poison of a log depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileOp {
    /// Append a frame to a log that has as many as the page index can tell apart.
    Append,
    /// Make a directory.
    CreateDir,
    /// List a directory.
    List,
    /// Take a lock.
    Lock,
    /// Ask for size, kind or identity.
    LookAt,
    /// Map a file into memory.
    Map,
    /// Open a file, or a directory for its fsync.
    Open,
    /// Read bytes.
    Read,
    /// Remove a file.
    Remove,
    /// Remove a directory.
    RemoveDir,
    /// Give a file another name.
    Rename,
    /// Cut or extend a file.
    Resize,
    /// Set mode and owner of a new file.
    SetMode,
    /// Start a runtime for storage.
    StartRuntime,
    /// Start a thread for a database.
    StartThread,
    /// fsync a file.
    Sync,
    /// fsync a directory.
    SyncDir,
    /// Write bytes.
    Write,
}

impl FileOp {
    /// Whether it makes something durable.
    pub(crate) fn is_fsync(self) -> bool {
        matches!(self, FileOp::Sync | FileOp::SyncDir)
    }
}

impl fmt::Display for FileOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileOp::Append => "append to",
            FileOp::CreateDir => "create the directory",
            FileOp::List => "list",
            FileOp::Lock => "lock",
            FileOp::LookAt => "look at",
            FileOp::Map => "map",
            FileOp::Open => "open",
            FileOp::Read => "read",
            FileOp::Remove => "remove",
            FileOp::RemoveDir => "remove the directory",
            FileOp::Rename => "rename",
            FileOp::Resize => "resize",
            FileOp::SetMode => "set the mode of",
            FileOp::StartRuntime => "start a runtime for",
            FileOp::StartThread => "start a thread for",
            FileOp::Sync => "fsync",
            FileOp::SyncDir => "fsync the directory",
            FileOp::Write => "write",
        })
    }
}

fn at(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default()
}

/// The result of every layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error of an I/O operation; a full disk or quota becomes [`Error::Full`].
    pub fn io(op: FileOp, path: &Path, offset: Option<u64>, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::Full { op, path: path.to_owned() }
            }
            // An fsync that says so has failed as much as any other: some file systems become read-only after a bad write.
            io::ErrorKind::ReadOnlyFilesystem if !op.is_fsync() => Error::ReadOnly { path: path.to_owned() },
            kind => Error::Io { op, path: path.to_owned(), offset, kind, message: error.to_string() },
        }
    }

    /// Damage in `path` at `offset`.
    pub fn corrupt(path: &Path, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Error::Corrupt { path: path.to_owned(), offset: offset.into(), what: what.into() }
    }

    /// Whether an fsync was done, and failed: what it should have written may be lost, and a second one would not tell. An
    /// fsync that could not be tried at all (no descriptor, no space for a copy) is not one that failed.
    pub(crate) fn is_failed_fsync(&self) -> bool {
        matches!(self, Error::Io { op, .. } | Error::Full { op, .. } if op.is_fsync())
    }

    /// Whether the error says why storage does not get on.
    pub(crate) fn has_cause(&self) -> bool {
        matches!(self, Error::Backlog { .. } | Error::NotStored { .. })
    }

    /// Whether the error says that a file or directory does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { kind: io::ErrorKind::NotFound, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_file_and_offset() {
        let error = Error::corrupt(Path::new("x.db-wal/1.seg"), 4096, "frame 7 has checksum 1, expected 2");
        assert_eq!(
            error.to_string(),
            "'x.db-wal/1.seg' is damaged at offset 4096: frame 7 has checksum 1, expected 2"
        );
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Error::io(FileOp::Write, Path::new("a"), Some(1), &full), Error::Full { .. }));
    }
}
