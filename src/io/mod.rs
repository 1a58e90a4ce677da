//! Every file, clock and random number that vwal uses goes through here, so that faults can be put below everything.
//!
//! The base file is a [`File`] too, but not one that [`Io`] opens: it is reached through SQLite's own VFS, since closing
//! a second descriptor of it would drop the locks that SQLite holds on it
//! (<https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).

mod anchor;
mod lock;
mod sync_site;
mod system;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use lock::{Holder, LockFile, inherited_lock_descriptors, this_program};
pub use sync_site::SyncSite;
pub use system::{SystemIo, lower_priority};

use crate::error::{Error, FileOp, Result};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, a FIFO, a device, a socket.
    Other,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file for reading and writing, made when it is missing.
    Create,
}

/// An open file. Offsets and lengths are bytes.
pub trait File: Send + Sync {
    /// The path that errors name.
    fn path(&self) -> &Path;
    /// Read at `offset`; fewer bytes than asked for mean the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Write all of `buf` at `offset`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;
    /// Whether one call may read or write several pages. Below vwal may be a VFS that takes each call for one page.
    fn joins_pages(&self) -> bool {
        true
    }
    /// Cut the file off, or extend it with zeros.
    fn set_len(&self, len: u64) -> Result<()>;
    /// The size of the file.
    fn size(&self) -> Result<u64>;
    /// Make everything written, and the size, survive a power loss. `site`: what for.
    fn sync(&self, site: SyncSite) -> Result<()>;

    /// Map `len` bytes at `offset` of a file that is at least that long.
    fn map(&self, offset: u64, _len: usize) -> Result<Box<dyn Mapping>> {
        let error = std::io::Error::from(std::io::ErrorKind::Unsupported);
        Err(Error::io(FileOp::Map, self.path(), Some(offset), &error))
    }

    /// The first offset from `offset` on that is in no hole of the file; `None`: there is only a hole. In a simulation files
    /// have no holes.
    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok(Some(offset))
    }

    /// Whether `path` leads to this file. In a simulation nobody takes names away.
    fn is_named(&self, _path: &Path) -> bool {
        true
    }

    /// Whether the file has lost its last name: it ends when it is closed. False where that is not known.
    fn is_unlinked(&self) -> bool {
        false
    }

    /// Read as far as the file goes. A read that ends early although there is more is an error, and not taken for the end.
    fn read_to_end_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let got = self.read_at(buf, offset)?;
        if got < buf.len() && offset + (got as u64) < self.size()? {
            let short =
                std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "there is more, and it was not read");
            return Err(Error::io(FileOp::Read, self.path(), Some(offset + got as u64), &short));
        }
        Ok(got)
    }

    /// Read exactly `buf.len()` bytes; a shorter file is damage.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let got = self.read_to_end_at(buf, offset)?;
        if got == buf.len() {
            return Ok(());
        }
        Err(Error::corrupt(
            self.path(),
            offset,
            format!("the file ends after {got} of {} bytes that should be here", buf.len()),
        ))
    }
}

/// Memory shared with a file: one region of the wal-index.
pub trait Mapping: Send + Sync {
    /// The start of the region. It stays where it is until the mapping is dropped.
    fn pointer(&self) -> *mut u8;
}

/// Files, directories, time and randomness.
pub trait Io: Send + Sync {
    /// From now on a path in the directory `path` is the name of something in the directory that is there now, wherever that is moved.
    /// In a simulation nobody moves it.
    fn anchor(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
    /// Whether `path` leads to the directory that was [anchored](Io::anchor).
    fn leads_to_anchor(&self, _path: &Path) -> bool {
        true
    }
    /// Whether `path` leads to another directory than the one that was [anchored](Io::anchor), which is not empty.
    fn anchor_is_replaced(&self, _path: &Path) -> bool {
        false
    }
    /// Whether files can be made and renamed in the directory that was [anchored](Io::anchor): it is not removed, and this process may.
    fn anchor_takes_files(&self) -> bool {
        true
    }
    /// Whether the directory that was [anchored](Io::anchor) is removed, and not only renamed. In a simulation nobody removes it.
    fn anchor_is_removed(&self) -> bool {
        false
    }
    /// Make a file without a name, which ends when it is closed: for a directory that is removed. `path`: what errors call it.
    fn open_unnamed(&self, path: &Path) -> Result<Arc<dyn File>> {
        let error = std::io::Error::from(std::io::ErrorKind::Unsupported);
        Err(Error::io(FileOp::Open, path, None, &error))
    }
    /// Open a regular file; symbolic links are refused.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>>;
    /// What a path names, without following a symbolic link.
    fn kind(&self, path: &Path) -> Result<PathKind>;
    /// What tells a file from all others, by whichever path it is reached: device and inode.
    fn identity(&self, path: &Path) -> Result<(u64, u64)>;
    /// Names in a directory, unsorted.
    fn list(&self, path: &Path) -> Result<Vec<String>>;
    /// Make a directory. An existing one is an error.
    fn create_dir(&self, path: &Path) -> Result<()>;
    /// Remove an empty directory.
    fn remove_dir(&self, path: &Path) -> Result<()>;
    /// Remove a file.
    fn remove_file(&self, path: &Path) -> Result<()>;
    /// Rename a file, replacing what is there; or a directory, which replaces nothing but an empty one.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Rename a file. Something that is at `to` is not replaced, but an [`Error::Io`] of the kind `AlreadyExists`.
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()>;
    /// Make the names in a directory survive a power loss. `site`: what for.
    fn sync_dir(&self, path: &Path, site: SyncSite) -> Result<()>;
    /// Take the lock that says which process owns a log.
    fn lock(&self, path: &Path, read_only: bool) -> Result<Result<LockFile, Holder>>;
    /// Microseconds since 1970.
    fn now_us(&self) -> u64;
    /// A random number.
    fn random_u64(&self) -> u64;
    /// Whether the background tasks of a database run. In a simulation they do not: the test takes their steps.
    fn runs_threads(&self) -> bool {
        true
    }
}

/// The directory that holds the name `path`.
pub fn parent_dir(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
