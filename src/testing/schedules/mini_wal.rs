//! What `wal.c` does above the log, as far as its threads matter: read marks, snapshots, write transactions, starting over.

use std::path::Path;
use std::sync::Arc;

use shuttle::thread::yield_now;

use crate::error::Result;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::testing::faults::rig::{BASE, PAGE, page};
use crate::testing::io::TestIo;
use crate::wal::{DbRead, LockKind, SharedIndex, WalHandle};

const WRITE: usize = 0;
const FIRST_READER: usize = 3;
const READERS: usize = 5;
const UNUSED: u32 = u32::MAX;
const WAL_HEADER: u64 = 32;
const FRAME: u64 = 24 + PAGE as u64;
/// Pages of the database of a model.
pub const PAGES: u32 = 3;

/// The header of the wal-index.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Header {
    max_frame: u32,
    /// The last commit.
    k: u32,
    generation: u32,
}

/// A wal-index.
pub struct Index {
    header: Mutex<Header>,
    attempted: AtomicU32,
    backfill: AtomicU32,
    marks: [AtomicU32; READERS],
    /// The page of each frame of the generation.
    pages: Mutex<Vec<u32>>,
    /// It tells the log of no reader: a fault.
    hides_marks: bool,
}

impl Index {
    pub fn new(hides_marks: bool) -> Arc<Index> {
        Arc::new(Index {
            header: Mutex::default(),
            attempted: AtomicU32::new(0),
            backfill: AtomicU32::new(0),
            marks: [0, 0, UNUSED, UNUSED, UNUSED].map(AtomicU32::new),
            pages: Mutex::default(),
            hides_marks,
        })
    }
}

/// For the log.
pub struct ForLog(pub Arc<Index>);

impl SharedIndex for ForLog {
    fn map(&self, _: usize, _: usize, _: bool) -> Result<Option<*mut u8>> {
        Ok(Some(std::ptr::dangling_mut()))
    }
    fn max_frame(&self) -> Option<u32> {
        Some(self.0.header.lock().max_frame)
    }
    fn backfill_attempted(&self) -> Option<u32> {
        Some(self.0.attempted.load(Ordering::SeqCst))
    }
    fn read_mark(&self, reader: usize) -> Option<u32> {
        Some(if self.0.hides_marks { UNUSED } else { self.0.marks[reader].load(Ordering::SeqCst) })
    }
    fn salts(&self) -> Option<u64> {
        Some(u64::from(self.0.header.lock().generation))
    }
    fn set_backfill(&self, frames: u32, done: bool) {
        let word = if done { &self.0.backfill } else { &self.0.attempted };
        word.store(frames, Ordering::SeqCst);
    }
    fn reset(&self) {}
}

/// A read transaction.
pub struct Snapshot {
    header: Header,
    reader: usize,
    min_frame: u32,
}

impl Snapshot {
    /// The commit that it shows.
    pub fn k(&self) -> u32 {
        self.header.k
    }
}

/// The pages that commit `k` writes.
pub fn pages_of(k: u32) -> &'static [u32] {
    match k {
        1 => &[1, 2, 3],
        k if k.is_multiple_of(2) => &[1, 2],
        _ => &[2, 3],
    }
}

/// The commit that wrote a page last, of the first `k`.
fn version(page_no: u32, k: u32) -> u32 {
    (1..=k).rev().find(|&k| pages_of(k).contains(&page_no)).unwrap_or(0)
}

/// One connection.
pub struct Connection {
    pub handle: WalHandle,
    pub index: Arc<Index>,
    pub files: TestIo,
}

impl Connection {
    fn header(&self) -> Header {
        *self.index.header.lock()
    }

    /// `walTryBeginRead`, until it succeeds. `uses_wal`: not the bare database file.
    pub fn begin_read(&self, uses_wal: bool) -> Snapshot {
        loop {
            if let Some(snapshot) = self.try_begin_read(uses_wal) {
                return snapshot;
            }
            yield_now();
        }
    }

    fn try_begin_read(&self, uses_wal: bool) -> Option<Snapshot> {
        let header = self.header();
        if !uses_wal
            && self.index.backfill.load(Ordering::SeqCst) == header.max_frame
            && self.handle.lock(FIRST_READER, 1, LockKind::Shared)
        {
            if self.header() == header {
                return Some(Snapshot { header, reader: 0, min_frame: header.max_frame + 1 });
            }
            self.handle.unlock(FIRST_READER, 1, LockKind::Shared);
            return None;
        }
        let (mut mark, mut reader) = (0, 0);
        for at in 1..READERS {
            let its = self.index.marks[at].load(Ordering::SeqCst);
            if mark <= its && its <= header.max_frame {
                (mark, reader) = (its, at);
            }
        }
        if mark < header.max_frame || reader == 0 {
            for at in 1..READERS {
                if self.handle.lock(FIRST_READER + at, 1, LockKind::Exclusive) {
                    self.index.marks[at].store(header.max_frame, Ordering::SeqCst);
                    (mark, reader) = (header.max_frame, at);
                    self.handle.unlock(FIRST_READER + at, 1, LockKind::Exclusive);
                    break;
                }
            }
        }
        if reader == 0 || !self.handle.lock(FIRST_READER + reader, 1, LockKind::Shared) {
            return None;
        }
        let min_frame = self.index.backfill.load(Ordering::SeqCst) + 1;
        if self.index.marks[reader].load(Ordering::SeqCst) != mark || self.header() != header {
            self.handle.unlock(FIRST_READER + reader, 1, LockKind::Shared);
            return None;
        }
        Some(Snapshot { header, reader, min_frame })
    }

    pub fn end_read(&self, snapshot: &Snapshot) {
        self.handle.unlock(FIRST_READER + snapshot.reader, 1, LockKind::Shared);
    }

    /// Panics unless a page is that of the snapshot.
    pub fn check_page(&self, snapshot: &Snapshot, page_no: u32) {
        let found = self.read_page(snapshot, page_no);
        let k = version(page_no, snapshot.k());
        let found = found.unwrap_or_else(|error| panic!("page {page_no} cannot be read: {error}"));
        if found != page(page_no, k) {
            let is_of = (0..100).find(|&other| found == page(page_no, other));
            panic!(
                "page {page_no} is of commit {is_of:?}, the snapshot of commit {} has that of commit {k}",
                snapshot.k()
            );
        }
    }

    fn read_page(&self, snapshot: &Snapshot, page_no: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE];
        let frame = {
            let pages = self.index.pages.lock();
            let from = snapshot.min_frame;
            (from..=snapshot.header.max_frame).rev().find(|&frame| pages[frame as usize - 1] == page_no)
        };
        if let Some(frame) = frame {
            self.handle.read_wal(&mut bytes, WAL_HEADER + u64::from(frame - 1) * FRAME + 24)?;
            return Ok(bytes);
        }
        let offset = u64::from(page_no - 1) * PAGE as u64;
        if let DbRead::InBase { keep } = self.handle.read_db(&mut bytes, offset)? {
            self.files.file(Path::new(BASE)).read_exact_at(&mut bytes, offset)?;
            if keep {
                self.handle.keep_page(&bytes, offset);
            }
        }
        Ok(bytes)
    }

    /// One attempt of a write transaction. The commit that it made; `None`: busy, or the snapshot was stale.
    pub fn try_commit(&self, full: bool) -> Result<Option<u32>> {
        let mut snapshot = self.begin_read(false);
        if !self.handle.lock(WRITE, 1, LockKind::Exclusive) {
            self.end_read(&snapshot);
            return Ok(None);
        }
        if self.header() != snapshot.header {
            self.handle.unlock(WRITE, 1, LockKind::Exclusive);
            self.end_read(&snapshot);
            return Ok(None);
        }
        if snapshot.reader == 0 {
            self.restart();
            self.end_read(&snapshot);
            snapshot = self.begin_read(true);
        }
        let result = self.write(&snapshot, full);
        self.handle.unlock(WRITE, 1, LockKind::Exclusive);
        let result = result.and_then(|k| self.handle.committed().map(|()| Some(k)));
        self.end_read(&snapshot);
        result
    }

    /// `walRestartLog`: everything is in the database, and if nobody reads the WAL it starts over.
    fn restart(&self) {
        if self.index.backfill.load(Ordering::SeqCst) == 0
            || !self.handle.lock(FIRST_READER + 1, READERS - 1, LockKind::Exclusive)
        {
            return;
        }
        {
            let mut header = self.index.header.lock();
            header.max_frame = 0;
            header.generation += 1;
        }
        self.index.backfill.store(0, Ordering::SeqCst);
        self.index.attempted.store(0, Ordering::SeqCst);
        for (at, mark) in self.index.marks.iter().enumerate().skip(1) {
            mark.store(if at == 1 { 0 } else { UNUSED }, Ordering::SeqCst);
        }
        self.handle.unlock(FIRST_READER + 1, READERS - 1, LockKind::Exclusive);
    }

    fn write(&self, snapshot: &Snapshot, full: bool) -> Result<u32> {
        let (max_frame, k) = (snapshot.header.max_frame, snapshot.k() + 1);
        if max_frame == 0 {
            let mut header = [0; WAL_HEADER as usize];
            header[8..12].copy_from_slice(&(PAGE as u32).to_be_bytes());
            self.handle.write_wal(&header, 0)?;
        }
        let pages = pages_of(k);
        for (at, &page_no) in pages.iter().enumerate() {
            let offset = WAL_HEADER + u64::from(max_frame + at as u32) * FRAME;
            let is_last = at + 1 == pages.len();
            let mut header = [k as u8; 24];
            header[..4].copy_from_slice(&page_no.to_be_bytes());
            header[4..8].copy_from_slice(&if is_last { PAGES } else { 0 }.to_be_bytes());
            self.handle.write_wal(&header, offset)?;
            self.handle.write_wal(&page(page_no, k), offset + 24)?;
        }
        if full {
            self.handle.sync_wal()?;
        }
        {
            let mut known = self.index.pages.lock();
            known.truncate(max_frame as usize);
            known.extend_from_slice(pages);
        }
        let max_frame = max_frame + pages.len() as u32;
        *self.index.header.lock() = Header { max_frame, k, ..snapshot.header };
        Ok(k)
    }
}
