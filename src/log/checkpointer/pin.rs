//! A pinned base file: it stays as it is while storage gets a full image of it.

use std::sync::Arc;

use super::Checkpointer;
use crate::error::Result;
use crate::format::meta::Meta;
use crate::shm::PassLimit;
use crate::types::CommitId;

impl Checkpointer {
    /// The base file as it is now, which stays so until the result is dropped.
    pub(crate) fn pin_base(self: &Arc<Checkpointer>) -> Result<PinnedBase> {
        let _pass = self.enter_pass()?;
        self.writer.check_writable()?;
        if let Some(intent) = self.interrupted_pass()? {
            // A crash came in the middle of a pass: some of its pages are there already. Whatever storage has, the base file
            // is only of one state again when that pass has been completed.
            self.checkpoint_to(intent, PassLimit::Interrupted)?;
        }
        let meta = self.meta()?;
        self.shared.memory.pin();
        Ok(PinnedBase { checkpointer: Arc::clone(self), meta })
    }
}

/// See [`Checkpointer::pin_base`].
pub(crate) struct PinnedBase {
    checkpointer: Arc<Checkpointer>,
    meta: Meta,
}

impl PinnedBase {
    /// It holds everything up to this commit.
    pub(crate) fn commit(&self) -> CommitId {
        self.meta.checkpointed_commit()
    }

    /// Pages in it.
    pub(crate) fn db_size_pages(&self) -> u32 {
        self.meta.db_size_pages
    }

    /// Read whole pages, the first of them `page_no`. What the file does not have is zeros.
    pub(crate) fn read_pages(&self, page_no: u32, buf: &mut [u8]) -> Result<()> {
        let page_size = self.checkpointer.shared.page_size.bytes();
        let step = if self.checkpointer.shared.base.joins_pages() { buf.len() } else { page_size };
        let mut offset = u64::from(page_no - 1) * page_size as u64;
        for part in buf.chunks_mut(step.max(page_size)) {
            let got = self.checkpointer.shared.base.read_at(part, offset)?;
            part[got..].fill(0);
            offset += part.len() as u64;
        }
        Ok(())
    }
}

impl Drop for PinnedBase {
    fn drop(&mut self) {
        self.checkpointer.shared.memory.unpin();
        self.checkpointer.shared.checkpointer.notify();
    }
}
