//! The real thing: files and clock of the operating system.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom, openat, renameat, renameat_with, seek, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::anchor::{Anchor, place_of};
use super::{File, Holder, Io, LockFile, Mapping, OpenMode, PathKind, SyncSite};
use crate::error::{Error, FileOp, Result};

/// Files of the operating system. What it makes gets the mode and owner of the database, as SQLite does it for its own
/// -wal and -shm files (<https://sqlite.org/tempfiles.html>, `findCreateFileMode` in `os_unix.c`).
pub struct SystemIo {
    mode: u32,
    owner: Option<(u32, u32)>,
    /// The umask of the process counts.
    masked: bool,
    anchor: RwLock<Option<Arc<Anchor>>>,
}

impl SystemIo {
    fn new(mode: u32, owner: Option<(u32, u32)>, masked: bool) -> SystemIo {
        SystemIo { mode, owner, masked, anchor: RwLock::default() }
    }

    /// Files with the mode and owner of `database`; 0644 when there is no such file.
    pub fn like(database: &Path) -> SystemIo {
        match fs::metadata(database) {
            Ok(meta) => SystemIo::new(meta.mode() & 0o777, Some((meta.uid(), meta.gid())), false),
            Err(_) => SystemIo::new(0o644, None, false),
        }
    }

    /// Files as SQLite makes new databases: mode 0644, less what the umask forbids.
    pub fn masked() -> SystemIo {
        SystemIo::new(0o644, None, true)
    }

    /// Files that only this user may read (mode 0600), as the mode of the database that their pages are of is not known.
    pub fn private() -> SystemIo {
        SystemIo::new(0o600, None, true)
    }

    /// Mode and owner of something new, whatever the umask is. Only root may give files away, and then it must, or the
    /// database's own user could not open its log.
    fn adopt(&self, made: &fs::File, path: &Path, mode: u32) -> Result<()> {
        if self.masked {
            return Ok(());
        }
        let error = |error: std::io::Error| Error::io(FileOp::SetMode, path, None, &error);
        made.set_permissions(fs::Permissions::from_mode(mode)).map_err(error)?;
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        let meta = made.metadata().map_err(error)?;
        if (meta.uid(), meta.gid()) != (uid, gid) {
            // Not root: as in SQLite, the attempt is all that can be made.
            let _ = std::os::unix::fs::fchown(made, Some(uid), Some(gid));
        }
        Ok(())
    }

    /// Whoever owns the log directory, or may write in it, decides what the database holds. So that has to be somebody who may write
    /// to the database: in a directory where all may make files (`/tmp`), anybody can make one with the name of a log beforehand.
    fn check_owner(&self, anchor: &Anchor, path: &Path) -> Result<()> {
        let Some((owner, _)) = self.owner else { return Ok(()) };
        let meta = anchor.dir().metadata().map_err(|error| Error::io(FileOp::LookAt, path, None, &error))?;
        let me = rustix::process::geteuid().as_raw();
        if ![owner, me, 0].contains(&meta.uid()) {
            return Err(Error::corrupt(
                path,
                None,
                format!(
                    "the log directory belongs to user {}, the database to user {owner}: if it is right nevertheless, give it to that user",
                    meta.uid()
                ),
            ));
        }
        let excess = meta.mode() & 0o022 & !self.mode;
        if excess != 0 {
            return Err(Error::corrupt(
                path,
                None,
                format!(
                    "others may write in the log directory (mode {:o}) who may not write to the database (mode {:o}): give it the \
                     database's mode",
                    meta.mode() & 0o777,
                    self.mode
                ),
            ));
        }
        Ok(())
    }

    fn anchored(&self) -> Option<Arc<Anchor>> {
        self.anchor.read().clone()
    }

    fn open_file(&self, op: FileOp, path: &Path, flags: OFlags) -> Result<fs::File> {
        let anchor = self.anchored();
        let (from, name) = place_of(anchor.as_deref(), path);
        // NONBLOCK: opening a FIFO that somebody put here must not hang. It means nothing for a regular file.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(from, name, flags, Mode::from_raw_mode(self.mode))
            .map(fs::File::from)
            .map_err(|errno| Error::io(op, path, None, &errno.into()))
    }
}

impl Io for SystemIo {
    fn anchor(&self, path: &Path) -> Result<()> {
        let anchor = Anchor::open(path)?;
        self.check_owner(&anchor, path)?;
        *self.anchor.write() = Some(Arc::new(anchor));
        Ok(())
    }

    fn leads_to_anchor(&self, path: &Path) -> bool {
        self.anchored().is_none_or(|anchor| anchor.is_named(path))
    }

    fn anchor_is_replaced(&self, path: &Path) -> bool {
        !self.leads_to_anchor(path)
            && match fs::read_dir(path) {
                Ok(mut entries) => entries.next().is_some(),
                Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            }
    }

    fn anchor_takes_files(&self) -> bool {
        self.anchored().is_none_or(|anchor| anchor.takes_files())
    }

    fn anchor_is_removed(&self) -> bool {
        self.anchored().is_some_and(|anchor| anchor.is_removed())
    }

    fn open_unnamed(&self, path: &Path) -> Result<Arc<dyn File>> {
        let dir = std::env::temp_dir();
        let at = dir.join(format!("vwal-{:016x}", self.random_u64()));
        let error = |error: std::io::Error| Error::io(FileOp::Open, path, None, &error);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Pages of the database: for this user only, whatever the mode of the database.
        let file = rustix::fs::open(&at, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| {
            let why = std::io::Error::from(errno);
            error(std::io::Error::new(
                why.kind(),
                format!(
                    "its directory is removed, and no temporary file can be made in '{}': {why}",
                    dir.display()
                ),
            ))
        })?;
        let file = fs::File::from(file);
        fs::remove_file(&at).map_err(error)?;
        let meta = file.metadata().map_err(error)?;
        Ok(Arc::new(SystemFile { path: path.to_owned(), identity: (meta.dev(), meta.ino()), file }))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let error = |error: std::io::Error| Error::io(FileOp::Open, path, None, &error);
        let missing = mode == OpenMode::Create && self.kind(path)? == PathKind::Missing;
        let flags = if mode == OpenMode::Read { OFlags::RDONLY } else { OFlags::RDWR };
        let flags = if missing { flags | OFlags::CREATE } else { flags };
        let file = self.open_file(FileOp::Open, path, flags)?;
        let meta = file.metadata().map_err(error)?;
        if !meta.is_file() {
            return Err(Error::corrupt(path, None, "this should be a regular file, and is not"));
        }
        if missing {
            self.adopt(&file, path, self.mode)?;
        }
        Ok(Arc::new(SystemFile { path: path.to_owned(), identity: (meta.dev(), meta.ino()), file }))
    }

    fn kind(&self, path: &Path) -> Result<PathKind> {
        let anchor = self.anchored();
        let (from, name) = place_of(anchor.as_deref(), path);
        match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => PathKind::Directory,
                FileType::RegularFile => PathKind::File,
                _ => PathKind::Other,
            }),
            Err(Errno::NOENT) => Ok(PathKind::Missing),
            Err(errno) => Err(Error::io(FileOp::LookAt, path, None, &errno.into())),
        }
    }

    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        let meta = fs::metadata(path).map_err(|error| Error::io(FileOp::LookAt, path, None, &error))?;
        Ok((meta.dev(), meta.ino()))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let error = |error: std::io::Error| Error::io(FileOp::List, path, None, &error);
        let mut names = Vec::new();
        if let Some(anchor) = self.anchored().filter(|anchor| anchor.is_at(path)) {
            for entry in rustix::fs::Dir::read_from(anchor.dir()).map_err(|errno| error(errno.into()))? {
                let entry = entry.map_err(|errno| error(errno.into()))?;
                // A name that is not UTF-8 is not one of ours.
                if let Some(name) =
                    entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."))
                {
                    names.push(name.to_owned());
                }
            }
            return Ok(names);
        }
        for entry in fs::read_dir(path).map_err(error)? {
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
        self.adopt(Anchor::open(path)?.dir(), path, mode)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        fs::remove_dir(path).map_err(|error| Error::io(FileOp::RemoveDir, path, None, &error))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        let anchor = self.anchored();
        let (from, name) = place_of(anchor.as_deref(), path);
        unlinkat(from, name, AtFlags::empty())
            .map_err(|errno| Error::io(FileOp::Remove, path, None, &errno.into()))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let anchor = self.anchored();
        let ((old_dir, old), (new_dir, new)) =
            (place_of(anchor.as_deref(), from), place_of(anchor.as_deref(), to));
        renameat(old_dir, old, new_dir, new)
            .map_err(|errno| Error::io(FileOp::Rename, from, None, &errno.into()))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        let error = |error: std::io::Error| Error::io(FileOp::Rename, to, None, &error);
        let anchor = self.anchored();
        let ((old_dir, old), (new_dir, new)) =
            (place_of(anchor.as_deref(), from), place_of(anchor.as_deref(), to));
        match renameat_with(old_dir, old, new_dir, new, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Not every file system can do it, and a sandbox (seccomp) may forbid it, in one of two words. A link is not made
            // over an existing name either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM) => {
                rustix::fs::linkat(old_dir, old, new_dir, new, AtFlags::empty())
                    .map_err(|errno| error(errno.into()))?;
                self.remove_file(from)
            }
            Err(errno) => Err(error(errno.into())),
        }
    }

    fn sync_dir(&self, path: &Path, _: SyncSite) -> Result<()> {
        let synced =
            |dir: &fs::File| dir.sync_all().map_err(|error| Error::io(FileOp::SyncDir, path, None, &error));
        if let Some(anchor) = self.anchored().filter(|anchor| anchor.is_at(path)) {
            return synced(anchor.dir());
        }
        // A directory that cannot be opened has not been fsynced, and no fsync of it has failed.
        synced(&fs::File::open(path).map_err(|error| Error::io(FileOp::Open, path, None, &error))?)
    }

    fn lock(&self, path: &Path, read_only: bool) -> Result<Result<LockFile, Holder>> {
        let flags = if read_only { OFlags::RDONLY } else { OFlags::RDWR | OFlags::CREATE };
        let file = self.open_file(FileOp::Lock, path, flags)?;
        let lock = LockFile::acquire(path, file, read_only)?;
        if let (Ok(lock), false) = (&lock, read_only) {
            self.adopt(lock.file(), path, self.mode)?;
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

    fn map(&self, offset: u64, len: usize) -> Result<Box<dyn Mapping>> {
        memmap2::MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_raw(&self.file)
            .map(|map| Box::new(Mapped(map)) as Box<dyn Mapping>)
            .map_err(|error| Error::io(FileOp::Map, &self.path, Some(offset), &error))
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
