//! Files in memory under a path of their own, so that SQLite can open a database there by its name.
//!
//! Each [`Mount`] shows one [`TestIo`] below `/vwal-sim/<number>`: threads have as many disks as they like, side by side, and
//! what is on them does not tell which number they had.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{FileId, Node, TestIo};
use crate::error::Result;
use crate::io::{File, Holder, Io, LockFile, OpenMode, PathKind, SyncSite};

const ROOT: &str = "/vwal-sim/";

static MOUNTS: Mutex<BTreeMap<u64, Arc<Mounted>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The locks of SQLite on one file (<https://sqlite.org/lockingv3.html>).
#[derive(Default)]
pub struct FileLocks {
    pub shared: u32,
    pub reserved: bool,
    pub pending: bool,
    pub exclusive: bool,
}

/// Files in memory that have a path.
pub struct Mounted {
    number: u64,
    pub io: TestIo,
    /// By file.
    pub locks: Mutex<HashMap<FileId, FileLocks>>,
}

/// Keeps files in memory at their path. Dropping it takes them away.
pub struct Mount {
    mounted: Arc<Mounted>,
}

impl Mount {
    /// Give `io` a path.
    pub fn new(io: &TestIo) -> Mount {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mounted = Arc::new(Mounted { number, io: io.clone(), locks: Mutex::default() });
        MOUNTS.lock().insert(number, Arc::clone(&mounted));
        Mount { mounted }
    }

    /// The path by which everybody in this process finds `path`, an absolute one of the files in memory.
    pub fn path(&self, path: &Path) -> PathBuf {
        let mut full = format!("{ROOT}{}", self.mounted.number);
        full.push_str(path.to_str().expect("names of tests are text"));
        full.into()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        MOUNTS.lock().remove(&self.mounted.number);
    }
}

/// The files in memory that `path` leads to, and the path there; none for a path of the real file system.
pub fn find(path: &Path) -> Option<(Arc<Mounted>, PathBuf)> {
    let rest = path.to_str()?.strip_prefix(ROOT)?;
    let (number, _) = rest.split_once('/')?;
    let inner = Path::new(&rest[number.len()..]).to_owned();
    let mounted = MOUNTS.lock().get(&number.parse().ok()?).cloned()?;
    Some((mounted, inner))
}

/// The [`Io`] for a path below a mount.
pub fn io_for(path: &Path) -> Option<Arc<dyn Io>> {
    find(path).map(|(mounted, _)| Arc::new(MountedIo(mounted)) as Arc<dyn Io>)
}

struct MountedIo(Arc<Mounted>);

impl MountedIo {
    fn inner(&self, path: &Path) -> PathBuf {
        let prefix = format!("{ROOT}{}", self.0.number);
        let rest = path.to_str().and_then(|path| path.strip_prefix(&prefix));
        Path::new(rest.unwrap_or_else(|| panic!("'{}' is not below {prefix}", path.display()))).to_owned()
    }
}

impl Io for MountedIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        self.0.io.open(&self.inner(path), mode)
    }
    fn kind(&self, path: &Path) -> Result<PathKind> {
        self.0.io.kind(&self.inner(path))
    }
    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        let (_, file) = self.0.io.identity(&self.inner(path))?;
        // Each mount is a device of its own.
        Ok((u64::MAX - self.0.number, file))
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.0.io.list(&self.inner(path))
    }
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.0.io.create_dir(&self.inner(path))
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.0.io.remove_dir(&self.inner(path))
    }
    fn remove_file(&self, path: &Path) -> Result<()> {
        self.0.io.remove_file(&self.inner(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.io.rename(&self.inner(from), &self.inner(to))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.io.rename_new(&self.inner(from), &self.inner(to))
    }
    fn sync_dir(&self, path: &Path, site: SyncSite) -> Result<()> {
        self.0.io.sync_dir(&self.inner(path), site)
    }
    fn lock(&self, path: &Path, read_only: bool) -> Result<Result<LockFile, Holder>> {
        self.0.io.lock(&self.inner(path), read_only)
    }
    fn now_us(&self) -> u64 {
        self.0.io.now_us()
    }
    fn random_u64(&self) -> u64 {
        self.0.io.random_u64()
    }
    fn runs_threads(&self) -> bool {
        self.0.io.runs_threads()
    }
}

impl Mounted {
    /// The number of the file that has a name now.
    pub fn file_id(&self, path: &Path) -> Option<FileId> {
        match self.io.live_node(path)? {
            Node::File(id) => Some(id),
            Node::Directory => None,
        }
    }
}
