//! A database of made-up pages, written as `wal.c` writes one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::FrameCache;
use crate::error::{Error, Result};
use crate::format::database_header::DatabaseHeader;
use crate::io::{Io, SyncSite};
use crate::log::{Log, LogSource, ViewRead};
use crate::options::Options;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::testing::io::{Disks, Image, Mark, Node, TestIo};
use crate::wal::{LockKind, SharedIndex, Wal, WalHandle};

/// Page size: the smallest, so that a crash in the middle of a page is one between two sectors of a frame.
pub const PAGE: usize = 512;
/// The home of the database.
pub const HOME: &str = "/db";
/// The base file.
pub const BASE: &str = "/db/app.db";
/// The log directory.
pub const DIR: &str = "/db/app.db-wal";

/// Bytes of the header of the `-wal` file.
pub const WAL_HEADER: u64 = 32;
/// Bytes of a frame there.
pub const FRAME: u64 = 24 + PAGE as u64;

/// A path in the log directory.
pub fn in_dir(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// What a database holds: for each page the number of the commit that wrote it. Page 2 is written by every commit, so it
/// tells which one was the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub pages: Vec<u32>,
}

impl Content {
    /// What the base file holds at first.
    pub fn first() -> Content {
        Content { pages: vec![0; 2] }
    }

    /// After commit `k`, which writes `pages` and leaves a database of `size` pages.
    pub fn after(&self, k: u32, pages: &[u32], size: u32) -> Content {
        let mut next = self.clone();
        next.pages.resize(size as usize, k);
        for &page_no in pages {
            next.pages[page_no as usize - 1] = k;
        }
        next
    }

    /// The bytes of the whole database file.
    pub fn bytes(&self) -> Vec<u8> {
        (1..).zip(&self.pages).flat_map(|(page_no, &k)| page(page_no, k)).collect()
    }
}

/// What each commit leaves.
pub type History = BTreeMap<u32, Content>;

/// The page as commit `k` writes it.
pub fn page(page_no: u32, k: u32) -> Vec<u8> {
    let word = (u64::from(page_no) << 32 | u64::from(k)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes: Vec<u8> = (0..PAGE / 8).flat_map(|at| (word ^ at as u64).to_be_bytes()).collect();
    if page_no == 1 {
        bytes[..16].copy_from_slice(b"SQLite format 3\0");
        bytes[16..20].copy_from_slice(&[2, 0, 2, 2]);
        bytes[24..28].copy_from_slice(&k.to_be_bytes());
        // Page 1 is not in every commit here, so its size field would be wrong; 0 means: the file's size counts.
        bytes[28..32].fill(0);
        bytes[92..96].copy_from_slice(&k.to_be_bytes());
    }
    if page_no == 2 {
        bytes[..4].copy_from_slice(&k.to_be_bytes());
    }
    bytes
}

/// The wal-index, as far as the log looks into it.
#[derive(Default)]
pub struct FakeIndex {
    pub max_frame: AtomicU32,
    pub attempted: AtomicU32,
    pub backfill: AtomicU32,
    /// How often the WAL was reset.
    pub resets: AtomicU32,
    pub read_marks: [AtomicU32; 5],
}

struct Shared(Arc<FakeIndex>);

impl SharedIndex for Shared {
    fn map(&self, _: usize, _: usize, _: bool) -> Result<Option<*mut u8>> {
        Ok(Some(std::ptr::dangling_mut()))
    }
    fn max_frame(&self) -> Option<u32> {
        Some(self.0.max_frame.load(Ordering::SeqCst))
    }
    fn backfill_attempted(&self) -> Option<u32> {
        Some(self.0.attempted.load(Ordering::SeqCst))
    }
    fn read_mark(&self, reader: usize) -> Option<u32> {
        Some(self.0.read_marks[reader].load(Ordering::SeqCst))
    }
    fn salts(&self) -> Option<u64> {
        Some(u64::from(self.0.resets.load(Ordering::SeqCst)))
    }
    fn set_backfill(&self, frames: u32, done: bool) {
        let word = if done { &self.0.backfill } else { &self.0.attempted };
        word.store(frames, Ordering::SeqCst);
    }
    fn reset(&self) {}
}

/// Files, and the options that the log is opened with.
#[derive(Clone)]
pub struct Rig {
    pub io: TestIo,
    pub options: Options,
    /// An fsync that is left out, in all that comes of this one.
    pub skipped: Option<SyncSite>,
}

impl Rig {
    /// A database of two pages in WAL mode, without a log yet.
    pub fn new() -> Rig {
        Rig::on(&Content::first().bytes())
    }

    /// A database file, without a log yet.
    pub fn on(base: &[u8]) -> Rig {
        let mut image = Image::default();
        image.names.insert(HOME.into(), Node::Directory);
        image.put(Path::new(BASE), base.to_vec());
        Rig::from(image)
    }

    /// What a crash left.
    pub fn from(image: Image) -> Rig {
        Rig::after(Disks::new(image))
    }

    /// What a process that was killed left, in the page cache too.
    pub fn after(disks: Disks) -> Rig {
        let mut options = Options::new();
        options.set_param("vwal_swap", "frames>=7").expect("a right value");
        Rig { io: TestIo::after(disks), options, skipped: None }
    }

    /// The same options, and the same fsync left out, on other disks.
    pub fn again(&self, disks: Disks) -> Rig {
        let rig = Rig { io: TestIo::after(disks), ..self.clone() };
        if let Some(site) = self.skipped {
            rig.io.skip_sync(site);
        }
        rig
    }

    /// Without an fsync.
    pub fn without(self, site: SyncSite) -> Rig {
        self.io.skip_sync(site);
        Rig { skipped: Some(site), ..self }
    }

    /// With an option.
    pub fn with(mut self, key: &str, value: &str) -> Rig {
        self.options.set_param(key, value).expect("a right value");
        self
    }

    /// A crash: only what was fsynced survives.
    pub fn crash_hard(&self) -> Rig {
        self.again(Disks::new(self.io.disks().crash_hard()))
    }

    /// Open the database; it must have a log, or get one.
    pub fn open(&self) -> Result<Db> {
        self.open_on(Arc::new(self.io.clone()))
    }

    /// The same, with something between the log and the files.
    pub fn open_on(&self, io: Arc<dyn Io>) -> Result<Db> {
        let source = LogSource {
            io,
            database: BASE.into(),
            dir: DIR.into(),
            base: self.io.file(Path::new(BASE)),
            cache: Arc::new(FrameCache::new(0)),
            options: self.options.clone(),
            report: |_| {},
            read_only: false,
            create: true,
        };
        let log = Arc::new(Log::open(source)?.ok_or_else(|| Error::NotVirtual(BASE.into()))?);
        let index = Arc::new(FakeIndex::default());
        let wal = Arc::new(Wal::new(log, Box::new(Shared(Arc::clone(&index)))));
        let writer = Db::connect(&wal);
        Ok(Db { io: self.io.clone(), wal, index, writer })
    }

    /// Open a new log and make `count` commits, each a change of page 2; and what they make.
    pub fn open_with_commits(&self, count: u32, full: bool) -> (Db, History) {
        let db = self.open().unwrap();
        let mut history = History::from([(0, Content::first())]);
        (1..=count).for_each(|k| db.commit_next(&mut history, k, full));
        (db, history)
    }

    /// Open the database and say which commit it holds, all of it.
    pub fn open_and_check(&self, history: &History) -> Result<(Db, u32), String> {
        let db = self.open().map_err(|error| format!("it does not open: {error}"))?;
        let k = db.check(history)?;
        db.log().positions().check()?;
        Ok((db, k))
    }
}

/// An open database and its one writer.
pub struct Db {
    pub io: TestIo,
    pub wal: Arc<Wal>,
    pub index: Arc<FakeIndex>,
    pub writer: WalHandle,
}

impl Db {
    pub fn connect(wal: &Arc<Wal>) -> WalHandle {
        let handle = WalHandle::new(Arc::clone(wal));
        handle.open_wal();
        handle.map_index(0, 32768, true).expect("the index is there");
        handle
    }

    pub fn log(&self) -> &Log {
        self.wal.log()
    }

    /// The write lock is taken, and the generation begins if there is none.
    pub fn begin(&self) -> Result<()> {
        assert!(self.writer.lock(0, 1, LockKind::Exclusive), "nobody else writes");
        if self.writer.wal_size() == 0 { self.restart() } else { Ok(()) }
    }

    /// `wal.c` starts its WAL over.
    pub fn restart(&self) -> Result<()> {
        let mut header = [0; WAL_HEADER as usize];
        header[8..12].copy_from_slice(&(PAGE as u32).to_be_bytes());
        self.writer.write_wal(&header, 0)?;
        self.index.max_frame.store(0, Ordering::SeqCst);
        self.index.resets.fetch_add(1, Ordering::SeqCst);
        self.index.backfill.store(0, Ordering::SeqCst);
        self.index.attempted.store(0, Ordering::SeqCst);
        Ok(())
    }

    /// Write frame `at` (from 1) behind the last published one. `size`: the commit mark, or 0.
    pub fn frame(&self, at: u32, page_no: u32, k: u32, size: u32) -> Result<()> {
        let frame = u64::from(self.index.max_frame.load(Ordering::SeqCst) + at);
        let offset = WAL_HEADER + (frame - 1) * FRAME;
        let mut header = [k as u8; 24];
        header[..4].copy_from_slice(&page_no.to_be_bytes());
        header[4..8].copy_from_slice(&size.to_be_bytes());
        self.writer.write_wal(&header, offset)?;
        self.writer.write_wal(&page(page_no, k), offset + 24)
    }

    /// All frames of a commit.
    pub fn frames(&self, k: u32, pages: &[u32], size: u32) -> Result<()> {
        for (at, &page_no) in (1..).zip(pages) {
            self.frame(at, page_no, k, if at as usize == pages.len() { size } else { 0 })?;
        }
        Ok(())
    }

    /// `wal.c` publishes so many frames, and the transaction ends.
    pub fn publish(&self, frames: usize) -> Result<()> {
        self.index.max_frame.fetch_add(frames as u32, Ordering::SeqCst);
        self.writer.unlock(0, 1, LockKind::Exclusive);
        self.io.mark(Mark::Published(self.log().published_frame_no()));
        self.writer.committed()
    }

    /// The transaction ends, and nothing of it counts.
    pub fn roll_back(&self) {
        self.writer.unlock(0, 1, LockKind::Exclusive);
    }

    /// A commit, as `wal.c` does it; rolled back when it fails. `full`: `synchronous=FULL`.
    pub fn commit(&self, k: u32, pages: &[u32], size: u32, full: bool) -> Result<()> {
        let sync = |()| if full { self.writer.sync_wal() } else { Ok(()) };
        let written = self.begin().and_then(|()| self.frames(k, pages, size)).and_then(sync);
        if let Err(error) = written {
            self.roll_back();
            return Err(error);
        }
        self.publish(pages.len())
    }

    /// Commit `k`, a change of page 2, and add what it makes to the history.
    pub fn commit_next(&self, history: &mut History, k: u32, full: bool) {
        history.insert(k, history[&(k - 1)].after(k, &[2], 2));
        self.commit(k, &[2], 2, full).unwrap();
    }

    /// A checkpoint by SQLite that copies frames up to `frame` of this generation.
    pub fn backfill(&self, frame: u32) {
        assert!(self.writer.begin_checkpoint().unwrap(), "nobody has reset the WAL since");
        self.index.attempted.store(frame, Ordering::SeqCst);
        self.writer.checkpoint_done().unwrap();
        self.index.backfill.store(frame, Ordering::SeqCst);
    }

    /// A passive checkpoint of everything, and a pass.
    pub fn pass(&self) -> Result<u64> {
        self.backfill(self.index.max_frame.load(Ordering::SeqCst));
        self.log().checkpointer().checkpoint()
    }

    /// `wal_checkpoint(TRUNCATE)`.
    pub fn truncate(&self) -> Result<()> {
        self.backfill(self.index.max_frame.load(Ordering::SeqCst));
        // wal.c resets the wal-index first, and whatever becomes of the file, that stands.
        self.index.max_frame.store(0, Ordering::SeqCst);
        self.writer.truncate_wal(0)
    }

    /// The last connection closes: what `OpenDatabase::leave` does for `PRAGMA journal_mode=DELETE`.
    pub fn leave(&self) -> Result<()> {
        self.truncate()?;
        self.writer.close_wal();
        self.writer.leave()
    }

    /// The bytes of the database file as a new connection sees them: absorbed frames over the base file, and nothing in
    /// the WAL.
    pub fn view(&self) -> Result<Vec<u8>> {
        let log = self.log();
        let mut bytes = vec![0; log.view_pages() as usize * PAGE];
        for (at, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
            let offset = (at * PAGE) as u64;
            if matches!(log.view().read_view(page, offset)?, ViewRead::InBase(_)) {
                self.io.file(Path::new(BASE)).read_exact_at(page, offset)?;
            }
        }
        Ok(bytes)
    }

    /// The page in a frame of the current generation, as a reader of the WAL gets it.
    pub fn wal_page(&self, frame: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE];
        let got = self.writer.read_wal(&mut bytes, WAL_HEADER + u64::from(frame - 1) * FRAME + 24)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Which commit the view holds; all of it must be that one's.
    pub fn check(&self, history: &History) -> Result<u32, String> {
        let bytes = self.view().map_err(|error| format!("it cannot be read: {error}"))?;
        check_bytes(&bytes, history)
    }
}

/// Which commit the bytes of a database are.
pub fn check_bytes(bytes: &[u8], history: &History) -> Result<u32, String> {
    if DatabaseHeader::parse(bytes).is_none() || bytes.len() < 2 * PAGE {
        return Err(format!("{} bytes that are no database", bytes.len()));
    }
    let k = u32::from_be_bytes(bytes[PAGE..PAGE + 4].try_into().expect("four bytes"));
    let content = history.get(&k).ok_or_else(|| format!("page 2 is of commit {k}"))?;
    if bytes.len() != content.pages.len() * PAGE {
        return Err(format!("commit {k} has {} pages, not {} bytes", content.pages.len(), bytes.len()));
    }
    for ((page_no, &version), found) in (1..).zip(&content.pages).zip(bytes.chunks(PAGE)) {
        if found != page(page_no, version) {
            return Err(format!("page {page_no} is not the one that commit {k} leaves (that of {version})"));
        }
    }
    Ok(k)
}
