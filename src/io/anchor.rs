//! The log directory by descriptor.
//!
//! A path leads elsewhere when a directory on it is renamed, and nowhere when it may not be searched any more. An open directory
//! stays the same one. So names in the log directory are looked up from its descriptor, wherever the directory is by now.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, open};
use rustix::io::Errno;

use crate::error::{Error, FileOp, Result};

/// An open directory, and the path at which it was when it was opened.
pub(super) struct Anchor {
    path: PathBuf,
    dir: fs::File,
    /// Device and inode.
    identity: (u64, u64),
}

impl Anchor {
    /// Open a directory; a symbolic link is refused.
    pub(super) fn open(path: &Path) -> Result<Anchor> {
        let error = |error: std::io::Error| Error::io(FileOp::Open, path, None, &error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = open(path, flags, Mode::empty()).map_err(|errno| error(errno.into()))?;
        let dir = fs::File::from(dir);
        let meta = dir.metadata().map_err(error)?;
        Ok(Anchor { path: path.to_owned(), identity: (meta.dev(), meta.ino()), dir })
    }

    /// The directory, when `path` is the one that it was opened by.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// The open directory.
    pub(super) fn dir(&self) -> &fs::File {
        &self.dir
    }

    /// Whether `path` leads to the directory now. Where it may not be looked at, nothing says that it does not.
    pub(super) fn is_named(&self, path: &Path) -> bool {
        match fs::symlink_metadata(path) {
            Ok(meta) => (meta.dev(), meta.ino()) == self.identity,
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    /// Whether it has no name any more. Where that cannot be told, it has one.
    pub(super) fn is_removed(&self) -> bool {
        self.dir.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Whether files can be made in it: it is not removed, and the process may.
    pub(super) fn takes_files(&self) -> bool {
        let may = accessat(&self.dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        // Where the question itself is not allowed, or not known, the answer is not "no".
        let is_refused = matches!(may, Err(Errno::ACCESS | Errno::NOENT | Errno::ROFS));
        !is_refused && self.dir.metadata().is_ok_and(|meta| meta.nlink() > 0)
    }

    /// The name of `path` in the directory, if it is one.
    fn name_of<'a>(&self, path: &'a Path) -> Option<&'a OsStr> {
        if path.parent()? == self.path { path.file_name() } else { None }
    }
}

/// From where to look up `path`, and as what.
pub(super) fn place_of<'a>(anchor: Option<&'a Anchor>, path: &'a Path) -> (BorrowedFd<'a>, &'a Path) {
    match anchor.and_then(|anchor| Some((anchor.dir.as_fd(), anchor.name_of(path)?))) {
        Some((dir, name)) => (dir, Path::new(name)),
        None => (CWD, path),
    }
}
