//! Files in memory, for tests: every operation is recorded, any of them can be made to fail, and the trace tells what the
//! disk may hold after a power loss at any moment (`testing/disk.rs`).

mod disk;
mod fault;
mod file;
mod image;
mod lock_dir;
pub mod mount;
mod random;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub use disk::{Disks, Fate, Mark, ObjectId, Op, Record};
pub use fault::{Fault, Kind};
use file::TestFile;
pub use image::{Content, FileId, Image, Node};
use lock_dir::LockDir;
pub use random::splitmix;

use crate::error::{Error, FileOp, Result};
use crate::io::{File, Holder, Io, LockFile, OpenMode, PathKind, SyncSite};
use crate::sync::{Condvar, Mutex};

struct State {
    live: Image,
    next_id: FileId,
    trace: Vec<Record>,
    faults: Vec<Fault>,
    /// Fsyncs that are left out.
    skipped: BTreeSet<SyncSite>,
    /// Operations so far, and how many of them failed.
    done: BTreeMap<Kind, usize>,
    failed: usize,
    /// Bytes read so far.
    read: u64,
    clock: u64,
    random: u64,
    /// Fsyncs wait here.
    hold: bool,
    /// How many fsyncs wait.
    held: usize,
}

struct Inner {
    start: Disks,
    state: Mutex<State>,
    changed: Condvar,
    /// The lock that says who owns a log is a real one.
    lock_dir: LockDir,
}

/// See the module. Clones are the same file system.
#[derive(Clone)]
pub struct TestIo {
    inner: Arc<Inner>,
}

impl TestIo {
    /// The files as a program sees them when the one before it was killed: nothing is lost yet, and what was not durable
    /// still is not.
    pub fn after(disks: Disks) -> TestIo {
        let live = disks.crash(|_| Fate::Kept);
        let random = live.hash();
        let state = State {
            next_id: disks.next_id(),
            live,
            trace: Vec::new(),
            faults: Vec::new(),
            skipped: BTreeSet::new(),
            done: BTreeMap::new(),
            failed: 0,
            read: 0,
            clock: 1_700_000_000_000_000,
            // The same disk gives the same run, and another one gives other log ids and salts.
            random,
            hold: false,
            held: 0,
        };
        TestIo {
            inner: Arc::new(Inner {
                start: disks,
                state: Mutex::new(state),
                changed: Condvar::new(),
                lock_dir: LockDir::new(),
            }),
        }
    }

    /// Everything that was done so far.
    pub fn trace(&self) -> Vec<Record> {
        self.inner.state.lock().trace.clone()
    }

    /// How many things were done so far.
    pub fn operations(&self) -> usize {
        self.inner.state.lock().trace.len()
    }

    /// How many operations of a kind were tried so far.
    pub fn tried(&self, kind: Kind) -> usize {
        self.inner.state.lock().done.get(&kind).copied().unwrap_or(0)
    }

    /// How many operations failed so far.
    pub fn failed(&self) -> usize {
        self.inner.state.lock().failed
    }

    /// How many bytes of files were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.inner.state.lock().read
    }

    /// What the disk could hold at the start.
    pub fn start(&self) -> Disks {
        self.inner.start.clone()
    }

    /// What a program sees now.
    pub fn live(&self) -> Image {
        self.inner.state.lock().live.clone()
    }

    /// What the disk may hold now.
    pub fn disks(&self) -> Disks {
        let mut disks = self.start();
        for record in &self.inner.state.lock().trace {
            disks.apply(record);
        }
        disks
    }

    /// Note something in the trace.
    pub fn mark(&self, mark: Mark) {
        self.inner.state.lock().trace.push(Record { op: Op::Mark(mark), failed: false });
    }

    /// Let operations fail.
    pub fn fail(&self, fault: Fault) {
        self.inner.state.lock().faults.push(fault);
    }

    /// Leave out an fsync from now on, as if its line were missing in the program: nothing happens, and it succeeds.
    pub fn skip_sync(&self, site: SyncSite) {
        self.inner.state.lock().skipped.insert(site);
    }

    /// Everything works again.
    pub fn heal(&self) {
        self.inner.state.lock().faults.clear();
    }

    /// The clock is set, by somebody or by a server of time.
    pub fn set_clock(&self, us: u64) {
        self.inner.state.lock().clock = us;
    }

    /// Do something, a check for instance, to which no fault applies.
    pub fn unharmed<T>(&self, act: impl FnOnce() -> T) -> T {
        let faults = std::mem::take(&mut self.inner.state.lock().faults);
        let result = act();
        self.inner.state.lock().faults = faults;
        result
    }

    /// Flip bits of a byte behind the program's back.
    pub fn flip(&self, path: &Path, offset: u64, bits: u8) {
        let mut state = self.inner.state.lock();
        let Some(&Node::File(id)) = state.live.names.get(path) else {
            panic!("'{}' is not a file", path.display());
        };
        let content = state.content(id);
        let byte = content.data[offset as usize] ^ bits;
        content.write(offset, &[byte]);
    }

    /// The files as they are now, with one of them changed behind the program's back.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Image {
        let mut image = self.live();
        let mut data = image.read(path).expect("there is such a file").to_vec();
        change(&mut data);
        image.put(path, data);
        image
    }

    /// Fsyncs wait from now on, until [`TestIo::release_syncs`].
    pub fn hold_syncs(&self) {
        self.inner.state.lock().hold = true;
    }

    /// Wait until so many fsyncs wait.
    pub fn wait_for_held_syncs(&self, count: usize) {
        let mut state = self.inner.state.lock();
        while state.held < count {
            self.inner.changed.wait(&mut state);
        }
    }

    /// Fsyncs go on.
    pub fn release_syncs(&self) {
        self.inner.state.lock().hold = false;
        self.inner.changed.notify_all();
    }

    /// An open file, for the base file.
    pub fn file(&self, path: &Path) -> Arc<dyn File> {
        let Some(&Node::File(id)) = self.inner.state.lock().live.names.get(path) else {
            panic!("'{}' is not a file", path.display());
        };
        Arc::new(TestFile { inner: Arc::clone(&self.inner), path: path.to_owned(), id })
    }

    /// What a name stands for now.
    pub fn live_node(&self, path: &Path) -> Option<Node> {
        self.inner.state.lock().live.names.get(path).copied()
    }

    /// SQLite fsyncs a file through its VFS: one of its own, or the base file for vwal.
    pub fn sync_for_sqlite(&self, id: FileId, path: &Path) -> Result<()> {
        TestFile { inner: Arc::clone(&self.inner), path: path.to_owned(), id }.sync_for(announced_site())
    }

    /// An fsync of SQLite's own, of a directory.
    pub fn sync_dir_for_sqlite(&self, path: &Path) -> Result<()> {
        self.sync_dir_for(path, None)
    }

    fn sync_dir_for(&self, path: &Path, site: Option<SyncSite>) -> Result<()> {
        let mut state = self.inner.state.lock();
        if site.is_some_and(|site| state.skipped.contains(&site)) {
            return Ok(());
        }
        if site.is_some() {
            // The directory is opened for it.
            state.check(Kind::Open, FileOp::Open, path, None)?;
        }
        let (works, result) = state.check_sync(Kind::SyncDir, FileOp::SyncDir, path);
        state.trace.push(Record { op: Op::SyncDir { path: path.to_owned(), site }, failed: !works });
        result
    }

    fn no_entry(op: FileOp, path: &Path) -> Error {
        Error::io(op, path, None, &std::io::Error::from_raw_os_error(libc::ENOENT))
    }
}

impl State {
    /// Whether this operation is to fail.
    fn fault(&mut self, kind: Kind, path: &Path) -> Option<Fault> {
        *self.done.entry(kind).or_default() += 1;
        let path = path.to_string_lossy();
        for fault in self.faults.iter_mut().filter(|fault| fault.on == kind && path.ends_with(fault.path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                self.failed += 1;
                return Some(*fault);
            }
        }
        None
    }

    fn check(&mut self, kind: Kind, op: FileOp, path: &Path, offset: Option<u64>) -> Result<()> {
        match self.fault(kind, path) {
            None => Ok(()),
            Some(fault) => Err(fault.told(op, path, offset)),
        }
    }

    /// An fsync; whether it does anything, and what is told.
    fn check_sync(&mut self, kind: Kind, op: FileOp, path: &Path) -> (bool, Result<()>) {
        match self.fault(kind, path) {
            None => (true, Ok(())),
            Some(fault) if fault.lies => (false, Ok(())),
            Some(fault) => (false, Err(fault.told(op, path, None))),
        }
    }

    fn record(&mut self, op: Op) {
        self.trace.push(Record { op, failed: false });
    }

    fn content(&mut self, id: FileId) -> &mut Content {
        Arc::make_mut(self.live.files.entry(id).or_default())
    }
}

impl Io for TestIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Open, FileOp::Open, path, None)?;
        let id = match state.live.names.get(path) {
            Some(&Node::File(id)) => id,
            None if mode == OpenMode::Create => {
                // A file that was removed may still be open, so its number is not given again.
                let id = state.next_id;
                state.next_id += 1;
                state.live.files.insert(id, Arc::default());
                state.live.names.insert(path.to_owned(), Node::File(id));
                state.record(Op::Create { file: id, path: path.to_owned() });
                id
            }
            _ => return Err(TestIo::no_entry(FileOp::Open, path)),
        };
        Ok(Arc::new(TestFile { inner: Arc::clone(&self.inner), path: path.to_owned(), id }))
    }

    fn kind(&self, path: &Path) -> Result<PathKind> {
        Ok(match self.inner.state.lock().live.names.get(path) {
            None => PathKind::Missing,
            Some(Node::Directory) => PathKind::Directory,
            Some(Node::File(_)) => PathKind::File,
        })
    }

    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        match self.live_node(path) {
            Some(Node::File(id)) => Ok((0, id as u64)),
            _ => Err(TestIo::no_entry(FileOp::LookAt, path)),
        }
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let state = self.inner.state.lock();
        let names = state.live.list(path).filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::CreateDir, FileOp::CreateDir, path, None)?;
        state.live.names.insert(path.to_owned(), Node::Directory);
        state.record(Op::CreateDir { path: path.to_owned() });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Remove, FileOp::RemoveDir, path, None)?;
        if state.live.list(path).next().is_some() {
            let full = std::io::Error::from_raw_os_error(libc::ENOTEMPTY);
            return Err(Error::io(FileOp::RemoveDir, path, None, &full));
        }
        state.live.names.remove(path).ok_or_else(|| TestIo::no_entry(FileOp::RemoveDir, path))?;
        state.record(Op::RemoveDir { path: path.to_owned() });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Remove, FileOp::Remove, path, None)?;
        state.live.names.remove(path).ok_or_else(|| TestIo::no_entry(FileOp::Remove, path))?;
        state.record(Op::Remove { path: path.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Rename, FileOp::Rename, from, None)?;
        let Some(&Node::File(file)) = state.live.names.get(from) else {
            return Err(TestIo::no_entry(FileOp::Rename, from));
        };
        state.live.names.remove(from);
        state.live.names.insert(to.to_owned(), Node::File(file));
        state.record(Op::Rename { file, from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        if self.inner.state.lock().live.names.contains_key(to) {
            return Err(Error::io(FileOp::Rename, to, None, &std::io::ErrorKind::AlreadyExists.into()));
        }
        self.rename(from, to)
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> Result<()> {
        self.sync_dir_for(path, Some(site))
    }

    fn lock(&self, path: &Path, read_only: bool) -> Result<Result<LockFile, Holder>> {
        drop(self.open(path, OpenMode::Create)?);
        LockFile::acquire_at(&self.inner.lock_dir.path().join("lock"), read_only, 0o600)
    }

    fn now_us(&self) -> u64 {
        let mut state = self.inner.state.lock();
        state.clock += 1;
        state.clock
    }

    fn random_u64(&self) -> u64 {
        splitmix(&mut self.inner.state.lock().random)
    }

    fn runs_threads(&self) -> bool {
        false
    }
}

thread_local! {
    static ANNOUNCED: Cell<Option<SyncSite>> = const { Cell::new(None) };
}

/// Do something that reaches the fsync of a file by a way on which the site cannot be told: through SQLite's VFS.
pub fn announcing<T>(site: SyncSite, sync: impl FnOnce() -> T) -> T {
    let before = ANNOUNCED.replace(Some(site));
    let result = sync();
    ANNOUNCED.set(before);
    result
}

/// The site of the fsync that this thread is about to do; `None`: it is SQLite's own.
pub fn announced_site() -> Option<SyncSite> {
    ANNOUNCED.get()
}
