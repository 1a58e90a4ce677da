//! The lock that says which process owns a log.
//!
//! It is an `flock` on a file of its own: it does not collide with the `fcntl` locks that SQLite takes on the database,
//! and is not dropped when some other descriptor of the file is closed. The file holds the owner's pid and name, for the
//! message that the next process shows.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, FileOp, Result};

/// Descriptors of the locks that this process holds.
///
/// An `flock` belongs to the open file, which a forked child shares: the lock would stay until the child is gone too.
/// So the child closes these first of all (`ffi/fork.rs`), and the parent's lock is the parent's alone.
static DESCRIPTORS: [AtomicI32; 256] = [const { AtomicI32::new(-1) }; 256];

/// The descriptors of locks that a forked child has inherited; each is handed out once.
pub fn inherited_lock_descriptors() -> impl Iterator<Item = i32> {
    DESCRIPTORS.iter().map(|slot| slot.swap(-1, Ordering::Relaxed)).filter(|&descriptor| descriptor >= 0)
}

/// Who holds a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id, when the lock file tells.
    pub pid: Option<u32>,
    /// Name of the program, when the lock file tells.
    pub name: Option<String>,
}

impl Holder {
    fn parse(text: &str) -> Holder {
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.trim().parse().ok());
        let name = lines.next().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty());
        Holder { pid, name }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.name) {
            (Some(pid), Some(name)) => write!(f, "process {pid} ({name})"),
            (Some(pid), None) => write!(f, "process {pid}"),
            _ => write!(f, "another process"),
        }
    }
}

/// The lock, held until it is released or dropped. The bytes of the file can be locked one by one, too, each by one process; the kernel
/// drops those locks when the process ends, in any way.
pub struct LockFile {
    file: fs::File,
    path: PathBuf,
    slot: Option<&'static AtomicI32>,
    read_only: bool,
    released: AtomicBool,
}

/// The name of this process's program, as far as it is known.
pub fn this_program() -> String {
    let path = std::env::current_exe().ok();
    path.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
}

/// Lock or unlock a byte of a file, for the open file and not for the process: closing another descriptor of the file does not drop the
/// lock.
#[cfg(target_os = "linux")]
fn set_byte(file: &fs::File, byte: u64, kind: libc::c_int) -> nix::Result<libc::c_int> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte as libc::off_t,
        l_len: 1,
        // Has to be 0 for a lock of the open file (fcntl(2)).
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock))
}

/// Only Linux has such locks, and elsewhere those of the process may conflict with the `flock`, which keeps others away all the same.
#[cfg(not(target_os = "linux"))]
fn set_byte(_: &fs::File, _: u64, _: libc::c_int) -> nix::Result<libc::c_int> {
    Err(Errno::ENOTSUP)
}

impl LockFile {
    /// Take the lock in `file`, which `path` led to, or say who has it. `read_only`: it is not written to.
    pub(super) fn acquire(
        path: &Path,
        mut file: fs::File,
        read_only: bool,
    ) -> Result<Result<LockFile, Holder>> {
        let error = |error: std::io::Error| Error::io(FileOp::Lock, path, None, &error);
        let meta = file.metadata().map_err(error)?;
        if !meta.is_file() || meta.nlink() > 1 {
            // The owner's name is written into it, which must not happen to another file.
            let what = "the lock should be a regular file without other names (hard links); remove it when no process has the \
                        database open";
            return Err(Error::corrupt(path, None, what));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                // At most a line or two of ours; a hostile file is not read to its end.
                let mut text = String::new();
                let _ = (&mut file).take(512).read_to_string(&mut text);
                return Ok(Err(Holder::parse(&text)));
            }
            Err(fs::TryLockError::Error(failed)) => return Err(error(failed)),
        }
        // The owner before may have removed the directory (the database left WAL mode) between the open and the lock.
        let held = file.metadata().map_err(error)?;
        let named = fs::symlink_metadata(path).map_err(error)?;
        if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
            return Err(error(std::io::ErrorKind::NotFound.into()));
        }
        if !read_only {
            let text = format!("{}\n{}\n", std::process::id(), this_program());
            // Only for the message that others show: on a full disk the lock is as good without it.
            let _ =
                file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        }
        let descriptor = file.as_raw_fd();
        let slot = DESCRIPTORS
            .iter()
            .find(|slot| slot.compare_exchange(-1, descriptor, Ordering::Relaxed, Ordering::Relaxed).is_ok());
        let path = path.to_owned();
        Ok(Ok(LockFile { file, path, slot, read_only, released: AtomicBool::new(false) }))
    }

    /// Lock a byte of the file. False: another process has it locked. What this one has locked already, it gets again.
    pub fn lock_byte(&self, byte: u64) -> Result<bool> {
        match set_byte(&self.file, byte, libc::F_WRLCK) {
            // Where there are no such locks, this process is the only one that has the log open.
            Ok(_) | Err(Errno::ENOTSUP | Errno::ENOSYS | Errno::EINVAL) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(Error::io(FileOp::Lock, &self.path, Some(byte), &errno.into())),
        }
    }

    /// Give a byte of the file up.
    pub fn unlock_byte(&self, byte: u64) {
        // It cannot fail for a lock that is held; and if it did, the kernel would do it when the file is closed.
        let _ = set_byte(&self.file, byte, libc::F_UNLCK);
    }

    /// Give the lock up.
    pub fn release(&self) {
        if self.released.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(slot) = self.slot {
            slot.store(-1, Ordering::Relaxed);
        }
        if !self.read_only {
            // Nobody holds it any more; a stale name would only mislead.
            let _ = self.file.set_len(0);
        }
        // Closing is not enough: a child that is between fork and exec has the descriptor too, and with it the lock.
        let _ = self.file.unlock();
    }

    /// Take the lock at `path`, or say who has it.
    #[cfg(test)]
    pub(crate) fn acquire_at(path: &Path, read_only: bool, mode: u32) -> Result<Result<LockFile, Holder>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(!read_only)
            .create(!read_only)
            .truncate(false)
            .mode(mode)
            .open(path)
            .map_err(|error| Error::io(FileOp::Lock, path, None, &error))?;
        LockFile::acquire(path, file, read_only)
    }

    /// The file.
    pub(super) fn file(&self) -> &fs::File {
        &self.file
    }

    /// Who holds the lock at `path`, if anybody does. Takes nothing and changes nothing.
    pub fn holder(path: &Path) -> Result<Option<Holder>> {
        let error = |error: std::io::Error| Error::io(FileOp::Read, path, None, &error);
        let mut file = match fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)
        {
            Ok(file) => file,
            Err(failed) if failed.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(failed) => return Err(error(failed)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                (&mut file).take(512).read_to_string(&mut text).map_err(error)?;
                Ok(Some(Holder::parse(&text)))
            }
            Err(fs::TryLockError::Error(failed)) => Err(error(failed)),
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(LockFile::holder(&path).unwrap().is_none());
        let held = LockFile::acquire_at(&path, false, 0o600).unwrap().ok().unwrap();
        let holder = LockFile::acquire_at(&path, false, 0o600).unwrap().err().unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert_eq!(LockFile::holder(&path).unwrap(), Some(holder));
        drop(held);
        assert!(LockFile::holder(&path).unwrap().is_none());
        assert!(LockFile::acquire_at(&path, false, 0o600).unwrap().is_ok());
    }
}
