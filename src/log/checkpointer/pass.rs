//! The writes of a pass: pages, footer, and the metadata before and after them.

use super::Checkpointer;
use crate::error::{Error, Result};
use crate::format::database_header::{DATABASE_HEADER_SIZE, DatabaseHeader};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::frame::{FRAME_HEADER_SIZE, commit_time};
use crate::format::meta::Meta;
use crate::io::SyncSite;
use crate::memory;
use crate::shm::PassLimit;
use crate::sync::atomic::Ordering;

/// Neighbouring pages are written together, up to this many bytes, where the base file takes more than one page in a call.
const WRITE_BYTES: usize = 1 << 16;

impl Checkpointer {
    /// Bring the base file to frame `target`, the end of a commit that is absorbed and durable. The caller holds `pass`.
    pub(super) fn advance_base(&self, target: u64, limit: PassLimit) -> Result<()> {
        let from = self.shared.positions.checkpointed();
        let pages = self.view.newest_frames(from + 1, target)?;
        let before = self.meta()?;
        let db_size_pages = pages.db_size_pages.unwrap_or(before.db_size_pages);
        let commit_us = if target > from {
            self.view.with_frame(target, commit_time)?.unwrap_or(0)
        } else {
            before.commit_us
        };
        self.intend(target)?;

        // Reads beyond the new end stop before the file is cut, and reads beyond the old end begin after it has grown.
        self.shared.positions.limit_base(db_size_pages);
        self.lengthen_base(&before, db_size_pages, &pages.list)?;
        self.write_pages(&pages.list, db_size_pages)?;
        self.sync_base(SyncSite::BasePages)?;

        let done = Meta {
            checkpointed_frame_no: target,
            intent_frame_no: target,
            db_size_pages,
            commit_us,
            ..before
        };
        self.complete(done, before.db_size_pages)?;

        // In this order: who sees that a frame is in the base file goes there for its page.
        self.shared.positions.open_base(db_size_pages);
        self.shared.positions.checkpoint(target, limit, || self.shared.io.now_us());
        Ok(())
    }

    /// All pages are in the base file, durably: the footer says so, and then the metadata.
    fn complete(&self, mut done: Meta, old_pages: u32) -> Result<()> {
        let mut head = [0; DATABASE_HEADER_SIZE];
        self.shared.base.read_exact_at(&mut head, 0)?;
        let header = DatabaseHeader::parse(&head).ok_or_else(|| {
            Error::corrupt(&self.shared.database, 0, "page 1 is not the start of a database")
        })?;
        done.change_counter = header.change_counter;
        done.version_valid_for = header.version_valid_for;
        done.has_footer = true;
        self.write_footer(&done, old_pages)?;
        self.sync_base(SyncSite::BaseFooter)?;
        self.has_footer.store(true, Ordering::Release);
        if let Some(stored) = self.remote.stored() {
            done = done.with_stored(stored);
        }
        self.put_meta(done, SyncSite::CompletedPass)
    }

    /// Make room for `db_size_pages` pages, and see to it that those which no frame writes are zeros.
    ///
    /// The file must end with a footer at every moment, whole or torn: one without is not vwal's (`log/base.rs`). So the footer
    /// goes to the new end first, and that one write makes the file as long as it will be. Until the pass is complete it fits
    /// no state of the file, since no state has 0 pages.
    fn lengthen_base(&self, before: &Meta, db_size_pages: u32, list: &[(u32, u64)]) -> Result<()> {
        let page_size = self.shared.page_size.bytes();
        let end = u64::from(db_size_pages) * page_size as u64;
        let size = self.shared.base.size()?;
        if db_size_pages > before.db_size_pages || size < end + FOOTER_SIZE as u64 {
            let footer = Footer { db_size_pages: 0, ..before.footer() };
            self.shared.base.write_at(&footer.encode(), end)?;
        }
        // The old footer, and that of a pass which a crash interrupted, must not end up as the content of a page.
        let used = u32::try_from(size.div_ceil(page_size as u64)).unwrap_or(u32::MAX);
        for page_no in before.db_size_pages.saturating_add(1)..=used.min(db_size_pages) {
            if list.binary_search_by_key(&page_no, |&(page_no, _)| page_no).is_err() {
                self.shared.base.write_at(&vec![0; page_size], u64::from(page_no - 1) * page_size as u64)?;
            }
        }
        Ok(())
    }

    /// Write the footer of a base file whose pages are durable, and cut off what is after it. Whichever of the two a power loss
    /// undoes, the file ends with a footer, or with so many bytes that are none.
    fn write_footer(&self, meta: &Meta, old_pages: u32) -> Result<()> {
        let end = u64::from(meta.db_size_pages) * self.shared.page_size.bytes() as u64;
        self.shared.base.write_at(&meta.footer().encode(), end)?;
        let length = end + FOOTER_SIZE as u64;
        // Also when it has been cut: a failed fsync may have taken that for done (invariant 10).
        if self.shared.base.size()? > length || meta.db_size_pages < old_pages {
            self.shared.base.set_len(length)?;
        }
        let size = self.shared.base.size()?;
        if size > length {
            // The VFS rounds sizes up (SQLITE_FCNTL_CHUNK_SIZE), and a footer counts at the end of the file only.
            let place = size.next_multiple_of(self.shared.page_size.bytes() as u64);
            self.shared.base.write_at(&meta.footer().encode(), place)?;
        }
        Ok(())
    }

    /// After a failed fsync of the base file nobody knows which of its pages are durable. The segments still have them
    /// all, so nothing is lost, but this process must not free any.
    fn sync_base(&self, site: SyncSite) -> Result<()> {
        self.shared.base.sync(site).inspect_err(|error| self.durability.poison_if_fsync_failed(error))
    }

    fn write_pages(&self, list: &[(u32, u64)], db_size_pages: u32) -> Result<()> {
        let page_size = self.shared.page_size.bytes();
        let longest = if self.shared.base.joins_pages() { WRITE_BYTES } else { page_size };
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
            self.view.with_frame(frame_no, |frame| run.extend_from_slice(&frame[FRAME_HEADER_SIZE..]))?;
        }
        self.write_run(&run, run_start)
    }

    fn write_run(&self, run: &[u8], offset: u64) -> Result<()> {
        if run.is_empty() { Ok(()) } else { self.shared.base.write_at(run, offset) }
    }
}
