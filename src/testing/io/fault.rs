//! Which operations fail, and how.

use std::path::Path;

use crate::error::{Error, FileOp};

/// Kinds of operations, for [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Open,
    Read,
    Write,
    SetLen,
    Sync,
    Rename,
    Remove,
    CreateDir,
    SyncDir,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 9] = [
        Kind::Open,
        Kind::Read,
        Kind::Write,
        Kind::SetLen,
        Kind::Sync,
        Kind::Rename,
        Kind::Remove,
        Kind::CreateDir,
        Kind::SyncDir,
    ];
}

/// Operations that fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which ones.
    pub on: Kind,
    /// Only those whose path ends so.
    pub path: &'static str,
    /// How many of them succeed first.
    pub after: usize,
    /// How many of them fail then.
    pub times: usize,
    /// `errno`.
    pub error: i32,
    /// A write that fails has written this many bytes; a read that lies yields so many at most.
    pub part: usize,
    /// It says that it worked. An fsync that lies has made nothing durable, and no later one will.
    pub lies: bool,
}

impl Fault {
    /// All operations of a kind fail with `error` from now on.
    pub fn on(on: Kind, error: i32) -> Fault {
        Fault { on, path: "", after: 0, times: usize::MAX, error, part: 0, lies: false }
    }

    /// The error that is told.
    pub(super) fn told(&self, op: FileOp, path: &Path, offset: Option<u64>) -> Error {
        Error::io(op, path, offset, &std::io::Error::from_raw_os_error(self.error))
    }

    /// ... on a path that ends so.
    pub fn at(self, path: &'static str) -> Fault {
        Fault { path, ..self }
    }

    /// ... after so many that succeed.
    pub fn after(self, after: usize) -> Fault {
        Fault { after, ..self }
    }

    /// ... once.
    pub fn once(self) -> Fault {
        Fault { times: 1, ..self }
    }
}
