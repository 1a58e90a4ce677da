//! One connection's side of a database: the verbs themselves.

use std::sync::Arc;
use std::time::Duration;

use super::locks::{CHECKPOINT_LOCK, HeldLocks};
use super::{LockKind, WAL_HEADER_SIZE, Wal};
use crate::error::{Error, Result};
use crate::format::frame::SQLITE_FRAME_HEADER_SIZE;
use crate::io::SyncSite;
use crate::log::{Debt, Log, ViewRead};
use crate::options::Ack;
use crate::page_index::Content;
use crate::shm::{Section, WRITE_LOCK};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Instant, Mutex, thread};

/// Where bytes of the database file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbRead {
    /// So many of them are in the buffer; behind them is the end of the file.
    Here(usize),
    /// All of them are in the base file, and the caller reads them there. `keep`: [`WalHandle::keep_page`] wants them.
    InBase {
        /// See above.
        keep: bool,
    },
}

/// A process that has published a commit says so within this time, or is stopped.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// One open database file. SQLite calls it from one thread at a time; the fields are atomic so that nothing here depends
/// on that.
pub struct WalHandle {
    wal: Arc<Wal>,
    held: HeldLocks,
    /// It has written frames since its last transaction ended.
    wrote: AtomicBool,
    /// The first frame of that transaction.
    wrote_from: AtomicU64,
    /// `synchronous=FULL`: the commit that ends here must be durable before it is acknowledged; 0: none.
    sync_to: AtomicU64,
    /// `vwal_ack=remote`: storage must have the commit that ends here before it is acknowledged; 0: none.
    store_to: AtomicU64,
    /// Pages that it has read from the base file.
    base_reads: AtomicU64,
    /// What the last one of them was that is to be kept.
    wanted: Mutex<Option<Content>>,
    /// Frames that were committed here and are not yet charged to the pace of commits.
    unpaced: AtomicU64,
    /// The wait that was charged so far and not yet waited for.
    debt: Debt,
    /// It has mapped the wal-index. A connection in `locking_mode=EXCLUSIVE` may keep a private one instead, and then
    /// takes no locks here either.
    mapped: AtomicBool,
    /// It holds the EXCLUSIVE lock of the database file.
    exclusive: AtomicBool,
    /// The salts of the WAL when it took the write lock or the checkpoint lock. 0: the wal-index was not mapped.
    salts: AtomicU64,
}

impl WalHandle {
    /// A new connection to a database.
    pub fn new(wal: Arc<Wal>) -> WalHandle {
        let id = wal.next_handle.fetch_add(1, Ordering::Relaxed);
        WalHandle {
            wal,
            held: HeldLocks::new(id),
            wrote: AtomicBool::new(false),
            wrote_from: AtomicU64::new(0),
            sync_to: AtomicU64::new(0),
            store_to: AtomicU64::new(0),
            base_reads: AtomicU64::new(0),
            wanted: Mutex::new(None),
            unpaced: AtomicU64::new(0),
            debt: Debt::default(),
            mapped: AtomicBool::new(false),
            exclusive: AtomicBool::new(false),
            salts: AtomicU64::new(0),
        }
    }

    /// The connection has got, or is about to release, the EXCLUSIVE lock of the database file.
    pub fn set_exclusive(&self, exclusive: bool) {
        if self.exclusive.swap(exclusive, Ordering::AcqRel) == exclusive {
            return;
        }
        {
            let mut count = self.wal.exclusive.lock();
            *count = if exclusive { *count + 1 } else { *count - 1 };
        }
        let is_mapped = self.mapped.load(Ordering::Relaxed);
        if exclusive && !is_mapped {
            // It may keep a private wal-index. The shared one, which a dead process may have left, would not know of its commits.
            let count = self.wal.mapped.lock();
            let _alone = self.log().memory().enter(Section::Index);
            // No connection of another process that lives has it mapped: it would share the lock.
            self.reset_unused_index(*count > 0);
        }
        if !exclusive {
            // In locking_mode=EXCLUSIVE nothing tells of a rollback.
            let max_frame = self.wal.index.max_frame().filter(|_| is_mapped);
            let last = max_frame.map(|frame| self.log().generation_base() + u64::from(frame));
            self.end_write(last);
        }
    }

    /// The database.
    pub fn wal(&self) -> &Arc<Wal> {
        &self.wal
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.wal.log
    }

    /// The connection opens the `-wal` file.
    pub fn open_wal(&self) {
        self.wal.opened.fetch_add(1, Ordering::AcqRel);
    }

    /// The connection closes the `-wal` file.
    pub fn close_wal(&self) {
        self.end_write(None);
        self.wal.opened.fetch_sub(1, Ordering::AcqRel);
    }

    fn stride(&self) -> u64 {
        (SQLITE_FRAME_HEADER_SIZE + self.log().page_size().bytes()) as u64
    }

    /// The frame that holds byte `offset` of the `-wal` file, and where in it the byte is.
    fn locate(&self, offset: u64) -> (u64, usize) {
        let at = offset - WAL_HEADER_SIZE;
        (self.log().generation_base() + at / self.stride() + 1, (at % self.stride()) as usize)
    }

    /// The last frame that this connection finds in the `-wal` file.
    fn last_frame_no(&self) -> u64 {
        if self.wrote.load(Ordering::Relaxed) {
            self.log().writer().open_frame_no()
        } else {
            self.log().written_frame_no()
        }
    }

    /// Whether a frame belongs, or did before it was cut off, to the transaction that this connection writes.
    fn reaches(&self, frame_no: u64) -> bool {
        self.wrote.load(Ordering::Relaxed) && frame_no <= self.log().writer().reached_frame_no()
    }

    /// Size of the `-wal` file in bytes.
    pub fn wal_size(&self) -> u64 {
        if self.log().memory().state().wal_header().is_none() {
            return 0;
        }
        WAL_HEADER_SIZE + (self.last_frame_no() - self.log().generation_base()) * self.stride()
    }

    /// Read from the database file.
    pub fn read_db(&self, buf: &mut [u8], offset: u64) -> Result<DbRead> {
        let content = match self.log().view().read_view(buf, offset)? {
            ViewRead::Here(got) => return Ok(DbRead::Here(got)),
            ViewRead::InBase(content) => content,
        };
        // A scan sweeps the cache slowly, and pays little for that; what is read often is soon there.
        let reads = self.base_reads.fetch_add(1, Ordering::Relaxed);
        let keep = reads.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0;
        if keep {
            *self.wanted.lock() = Some(content);
        }
        Ok(DbRead::InBase { keep })
    }

    /// The page that the last [`WalHandle::read_db`] wanted to keep.
    pub fn keep_page(&self, page: &[u8], offset: u64) {
        let wanted = self.wanted.lock().take();
        if let Some(content) = wanted {
            self.log().view().keep_base_page(page, offset, content);
        }
    }

    /// Read from the `-wal` file. Returns how many bytes there were; what is missing behind them is the end of the file.
    pub fn read_wal(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        if offset < WAL_HEADER_SIZE {
            let Some(header) = self.log().memory().state().wal_header() else { return Ok(0) };
            let part = &header[offset as usize..];
            done = part.len().min(buf.len());
            buf[..done].copy_from_slice(&part[..done]);
        }
        while done < buf.len() {
            let (frame_no, at) = self.locate(offset + done as u64);
            if frame_no > self.log().written_frame_no() && !self.reaches(frame_no) {
                break;
            }
            let len = (self.stride() as usize - at).min(buf.len() - done);
            self.log().writer().read_wal(frame_no, at, &mut buf[done..done + len])?;
            done += len;
        }
        Ok(done)
    }

    /// Write to the `-wal` file.
    pub fn write_wal(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if offset < WAL_HEADER_SIZE {
            return self.begin_generation(bytes, offset);
        }
        if !self.wrote.load(Ordering::Relaxed) {
            self.log().remote().check_shipping()?;
            self.wrote.store(true, Ordering::Relaxed);
            self.wrote_from.store(self.log().published_frame_no() + 1, Ordering::Relaxed);
        }
        let mut done = 0;
        while done < bytes.len() {
            let (frame_no, at) = self.locate(offset + done as u64);
            let len = (self.stride() as usize - at).min(bytes.len() - done);
            self.log().writer().write(frame_no, at, &bytes[done..done + len])?;
            done += len;
        }
        Ok(())
    }

    /// SQLite starts its WAL over. It does so only when every frame is in the database and nobody reads the WAL, or
    /// believes that: SQLite before 3.51.3 could be wrong about the first. So whatever is committed is absorbed now, and
    /// the reset drops nothing (invariant 3).
    fn begin_generation(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let Ok(header) = <[u8; WAL_HEADER_SIZE as usize]>::try_from(bytes) else {
            return Err(Error::corrupt(
                self.log().dir(),
                offset,
                format!(
                    "SQLite writes {} bytes into the WAL header; this vwal does not know why",
                    bytes.len()
                ),
            ));
        };
        self.log().check_writable()?;
        let page_size = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if page_size != self.log().page_size().get() {
            return Err(Error::corrupt(
                self.log().dir(),
                offset,
                format!(
                    "SQLite begins a WAL with page size {page_size}, the log has {}",
                    self.log().page_size().get()
                ),
            ));
        }
        let published = self.log().published_frame_no();
        if self.log().memory().state().wal_header().is_some() && published == self.log().generation_base() {
            // The transaction that began the generation was rolled back to its beginning, by ROLLBACK TO. It goes on, and may
            // still read what it wrote.
            self.log().memory().state().set_wal_header(Some(header));
            return Ok(());
        }
        self.log().writer().end_transaction(published);
        self.log().checkpointer().absorb(published)?;
        self.log().checkpointer().set_generation_base(published);
        self.log().memory().state().set_wal_header(Some(header));
        Ok(())
    }

    /// SQLite syncs the `-wal` file. After a commit frame that is `synchronous=FULL`: the commit must be durable before
    /// it is acknowledged. Without group commit it is made so here, inside the write lock; with it, in
    /// [`WalHandle::committed`]. Any other sync is about the order of writes to the two files, which is ours to keep.
    pub fn sync_wal(&self) -> Result<()> {
        if !self.wrote.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(last) = self.log().writer().tentative_commit() else { return Ok(()) };
        if self.log().options().group_commit {
            self.sync_to.store(last, Ordering::Relaxed);
            return self.log().durability().check_poison();
        }
        self.log().durability().sync_to(last, SyncSite::LockedCommit)
    }

    /// `SQLITE_FCNTL_COMMIT_PHASETWO`: the commit is done and the write lock released; what is returned here is what the
    /// application is told.
    pub fn committed(&self) -> Result<()> {
        // In locking_mode=EXCLUSIVE there is no unlock that would say so.
        let published = self.wal.index.max_frame().filter(|_| self.mapped.load(Ordering::Relaxed));
        self.end_write(Some(match published {
            Some(frame) => self.log().generation_base() + u64::from(frame),
            // The wal-index is private to this connection, and this call comes only for a commit that stands.
            None => u64::MAX,
        }));
        match self.sync_to.swap(0, Ordering::Relaxed) {
            0 => {}
            // It can be the end of an earlier commit, longer than this one, that failed behind its sync; frames that are not
            // published must not be taken for durable.
            frame_no => self.log().durability().sync_commit(frame_no.min(self.log().published_frame_no()))?,
        }
        if self.exclusive.load(Ordering::Relaxed) {
            // In locking_mode=EXCLUSIVE there are no locks that would be released.
            self.pace();
        }
        match self.store_to.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            frame_no => {
                // Only what is on this disk is shipped. The shipper would see to that too, a little later.
                self.log().durability().sync_to(frame_no, SyncSite::RemoteCommit)?;
                self.log().remote().wait_stored(frame_no, self.log().options().shipping.timeout)
            }
        }
    }

    /// The write transaction is over. `last`: the last frame that `wal.c` published.
    fn end_write(&self, last: Option<u64>) {
        if self.wrote.swap(false, Ordering::Relaxed) {
            self.log().writer().end_transaction(last.unwrap_or_else(|| self.log().published_frame_no()));
            let published = self.log().published_frame_no();
            let waits = self.log().options().shipping.ack == Ack::Remote && self.log().has_storage();
            // This connection still has the write lock, so what was published since its first frame is its own commit.
            let committed = published >= self.wrote_from.load(Ordering::Relaxed);
            self.store_to.store(if waits && committed { published } else { 0 }, Ordering::Relaxed);
            if committed {
                let frames = published + 1 - self.wrote_from.load(Ordering::Relaxed);
                self.unpaced.fetch_add(frames, Ordering::Relaxed);
            }
            if self.sync_to.load(Ordering::Relaxed) > self.log().published_frame_no() {
                // The commit that was to be fsynced is rolled back, and the next one may have other frames of that number.
                self.sync_to.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The connection holds nothing: it waits for the checkpointer, if that is behind.
    fn pace(&self) {
        // Readers come here at the end of each transaction.
        if self.unpaced.load(Ordering::Relaxed) > 0 {
            self.log().checkpointer().pace(self.unpaced.swap(0, Ordering::Relaxed), &self.debt);
        }
    }

    /// `SQLITE_FCNTL_CKPT_START`: SQLite is about to copy frames, with `WAL_READ_LOCK(0)` held, so no reset comes any more.
    /// False: one came after the checkpoint began, and it must copy nothing. SQLite before 3.51.3 does not look, and would
    /// mark as many frames of the new generation as "in the database" as the old one had: readers would then not find them
    /// in the WAL, and nobody would absorb them (<https://sqlite.org/wal.html#walresetbug>).
    ///
    /// Errors: frames of other processes cannot be read. It has to be found out here: SQLite does not listen any more when it is done.
    pub fn begin_checkpoint(&self) -> Result<bool> {
        if !self.is_told() {
            return Ok(false);
        }
        self.log().view().catch_up(self.log().published_frame_no())?;
        // In locking_mode=EXCLUSIVE there are neither locks nor others who could reset.
        Ok(!self.held.has(LockKind::Exclusive, CHECKPOINT_LOCK)
            || self.salts.load(Ordering::Relaxed) == self.salts_now())
    }

    /// Whether what `wal.c` has published is published in the log: the process that committed is about to say so, or to die. Waited for for a while.
    fn is_told(&self) -> bool {
        let log = self.log();
        let until = Instant::now() + TOLD_WITHIN;
        loop {
            let max_frame = self.wal.index.max_frame().filter(|_| self.mapped.load(Ordering::Relaxed));
            let last = log.generation_base() + u64::from(max_frame.unwrap_or(0));
            // Of another thread of this process.
            log.writer().publish(last);
            if log.published_frame_no() >= last {
                return true;
            }
            self.wal.locks.clean_dead_writer();
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_micros(50));
        }
    }

    fn salts_now(&self) -> u64 {
        self.wal.index.salts().unwrap_or(0)
    }

    /// `SQLITE_FCNTL_CKPT_DONE`: SQLite believes that it has copied frames into the database.
    ///
    /// Errors: none, if [`WalHandle::begin_checkpoint`] had none.
    pub fn checkpoint_done(&self) -> Result<()> {
        let log = self.log();
        match self.wal.index.backfill_attempted().filter(|_| self.mapped.load(Ordering::Relaxed)) {
            Some(frames) => log.checkpointer().absorb(log.generation_base() + u64::from(frames)),
            // The wal-index is private to the one connection there is.
            None => log.checkpointer().absorb(log.published_frame_no()),
        }
    }

    /// SQLite truncates the `-wal` file. To nothing: `wal_checkpoint(TRUNCATE)`, and everything goes to the base file.
    /// Other sizes come from `journal_size_limit`, and mean nothing here.
    pub fn truncate_wal(&self, size: u64) -> Result<()> {
        if size == 0 {
            self.wal.end_generation()?;
        }
        Ok(())
    }

    /// Region `index` of the wal-index.
    pub fn map_index(&self, index: usize, size: usize, extend: bool) -> Result<Option<*mut u8>> {
        if self.mapped.load(Ordering::Acquire) {
            return self.wal.index.map(index, size, extend);
        }
        let mut count = self.wal.mapped.lock();
        let _alone = self.log().memory().enter(Section::Index);
        let region = self.wal.index.map(index, size, extend)?;
        if region.is_some() && !self.mapped.swap(true, Ordering::AcqRel) {
            *count += 1;
            self.log().memory().begin_mapping();
        }
        Ok(region)
    }

    /// The connection is done with the wal-index. When it is the last one, of all processes, the wal-index goes.
    pub fn unmap_index(&self) {
        self.wal.locks.unlock_all(&self.held);
        let mut count = self.wal.mapped.lock();
        if self.mapped.swap(false, Ordering::AcqRel) {
            *count -= 1;
            let memory = self.log().memory();
            let _alone = memory.enter(Section::Index);
            memory.end_mapping();
            self.reset_unused_index(*count > 0 || memory.is_mapped());
        }
    }

    /// Make the wal-index invalid unless somebody has it mapped. The caller is in [`Section::Index`].
    fn reset_unused_index(&self, is_mapped: bool) {
        if is_mapped {
            return;
        }
        // What a dead process has published there and not told has to be in the log before.
        self.wal.locks.clean_dead_writer();
        if self.wal.locks.has_no_writer() {
            self.wal.index.reset();
        }
    }

    /// Take locks `first..first + count`. False: busy.
    pub fn lock(&self, first: usize, count: usize, kind: LockKind) -> bool {
        let locked = self.wal.locks.lock(&self.held, first, count, kind);
        if locked && kind == LockKind::Exclusive && first <= CHECKPOINT_LOCK {
            // A checkpoint reads the header of the wal-index later than this.
            self.salts.store(self.salts_now(), Ordering::Relaxed);
        }
        locked
    }

    /// Release locks `first..first + count`.
    pub fn unlock(&self, first: usize, count: usize, kind: LockKind) {
        if first == WRITE_LOCK && kind == LockKind::Exclusive {
            let last =
                self.wal.index.max_frame().map(|frame| self.log().generation_base() + u64::from(frame));
            let wrote = self.wrote.load(Ordering::Relaxed);
            self.end_write(last);
            let pausing = self.sync_to.load(Ordering::Relaxed) != 0;
            self.wal.locks.release_writer(&self.held, wrote, pausing);
            if count > 1 {
                self.wal.locks.unlock(&self.held, first + 1, count - 1, kind);
            }
            return;
        }
        self.wal.locks.unlock(&self.held, first, count, kind);
        if kind == LockKind::Shared {
            // The read lock: the transaction is over.
            self.pace();
        }
    }

    /// SQLite writes to the database file itself: WAL mode ends. It holds the database file's EXCLUSIVE lock.
    pub fn leave(&self) -> Result<()> {
        if self.wal.has_left() {
            return Ok(());
        }
        if self.wal.is_open() {
            return Err(Error::InUse {
                path: self.log().database().to_owned(),
                what: "SQLite writes to the database file while a connection has its WAL open".into(),
            });
        }
        self.log().memory().state().set_wal_header(None);
        self.log().checkpointer().leave()?;
        Ok(())
    }
}

impl Drop for WalHandle {
    fn drop(&mut self) {
        self.set_exclusive(false);
        self.unmap_index();
    }
}
