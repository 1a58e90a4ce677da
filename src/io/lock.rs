//! The lock of a log: which processes have it open.
//!
//! It is an `flock` on a file of its own: it does not collide with the `fcntl` locks that SQLite takes on the database,
//! and is not dropped when some other descriptor of the file is closed. Processes share it that can tell each other apart: each of them
//! locks a byte of the file (`shm/processes.rs`). One that cannot has it alone: vwal 0.1, one that may not write, or on a system that has no
//! locks of open files. The file holds the pid and the name of the first process, for the message that another one shows.
//!
//! Byte 0 is the *door*: who has it locked comes or goes. So nobody joins a log that is just being closed, or recovers one that is just being opened.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, FileOp, Result};

/// The byte of the lock file that is the door.
const DOOR: u64 = 0;
/// The bytes that processes lock which have the log open.
const FIRST_MEMBER: u64 = 1;
const MEMBERS: u64 = 64;
/// Who comes or goes has the door for moments, or for as long as recovery or the last fsyncs take.
const DOOR_WAIT: Duration = Duration::from_secs(10);

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
    /// Other processes can have it, too.
    shared: AtomicBool,
    /// It was taken, and not only tried.
    owned: AtomicBool,
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

/// Whether another open file has a byte of a range locked. Nothing changes by that.
#[cfg(target_os = "linux")]
fn is_any_locked(file: &fs::File, first: u64, count: u64) -> bool {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: first as libc::off_t,
        l_len: count as libc::off_t,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)) {
        Ok(_) => lock.l_type != libc::F_UNLCK as libc::c_short,
        Err(Errno::ENOTSUP | Errno::ENOSYS | Errno::EINVAL) => false,
        // Where it cannot be told, a log is not taken for one that nobody has open.
        Err(_) => true,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_any_locked(_: &fs::File, _: u64, _: u64) -> bool {
    false
}

/// Only Linux has such locks, and elsewhere those of the process may conflict with the `flock`, which keeps others away all the same.
#[cfg(not(target_os = "linux"))]
fn set_byte(_: &fs::File, _: u64, _: libc::c_int) -> nix::Result<libc::c_int> {
    Err(Errno::ENOTSUP)
}

/// Lock the door. False: somebody else has it for all of `wait`.
fn close_door(file: &fs::File, wait: Duration) -> nix::Result<bool> {
    let until = Instant::now() + wait;
    let mut sleep = Duration::from_micros(50);
    loop {
        match set_byte(file, DOOR, libc::F_WRLCK) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() >= until => return Ok(false),
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(errno) => return Err(errno),
        }
        std::thread::sleep(sleep);
        sleep = (2 * sleep).min(Duration::from_millis(5));
    }
}

impl LockFile {
    /// Take the lock in `file`, which `path` led to, and close the door; or say who has it. `read_only`: it is not written to, and not shared.
    pub(super) fn acquire(path: &Path, file: fs::File, read_only: bool) -> Result<Result<LockFile, Holder>> {
        let error = |error: std::io::Error| Error::io(FileOp::Lock, path, None, &error);
        let meta = file.metadata().map_err(error)?;
        if !meta.is_file() || meta.nlink() > 1 {
            // The owner's name is written into it, which must not happen to another file.
            let what = "the lock should be a regular file without other names (hard links); remove it when no process has the \
                        database open";
            return Err(Error::corrupt(path, None, what));
        }
        // First of all: a child that is forked meanwhile closes it.
        let descriptor = file.as_raw_fd();
        let slot = DESCRIPTORS
            .iter()
            .find(|slot| slot.compare_exchange(-1, descriptor, Ordering::Relaxed, Ordering::Relaxed).is_ok());
        let lock = LockFile {
            file,
            path: path.to_owned(),
            slot,
            read_only,
            shared: AtomicBool::new(!read_only),
            owned: AtomicBool::new(false),
            released: AtomicBool::new(false),
        };
        let file = &lock.file;
        let blocked = |file: &fs::File| {
            // At most a line or two of ours; a hostile file is not read to its end.
            let mut text = String::new();
            let _ = { file }.take(512).read_to_string(&mut text);
            Ok(Err(Holder::parse(&text)))
        };
        if !read_only {
            // Before the `flock`, so that who waits here keeps nobody from having that alone.
            match close_door(file, DOOR_WAIT) {
                Ok(true) => {}
                Ok(false) => return blocked(file),
                // No process could be told from another.
                Err(Errno::ENOTSUP | Errno::ENOSYS | Errno::EINVAL) => {
                    lock.shared.store(false, Ordering::Relaxed)
                }
                Err(errno) => return Err(error(errno.into())),
            }
        }
        let is_shared = lock.shared.load(Ordering::Relaxed);
        match if is_shared { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return blocked(file),
            Err(fs::TryLockError::Error(failed)) => return Err(error(failed)),
        }
        // The owner before may have removed the directory (the database left WAL mode) between the open and the lock.
        let held = file.metadata().map_err(error)?;
        let named = fs::symlink_metadata(path).map_err(error)?;
        if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
            return Err(error(std::io::ErrorKind::NotFound.into()));
        }
        if !read_only && !is_any_locked(file, FIRST_MEMBER, MEMBERS) {
            let text = format!("{}\n{}\n", std::process::id(), this_program());
            // Only for the message that others show: on a full disk the lock is as good without it.
            let mut write = file;
            let _ =
                file.set_len(0).and_then(|()| write.rewind()).and_then(|()| write.write_all(text.as_bytes()));
        }
        lock.owned.store(true, Ordering::Relaxed);
        Ok(Ok(lock))
    }

    /// Whether another process has the log open, too.
    pub fn has_others(&self) -> bool {
        self.shared.load(Ordering::Relaxed) && is_any_locked(&self.file, FIRST_MEMBER, MEMBERS)
    }

    /// Have the lock alone, although this process could share it. The door is closed, and there is no other process.
    ///
    /// Errors: vwal 0.1 has just taken it.
    pub fn make_exclusive(&self) -> Result<()> {
        if !self.shared.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let locked = self.file.try_lock().map_err(std::io::Error::from);
        self.unlock_byte(DOOR);
        locked.map_err(|error| Error::io(FileOp::Lock, &self.path, None, &error))
    }

    /// Nobody comes or goes until [`LockFile::open_door`]. False: somebody else has the door, and does not give it up.
    pub fn close_door(&self) -> Result<bool> {
        if !self.shared.load(Ordering::Relaxed) {
            return Ok(true);
        }
        close_door(&self.file, DOOR_WAIT)
            .map_err(|errno| Error::io(FileOp::Lock, &self.path, Some(DOOR), &errno.into()))
    }

    /// Others may come and go again.
    pub fn open_door(&self) {
        if self.shared.load(Ordering::Relaxed) {
            self.unlock_byte(DOOR);
        }
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
        if !self.read_only && self.owned.load(Ordering::Relaxed) && !self.has_others() {
            // Nobody holds it any more; a stale name would only mislead.
            let _ = self.file.set_len(0);
        }
        // Closing is not enough: a child that is between fork and exec has the descriptor too, and with it the locks.
        self.open_door();
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

    /// Who holds the lock at `path`, if anybody does: of several processes one. Takes nothing and changes nothing.
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
            Ok(()) if !is_any_locked(&file, DOOR, MEMBERS + 1) => Ok(None),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => {
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
