//! The real thing: files and clock of the operating system.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, SeekFrom, renameat_with, seek};
use rustix::io::Errno;

use super::{File, Holder, Io, LockFile, Mapping, OpenMode, PathKind, SyncSite};
use crate::error::{Error, FileOp, Result};

/// Files of the operating system. What it makes gets the mode and owner of the database, as SQLite does it for its own
/// -wal and -shm files (<https://sqlite.org/tempfiles.html>, `findCreateFileMode` in `os_unix.c`).
pub struct SystemIo {
    mode: u32,
    owner: Option<(u32, u32)>,
    /// The umask of the process counts.
    masked: bool,
}

impl SystemIo {
    /// Files with the mode and owner of `database`; 0644 when there is no such file.
    pub fn like(database: &Path) -> SystemIo {
        match fs::metadata(database) {
            Ok(meta) => {
                SystemIo { mode: meta.mode() & 0o777, owner: Some((meta.uid(), meta.gid())), masked: false }
            }
            Err(_) => SystemIo { mode: 0o644, owner: None, masked: false },
        }
    }

    /// Files as SQLite makes new databases: mode 0644, less what the umask forbids.
    pub fn masked() -> SystemIo {
        SystemIo { mode: 0o644, owner: None, masked: true }
    }

    /// Files that only this user may read (mode 0600), as the mode of the database that their pages are of is not known.
    pub fn private() -> SystemIo {
        SystemIo { mode: 0o600, owner: None, masked: true }
    }

    /// Mode and owner, whatever the umask is. Only root may give files away, and then it must, or the database's own
    /// user could not open its log.
    fn adopt(&self, path: &Path, mode: u32) -> Result<()> {
        if self.masked {
            return Ok(());
        }
        let error = |error: std::io::Error| Error::io(FileOp::SetMode, path, None, &error);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(error)?;
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        let made = fs::symlink_metadata(path).map_err(error)?;
        if (made.uid(), made.gid()) != (uid, gid) {
            // Not root: as in SQLite, the attempt is all that can be made.
            let _ = std::os::unix::fs::lchown(path, Some(uid), Some(gid));
        }
        Ok(())
    }
}

impl Io for SystemIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let error = |error: std::io::Error| Error::io(FileOp::Open, path, None, &error);
        let missing = mode == OpenMode::Create && self.kind(path)? == PathKind::Missing;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(mode != OpenMode::Read)
            .create(missing)
            // NONBLOCK: opening a FIFO that somebody put here must not hang. It means nothing for a regular file.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .mode(self.mode)
            .open(path)
            .map_err(error)?;
        let meta = file.metadata().map_err(error)?;
        if !meta.is_file() {
            return Err(Error::corrupt(path, None, "this should be a regular file, and is not"));
        }
        if missing {
            self.adopt(path, self.mode)?;
        }
        Ok(Arc::new(SystemFile { path: path.to_owned(), identity: (meta.dev(), meta.ino()), file }))
    }

    fn kind(&self, path: &Path) -> Result<PathKind> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(PathKind::Directory),
            Ok(meta) if meta.is_file() => Ok(PathKind::File),
            Ok(_) => Ok(PathKind::Other),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(PathKind::Missing),
            Err(error) => Err(Error::io(FileOp::LookAt, path, None, &error)),
        }
    }

    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        let meta = fs::metadata(path).map_err(|error| Error::io(FileOp::LookAt, path, None, &error))?;
        Ok((meta.dev(), meta.ino()))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let error = |error: std::io::Error| Error::io(FileOp::List, path, None, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(error)? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry.map_err(error)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        // Whoever may read or write the database may also enter the directory.
        let mode = self.mode | ((self.mode & 0o444) >> 2);
        fs::DirBuilder::new()
            .mode(mode)
            .create(path)
            .map_err(|error| Error::io(FileOp::CreateDir, path, None, &error))?;
        self.adopt(path, mode)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        fs::remove_dir(path).map_err(|error| Error::io(FileOp::RemoveDir, path, None, &error))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|error| Error::io(FileOp::Remove, path, None, &error))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|error| Error::io(FileOp::Rename, from, None, &error))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        let error = |error: std::io::Error| Error::io(FileOp::Rename, to, None, &error);
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Not every file system can do it, and a sandbox (seccomp) may forbid it, in one of two words. A link is not made
            // over an existing name either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {
                fs::hard_link(from, to).map_err(error)?;
                self.remove_file(from)
            }
            Err(errno) => Err(error(errno.into())),
        }
    }

    fn sync_dir(&self, path: &Path, _: SyncSite) -> Result<()> {
        // A directory that cannot be opened has not been fsynced, and no fsync of it has failed.
        let dir = fs::File::open(path).map_err(|error| Error::io(FileOp::Open, path, None, &error))?;
        dir.sync_all().map_err(|error| Error::io(FileOp::SyncDir, path, None, &error))
    }

    fn map(&self, path: &Path, offset: u64, len: usize) -> Result<Box<dyn Mapping>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path);
        let map = file.and_then(|file| memmap2::MmapOptions::new().offset(offset).len(len).map_raw(&file));
        map.map(|map| Box::new(Mapped(map)) as Box<dyn Mapping>)
            .map_err(|error| Error::io(FileOp::Map, path, Some(offset), &error))
    }

    fn lock(&self, path: &Path, read_only: bool) -> Result<Result<LockFile, Holder>> {
        let lock = LockFile::acquire(path, read_only, self.mode)?;
        if let (Ok(_), false) = (&lock, read_only) {
            self.adopt(path, self.mode)?;
        }
        Ok(lock)
    }

    fn now_us(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn random_u64(&self) -> u64 {
        // RandomState is seeded by the operating system, and differs with each instance.
        RandomState::new().hash_one(self.now_us())
    }
}

/// Let the other threads of the machine go first when this one and they want the processor. Where that cannot be asked for a
/// single thread, nothing changes.
pub fn lower_priority() {
    // Linux takes what is said of "this process" for the calling thread (setpriority(2), under BUGS).
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Between the usual 0 and the least, 19: a tenth of the processor when others want all of it.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

struct Mapped(memmap2::MmapRaw);

impl Mapping for Mapped {
    fn pointer(&self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
}

struct SystemFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    file: fs::File,
}

impl File for SystemFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            // Not every file system tells: then it is all taken for data.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(Some(offset)),
            Err(errno) => Err(Error::io(FileOp::LookAt, &self.path, Some(offset), &errno.into())),
        }
    }

    fn is_named(&self, path: &Path) -> bool {
        match fs::symlink_metadata(path) {
            Ok(meta) => (meta.dev(), meta.ino()) == self.identity,
            // A process that gave up privileges may not be allowed to look; that says nothing about the file.
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(FileOp::Read, &self.path, Some(offset), &error)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(buf, offset)
            .map_err(|error| Error::io(FileOp::Write, &self.path, Some(offset), &error))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|error| Error::io(FileOp::Resize, &self.path, Some(len), &error))
    }

    fn size(&self) -> Result<u64> {
        let meta =
            self.file.metadata().map_err(|error| Error::io(FileOp::LookAt, &self.path, None, &error))?;
        Ok(meta.len())
    }

    fn sync(&self, _: SyncSite) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io(FileOp::Sync, &self.path, None, &error))
    }
}
