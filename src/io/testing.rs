//! Files in memory, for tests: every operation is recorded, any of them can be made to fail, and the trace tells what the
//! disk may hold after a power loss at any moment (`testing/disk.rs`).

mod disk;
mod image;
mod lock_dir;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use disk::{Disks, Fate, Mark, ObjectId, Op, Record};
pub use image::{Content, FileId, Image, Node};
use lock_dir::LockDir;

use super::{File, Holder, Io, LockFile, Mapping, OpenMode, PathKind, SyncSite};
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex};

/// Kinds of operations, for [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A write that fails has written this many bytes.
    pub part: usize,
}

impl Fault {
    /// All operations of a kind fail with `error` from now on.
    pub fn on(on: Kind, error: i32) -> Fault {
        Fault { on, path: "", after: 0, times: usize::MAX, error, part: 0 }
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

struct State {
    live: Image,
    next_id: FileId,
    trace: Vec<Record>,
    faults: Vec<Fault>,
    /// Fsyncs that are left out.
    skipped: BTreeSet<SyncSite>,
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

    fn no_entry(op: &'static str, path: &Path) -> Error {
        Error::io(op, path, None, &std::io::Error::from_raw_os_error(libc::ENOENT))
    }
}

impl State {
    /// Whether this operation is to fail.
    fn fault(&mut self, kind: Kind, path: &Path) -> Option<Fault> {
        let path = path.to_string_lossy();
        for fault in self.faults.iter_mut().filter(|fault| fault.on == kind && path.ends_with(fault.path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(*fault);
            }
        }
        None
    }

    fn check(&mut self, kind: Kind, op: &'static str, path: &Path, offset: Option<u64>) -> Result<()> {
        match self.fault(kind, path) {
            None => Ok(()),
            Some(fault) => Err(Error::io(op, path, offset, &std::io::Error::from_raw_os_error(fault.error))),
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
        state.check(Kind::Open, "open", path, None)?;
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
            _ => return Err(TestIo::no_entry("open", path)),
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

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let state = self.inner.state.lock();
        let names = state.live.list(path).filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::CreateDir, "create the directory", path, None)?;
        state.live.names.insert(path.to_owned(), Node::Directory);
        state.record(Op::CreateDir { path: path.to_owned() });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Remove, "remove the directory", path, None)?;
        if state.live.list(path).next().is_some() {
            return Err(TestIo::no_entry("remove the directory", path));
        }
        state.live.names.remove(path).ok_or_else(|| TestIo::no_entry("remove the directory", path))?;
        state.record(Op::RemoveDir { path: path.to_owned() });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Remove, "remove", path, None)?;
        state.live.names.remove(path).ok_or_else(|| TestIo::no_entry("remove", path))?;
        state.record(Op::Remove { path: path.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Rename, "rename", from, None)?;
        let Some(&Node::File(file)) = state.live.names.get(from) else {
            return Err(TestIo::no_entry("rename", from));
        };
        state.live.names.remove(from);
        state.live.names.insert(to.to_owned(), Node::File(file));
        state.record(Op::Rename { file, from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        if self.inner.state.lock().live.names.contains_key(to) {
            return Err(Error::io("rename", to, None, &std::io::ErrorKind::AlreadyExists.into()));
        }
        self.rename(from, to)
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> Result<()> {
        let mut state = self.inner.state.lock();
        if state.skipped.contains(&site) {
            return Ok(());
        }
        let result = state.check(Kind::SyncDir, "fsync the directory", path, None);
        let failed = result.is_err();
        state.trace.push(Record { op: Op::SyncDir { path: path.to_owned(), site }, failed });
        result
    }

    fn map(&self, path: &Path, _: u64, _: usize) -> Result<Box<dyn Mapping>> {
        Err(TestIo::no_entry("map", path))
    }

    fn lock(&self, path: &Path, read_only: bool) -> Result<Result<LockFile, Holder>> {
        drop(self.open(path, OpenMode::Create)?);
        LockFile::acquire(&self.inner.lock_dir.path().join("lock"), read_only, 0o600)
    }

    fn now_us(&self) -> u64 {
        let mut state = self.inner.state.lock();
        state.clock += 1;
        state.clock
    }

    fn random_u64(&self) -> u64 {
        splitmix(&mut self.inner.state.lock().random)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
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

struct TestFile {
    inner: Arc<Inner>,
    path: PathBuf,
    id: FileId,
}

impl File for TestFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.inner.state.lock();
        state.check(Kind::Read, "read", &self.path, Some(offset))?;
        let data = &state.live.files[&self.id].data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        state.read += len as u64;
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut state = self.inner.state.lock();
        let fault = state.fault(Kind::Write, &self.path);
        let written = fault.map_or(buf.len(), |fault| fault.part.min(buf.len()));
        if written > 0 {
            state.content(self.id).write(offset, &buf[..written]);
            state.record(Op::Write { file: self.id, offset, data: buf[..written].into() });
        }
        match fault {
            None => Ok(()),
            Some(fault) => {
                let error = std::io::Error::from_raw_os_error(fault.error);
                Err(Error::io("write", &self.path, Some(offset), &error))
            }
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::SetLen, "resize", &self.path, Some(len))?;
        state.content(self.id).set_len(len);
        state.record(Op::SetLen { file: self.id, len });
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.inner.state.lock().live.files[&self.id].data.len() as u64)
    }

    fn sync(&self, site: SyncSite) -> Result<()> {
        self.sync_for(Some(site))
    }
}

impl TestFile {
    /// `None`: SQLite's own fsync of one of its files.
    fn sync_for(&self, site: Option<SyncSite>) -> Result<()> {
        let mut state = self.inner.state.lock();
        if site.is_some_and(|site| state.skipped.contains(&site)) {
            return Ok(());
        }
        state.held += 1;
        self.inner.changed.notify_all();
        while state.hold {
            self.inner.changed.wait(&mut state);
        }
        state.held -= 1;
        let result = state.check(Kind::Sync, "fsync", &self.path, None);
        let failed = result.is_err();
        state.trace.push(Record { op: Op::Sync { file: self.id, site }, failed });
        result
    }
}
