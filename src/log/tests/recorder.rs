//! Files that note what is done to them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::Place;
use crate::error::{Error, FileOp, Result};
use crate::io::{File, Holder, Io, LockFile, OpenMode, PathKind, SyncSite, SystemIo};

/// The operations on names, in order; a failing directory fsync on demand.
pub(super) struct Recorder {
    inner: SystemIo,
    pub(super) done: Mutex<Vec<String>>,
    pub(super) fail_sync_dir: AtomicBool,
    /// What happens between the next listing of names and its answer.
    pub(super) after_list: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Recorder {
    pub(super) fn new(place: &Place) -> Arc<Recorder> {
        Arc::new(Recorder {
            inner: SystemIo::like(&place.database()),
            done: Mutex::default(),
            fail_sync_dir: AtomicBool::new(false),
            after_list: Mutex::default(),
        })
    }

    fn note(&self, op: &str, path: &Path) {
        self.done.lock().push(format!("{op} {}", path.file_name().unwrap().to_str().unwrap()));
    }

    /// The last time. Whether a directory can be removed is tried out before its files go.
    pub(super) fn at(&self, what: &str) -> usize {
        let done = self.done.lock();
        done.iter().rposition(|op| op == what).unwrap_or_else(|| panic!("no {what} in {done:#?}"))
    }

    /// Whether the directory was fsynced between two operations.
    pub(super) fn synced_between(&self, first: &str, second: &str) -> bool {
        let (first, second) = (self.at(first), self.at(second));
        first < second && self.done.lock()[first..second].iter().any(|op| op == "sync a.db-wal")
    }
}

impl Io for Recorder {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        self.inner.open(path, mode)
    }
    fn kind(&self, path: &Path) -> Result<PathKind> {
        self.inner.kind(path)
    }
    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        self.inner.identity(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let names = self.inner.list(path);
        let then = self.after_list.lock().take();
        if let Some(then) = then {
            then();
        }
        names
    }
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.inner.create_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.note("rmdir", path);
        self.inner.remove_dir(path)
    }
    fn remove_file(&self, path: &Path) -> Result<()> {
        self.note("remove", path);
        self.inner.remove_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.note("rename to", to);
        self.inner.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.note("rename new to", to);
        self.inner.rename_new(from, to)
    }
    fn sync_dir(&self, path: &Path, site: SyncSite) -> Result<()> {
        self.note("sync", path);
        if self.fail_sync_dir.load(Ordering::Relaxed) {
            return Err(Error::io(FileOp::SyncDir, path, None, &std::io::Error::from_raw_os_error(5)));
        }
        self.inner.sync_dir(path, site)
    }
    fn lock(&self, path: &Path, read_only: bool) -> Result<std::result::Result<LockFile, Holder>> {
        self.inner.lock(path, read_only)
    }
    fn now_us(&self) -> u64 {
        self.inner.now_us()
    }
    fn random_u64(&self) -> u64 {
        self.inner.random_u64()
    }
}
