//! Checkpoint passes: bringing the base file forward from durable, absorbed frames.
//!
//! A pass goes in this order, and each step relies on the one before (invariants 6 to 9 in `docs/design.md`):
//!
//! 1. every frame up to the target is fsynced, so the base file never holds what the log could lose;
//! 2. the intent goes into a metadata slot: from now on the base file may be between two states;
//! 3. if the file becomes longer, the footer moves to the new end; pages are written in page order, each once, and the file is
//!    fsynced;
//! 4. the footer is written, the file is cut if it becomes shorter, and fsynced;
//! 5. the metadata says that the base file is at the target;
//! 6. the index entries go: readers find those pages in the base file;
//! 7. segments that nobody needs are freed, oldest first, and the directory is fsynced.
//!
//! A crash anywhere before 5 repeats the pass from the segments, which are all still there.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::database_header::{DATABASE_HEADER_SIZE, DatabaseHeader};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::frame::{FRAME_HEADER_SIZE, commit_time};
use crate::format::meta::Meta;
use crate::io::{SyncSite, parent_dir};
use crate::log::{LOCK_NAME, Log, META_NAME, PassLimit, SHM_NAME};
use crate::memory;
use crate::segment::Segment;
use crate::sync::atomic::{Ordering, fence};

/// Neighbouring pages are written together, up to this many bytes, where the base file takes more than one page in a call.
const WRITE_BYTES: usize = 1 << 16;

impl Log {
    /// Bring the base file to the last absorbed frame, and free what is not needed any more. Returns the checkpointed
    /// frame number. Passes exclude each other.
    pub fn checkpoint(&self) -> Result<u64> {
        let before = self.checkpointed_frame_no();
        let result = self.run_pass();
        let advanced = self.checkpointed_frame_no() > before || !self.can_checkpoint();
        self.pass_ended(result.is_ok() && advanced);
        result
    }

    fn run_pass(&self) -> Result<u64> {
        let _pass = self.pass.lock();
        self.check_writable()?;
        self.check_base_is_ours()?;
        let target = self.pass_target();
        // A pass that a crash interrupted has left pages of two states. One that ends before it would call that mixture a
        // state of the database. So it waits until storage has all of it.
        if self.interrupted_pass()?.is_none_or(|intent| intent <= target) {
            self.checkpoint_to(target, self.pass_limit())?;
        }
        self.free_segments()?;
        self.clear_error();
        self.end_refusal_of_passes();
        Ok(self.checkpointed_frame_no())
    }

    /// The frame to which a pass was to bring the base file that has begun, and not been completed: until it is, the base
    /// file is of no single state.
    pub(crate) fn interrupted_pass(&self) -> Result<Option<u64>> {
        let meta = self.with_meta(|file| Ok(file.get()))?;
        Ok(meta.has_intent().then_some(meta.intent_frame_no))
    }

    /// One pass, to an absorbed frame that ends a commit, and not before the end of an interrupted one. The caller holds
    /// `pass`.
    fn checkpoint_to(&self, target: u64, limit: PassLimit) -> Result<()> {
        if self.base_pins.load(Ordering::Acquire) > 0 {
            // Somebody is reading the base file as it is. There will be another pass.
            return Ok(());
        }
        let target = target.max(self.checkpointed_frame_no());
        if target > self.checkpointed_frame_no() || !self.has_footer.load(Ordering::Acquire) {
            self.sync_to(target, SyncSite::PassFrames)?;
            self.advance_base(target, limit)?;
        }
        Ok(())
    }

    /// Whether a pass would bring the base file forward: storage, if there is one, has more than the base file has.
    pub(crate) fn can_checkpoint(&self) -> bool {
        self.pass_target() > self.checkpointed_frame_no()
    }

    /// The frame to which a pass would bring the base file: what is absorbed, and in storage if there is one.
    pub(crate) fn pass_target(&self) -> u64 {
        self.absorbed_frame_no().min(self.checkpoint_limit())
    }

    /// The commit that the base file is at: its frame, and when it was made.
    pub(crate) fn checkpointed_commit(&self) -> Result<(u64, u64)> {
        self.with_meta(|file| Ok((file.get().checkpointed_frame_no, file.get().commit_us)))
    }

    /// The base file as it is now, which stays so until the result is dropped.
    pub(crate) fn pin_base(self: &Arc<Log>) -> Result<PinnedBase> {
        let _pass = self.pass.lock();
        self.check_writable()?;
        if let Some(intent) = self.interrupted_pass()? {
            // A crash came in the middle of a pass: some of its pages are there already. Whatever storage has, the base file
            // is only of one state again when that pass has been completed.
            self.checkpoint_to(intent, PassLimit::Interrupted)?;
        }
        let meta = self.with_meta(|meta| Ok(meta.get()))?;
        self.base_pins.fetch_add(1, Ordering::AcqRel);
        Ok(PinnedBase { log: Arc::clone(self), meta })
    }

    fn advance_base(&self, target: u64, limit: PassLimit) -> Result<()> {
        let from = self.checkpointed_frame_no();
        let pages = self.newest_frames(from + 1, target)?;
        let before = self.with_meta(|meta| Ok(meta.get()))?;
        let db_size_pages = pages.db_size_pages.unwrap_or(before.db_size_pages);

        let commit_us =
            if target > from { self.with_frame(target, commit_time)?.unwrap_or(0) } else { before.commit_us };

        let mut intent = before;
        intent.intent_frame_no = target;
        if intent.has_intent() {
            self.with_meta(|meta| {
                meta.put(intent, SyncSite::Intent, |error| self.poison_if_fsync_failed(error))
            })?;
        }

        // Reads beyond the new end stop before the file is cut, and reads beyond the old end begin after it has grown.
        self.cache.base_changes();
        self.positions.limit_base(db_size_pages);
        self.lengthen_base(&before, db_size_pages, &pages.list)?;
        self.write_pages(&pages.list, db_size_pages)?;
        self.sync_base(SyncSite::BasePages)?;

        let mut head = [0; DATABASE_HEADER_SIZE];
        self.base.read_exact_at(&mut head, 0)?;
        let header = DatabaseHeader::parse(&head)
            .ok_or_else(|| Error::corrupt(&self.database, 0, "page 1 is not the start of a database"))?;
        let mut done = intent;
        done.checkpointed_frame_no = target;
        done.intent_frame_no = target;
        done.db_size_pages = db_size_pages;
        done.change_counter = header.change_counter;
        done.version_valid_for = header.version_valid_for;
        done.has_footer = true;
        done.commit_us = commit_us;
        self.write_footer(&done, before.db_size_pages)?;
        self.sync_base(SyncSite::BaseFooter)?;
        self.has_footer.store(true, Ordering::Release);
        if let Some(stored) = self.stored_commit() {
            (done.stored_frame_no, done.stored_us) = stored;
        }
        self.with_meta(|meta| {
            meta.put(done, SyncSite::CompletedPass, |error| self.poison_if_fsync_failed(error))
        })?;

        self.cache.base_changes();
        self.positions.open_base(db_size_pages);
        for &(page_no, frame_no) in &pages.list {
            self.cache.moved(frame_no, page_no);
            self.index.clear(page_no, frame_no);
        }
        self.positions.checkpoint(target, limit);
        self.oldest_us.store(0, Ordering::Release);
        // See `Log::committed`.
        fence(Ordering::SeqCst);
        if self.published_frame_no() > target {
            self.oldest_us.store(self.io.now_us(), Ordering::Release);
        }
        Ok(())
    }

    /// Make room for `db_size_pages` pages, and see to it that those which no frame writes are zeros.
    ///
    /// The file must end with a footer at every moment, whole or torn: one without is not vwal's (`log/base.rs`). So the footer
    /// goes to the new end first, and that one write makes the file as long as it will be. Until the pass is complete it fits
    /// no state of the file, since no state has 0 pages.
    fn lengthen_base(&self, before: &Meta, db_size_pages: u32, list: &[(u32, u64)]) -> Result<()> {
        let page_size = self.page_size.bytes();
        let end = u64::from(db_size_pages) * page_size as u64;
        let size = self.base.size()?;
        if db_size_pages > before.db_size_pages || size < end + FOOTER_SIZE as u64 {
            let footer = Footer { db_size_pages: 0, ..before.footer() };
            self.base.write_at(&footer.encode(), end)?;
        }
        // The old footer, and that of a pass which a crash interrupted, must not end up as the content of a page.
        let used = u32::try_from(size.div_ceil(page_size as u64)).unwrap_or(u32::MAX);
        for page_no in before.db_size_pages.saturating_add(1)..=used.min(db_size_pages) {
            if list.binary_search_by_key(&page_no, |&(page_no, _)| page_no).is_err() {
                self.base.write_at(&vec![0; page_size], u64::from(page_no - 1) * page_size as u64)?;
            }
        }
        Ok(())
    }

    /// Write the footer of a base file whose pages are durable, and cut off what is after it. Whichever of the two a power loss
    /// undoes, the file ends with a footer, or with so many bytes that are none.
    fn write_footer(&self, meta: &Meta, old_pages: u32) -> Result<()> {
        let end = u64::from(meta.db_size_pages) * self.page_size.bytes() as u64;
        self.base.write_at(&meta.footer().encode(), end)?;
        let length = end + FOOTER_SIZE as u64;
        // Also when it has been cut: a failed fsync may have taken that for done (invariant 10).
        if self.base.size()? > length || meta.db_size_pages < old_pages {
            self.base.set_len(length)?;
        }
        let size = self.base.size()?;
        if size > length {
            // The VFS rounds sizes up (SQLITE_FCNTL_CHUNK_SIZE), and a footer counts at the end of the file only.
            let place = size.next_multiple_of(self.page_size.bytes() as u64);
            self.base.write_at(&meta.footer().encode(), place)?;
        }
        Ok(())
    }

    pub(crate) fn with_meta<T>(
        &self,
        use_meta: impl FnOnce(&mut crate::log::MetaFile) -> Result<T>,
    ) -> Result<T> {
        match &mut *self.meta.lock() {
            Some(meta) => use_meta(meta),
            None => Err(Error::ReadOnly { path: self.dir.clone() }),
        }
    }

    /// After a failed fsync of the base file nobody knows which of its pages are durable. The segments still have them
    /// all, so nothing is lost, but this process must not free any.
    fn sync_base(&self, site: SyncSite) -> Result<()> {
        self.base.sync(site).inspect_err(|error| self.poison_if_fsync_failed(error))
    }

    /// The newest frame of each page in a range of frames that ends at a commit.
    fn newest_frames(&self, from: u64, to: u64) -> Result<NewestFrames> {
        let mut list = Vec::new();
        let count = usize::try_from((to + 1).saturating_sub(from)).unwrap_or(usize::MAX);
        memory::reserve(&mut list, count, "the list of pages of a checkpoint")?;
        let mut db_size_pages = None;
        let segments: Vec<Arc<Segment>> = self.segments.read().iter().map(Arc::clone).collect();
        for segment in segments.iter().filter(|segment| segment.end() >= from && segment.start() <= to) {
            segment.for_each_mark(from, to, |frame_no, mark| {
                list.push((mark.page_no, frame_no));
                if mark.db_size_pages != 0 {
                    db_size_pages = Some(mark.db_size_pages);
                }
            });
        }
        list.sort_unstable();
        // Of equal pages the last one has the highest frame number.
        list.reverse();
        list.dedup_by_key(|&mut (page_no, _)| page_no);
        list.reverse();
        Ok(NewestFrames { list, db_size_pages })
    }

    fn write_pages(&self, list: &[(u32, u64)], db_size_pages: u32) -> Result<()> {
        let page_size = self.page_size.bytes();
        let longest = if self.base.joins_pages() { WRITE_BYTES } else { page_size };
        let mut run = Vec::new();
        let mut run_start = 0;
        for &(page_no, frame_no) in list {
            if page_no > db_size_pages {
                break;
            }
            let offset = u64::from(page_no - 1) * page_size as u64;
            if run.len() >= longest || run_start + run.len() as u64 != offset {
                self.write_run(&run, run_start)?;
                run.clear();
                run_start = offset;
            }
            memory::reserve(&mut run, page_size, "the pages of a checkpoint")?;
            // From the segment, not from the cache: what goes to the base file has been verified just now.
            self.with_frame(frame_no, |frame| run.extend_from_slice(&frame[FRAME_HEADER_SIZE..]))?;
        }
        self.write_run(&run, run_start)
    }

    fn write_run(&self, run: &[u8], offset: u64) -> Result<()> {
        if run.is_empty() { Ok(()) } else { self.base.write_at(run, offset) }
    }

    /// Free segments outside a pass: a generation that ended may have been all that kept them.
    pub(crate) fn free_segments_between_passes(&self) -> Result<()> {
        let _pass = self.pass.lock();
        self.free_segments()
    }

    /// Free the segments that are checkpointed and belong to a generation that nobody reads through the WAL any more.
    fn free_segments(&self) -> Result<()> {
        self.look_at_place();
        if self.has_no_names() {
            // Their files end with the last reader that has one open.
            self.take_segments(self.checkpointed_frame_no().min(self.generation_base()));
            return Ok(());
        }
        if self.is_gone() || !self.io.anchor_takes_files() {
            // The segments stay where they are; recovery sees that they are checkpointed.
            return Ok(());
        }
        let limit = self.checkpointed_frame_no().min(self.generation_base());
        let freed = self.take_segments(limit);
        if freed.is_empty() {
            return Ok(());
        }
        let mut spares: Vec<PathBuf> = Vec::new();
        for segment in freed {
            // A reader that found the segment a moment ago may still read from it. Its file is removed, which leaves the
            // reader's descriptor valid, and not overwritten.
            let path = segment.path().to_owned();
            match Arc::try_unwrap(segment) {
                Ok(segment) => {
                    let len = segment.file_size()?;
                    drop(segment);
                    let max_len = 2 * self.spare_size();
                    spares.extend(self.spares.retire(&*self.io, &path, spares.len(), max_len, len)?);
                }
                Err(_) => self.io.remove_file(&path)?,
            }
        }
        self.sync_names(SyncSite::FreedSegments)?;
        for path in spares {
            self.spares.add(path);
        }
        Ok(())
    }

    /// Absorb everything, end the current segment and bring the base file up to date: afterwards it alone holds the
    /// database. The caller keeps writers, and readers of the WAL, away.
    pub fn drain(&self) -> Result<u64> {
        let published = self.published_frame_no();
        self.absorb(published);
        self.set_generation_base(published);
        self.retire_current();
        self.checkpoint()
    }

    /// Whether WAL mode can end: nothing has failed, everything in the log directory is vwal's, and the directory can be
    /// removed. Once some of its files are gone it is too late to find out.
    pub(crate) fn check_can_leave(&self) -> Result<()> {
        self.check_writable()?;
        if !self.is_in_place() || !self.io.leads_to_anchor(&self.dir) {
            return Err(Error::InUse {
                path: self.database.clone(),
                what: "WAL mode cannot end while the database or its log directory is not where it was opened: it was renamed or \
                       removed, or has been replaced"
                    .into(),
            });
        }
        self.check_names()?;
        // It is not empty, and so it stays. Whatever else is in the way of removing it is told first.
        match self.io.remove_dir(&self.dir) {
            Err(Error::Io { kind: ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists, .. }) => Ok(()),
            Err(Error::Io { kind: ErrorKind::ResourceBusy, .. }) => Err(Error::InUse {
                path: self.database.clone(),
                what: format!(
                    "'{}' is a mount point, or in use as one, and cannot be removed: WAL mode cannot end here",
                    self.dir.display()
                ),
            }),
            Err(error) => Err(error),
            Ok(()) => {
                Err(Error::corrupt(&self.dir, None, "it was empty: somebody else has removed its files"))
            }
        }
    }

    /// WAL mode ends: drain, and remove the log directory. The caller is the only user of the database.
    ///
    /// Errors: nothing is removed when something in the directory is not vwal's.
    pub fn leave(&self) -> Result<()> {
        self.check_can_leave()?;
        self.drain()?;
        {
            // All of it, whether storage has it or not: there will be no log that could keep the rest.
            let _pass = self.pass.lock();
            self.checkpoint_to(self.absorbed_frame_no(), PassLimit::Leaving)?;
        }
        if self.checkpointed_frame_no() < self.published_frame_no() {
            return Err(Error::InUse {
                path: self.database.clone(),
                what: format!(
                    "the database file is still being read for storage, and has only the frames up to {}",
                    self.checkpointed_frame_no()
                ),
            });
        }
        let mut names = self.check_names()?;
        // Oldest segments first, the metadata behind them, the lock last of all. Segments without metadata would be damage,
        // so their names are gone for good before the metadata goes.
        let rank = |name: &str| match name {
            LOCK_NAME => 3,
            META_NAME => 2,
            SHM_NAME => 1,
            _ => 0,
        };
        names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
        // A directory that is half removed is no place for further commits, whatever it was that failed.
        self.remove_files(&names).inspect_err(|error| self.poison(error))
    }

    fn remove_files(&self, names: &[String]) -> Result<()> {
        for name in names {
            if name == META_NAME {
                self.sync_names(SyncSite::LeftSegments)?;
            }
            self.io.remove_file(&self.dir.join(name))?;
        }
        self.io.remove_dir(&self.dir)?;
        self.io.sync_dir(&parent_dir(&self.dir), SyncSite::LeftDirectory)
    }
}

/// See [`Log::pin_base`].
pub(crate) struct PinnedBase {
    log: Arc<Log>,
    meta: Meta,
}

impl PinnedBase {
    /// It holds every frame up to this one.
    pub(crate) fn frame_no(&self) -> u64 {
        self.meta.checkpointed_frame_no
    }

    /// When that frame was committed.
    pub(crate) fn commit_us(&self) -> u64 {
        self.meta.commit_us
    }

    /// Pages in it.
    pub(crate) fn db_size_pages(&self) -> u32 {
        self.meta.db_size_pages
    }

    /// Read whole pages, the first of them `page_no`. What the file does not have is zeros.
    pub(crate) fn read_pages(&self, page_no: u32, buf: &mut [u8]) -> Result<()> {
        let page_size = self.log.page_size.bytes();
        let step = if self.log.base.joins_pages() { buf.len() } else { page_size };
        let mut offset = u64::from(page_no - 1) * page_size as u64;
        for part in buf.chunks_mut(step.max(page_size)) {
            let got = self.log.base.read_at(part, offset)?;
            part[got..].fill(0);
            offset += part.len() as u64;
        }
        Ok(())
    }
}

impl Drop for PinnedBase {
    fn drop(&mut self) {
        self.log.base_pins.fetch_sub(1, Ordering::AcqRel);
        self.log.checkpointer.notify();
    }
}

struct NewestFrames {
    /// (page, frame), ascending by page.
    list: Vec<(u32, u64)>,
    /// Size of the database after the last commit in the range.
    db_size_pages: Option<u32>,
}
