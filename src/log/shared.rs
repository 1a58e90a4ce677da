//! What the parts of a log have in common: what does not change while it is open, its positions, the wake-ups of its tasks, and what
//! is told of errors. Each part is given this and the parts that it needs, and knows nothing of [`super::Log`].

use std::path::PathBuf;
use std::sync::Arc;

use super::trouble::Trouble;
use super::wakeup::Wakeup;
use crate::error::{Error, Result};
use crate::format::frame::FrameLayout;
use crate::io::{File, Io};
use crate::options::Options;
use crate::shm::{PassLimit, SharedMemory, SharedPositions};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::{LogId, PageSize, Parent};

/// See the module.
pub(crate) struct Shared {
    pub(super) io: Arc<dyn Io>,
    /// The log directory.
    pub(super) dir: PathBuf,
    /// The database file.
    pub(super) database: PathBuf,
    /// The database file, open.
    pub(super) base: Arc<dyn File>,
    pub(super) options: Options,
    pub(super) read_only: bool,
    pub(super) log_id: LogId,
    /// The log that this one continues, if it does.
    pub(super) parent: Option<Parent>,
    pub(super) page_size: PageSize,
    /// What other processes see, too.
    pub(super) memory: Arc<SharedMemory>,
    pub(super) positions: SharedPositions,
    /// Wakes the task that swaps, seals and fsyncs segments.
    pub(super) syncer: Wakeup,
    /// Wakes the task that runs passes.
    pub(super) checkpointer: Wakeup,
    /// Wakes the task that ships.
    pub(super) shipper: Wakeup,
    pub(super) trouble: Trouble,
    /// The last connection is gone. A handle that an application still has may not write any more.
    pub(super) closed: AtomicBool,
}

impl Shared {
    /// Bytes of a frame in a segment.
    pub(super) fn frame_size(&self) -> usize {
        FrameLayout::new(self.page_size).frame_size()
    }

    /// Whether the log is shipped to storage.
    pub(super) fn has_storage(&self) -> bool {
        self.options.shipping.storage.is_some() && !self.read_only
    }

    /// Errors: the log is closed, or read-only.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) || self.memory.state().has_left() {
            return Err(Error::NotVirtual(format!("'{}'", self.database.display())));
        }
        if self.read_only { Err(Error::ReadOnly { path: self.dir.clone() }) } else { Ok(()) }
    }

    /// Bytes of the frames up to `frame_no` that are not checkpointed.
    pub(super) fn bytes_behind(&self, frame_no: u64) -> u64 {
        frame_no.saturating_sub(self.positions.checkpointed()).saturating_mul(self.frame_size() as u64)
    }

    /// Bytes of frames that are absorbed and not checkpointed.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.bytes_behind(self.positions.absorbed())
    }

    /// Bytes of frames that are committed and that storage does not have. Zero without storage.
    pub(super) fn unshipped_bytes(&self) -> u64 {
        if !self.has_storage() {
            return 0;
        }
        let stored = self.positions.stored().unwrap_or_else(|| self.positions.checkpointed());
        self.positions.published().saturating_sub(stored).saturating_mul(self.frame_size() as u64)
    }

    /// The frame to which a pass would bring the base file: what is absorbed, and in storage if there is one.
    pub(super) fn pass_target(&self) -> u64 {
        let limit = match self.pass_limit() {
            // What storage does not have stays in the log.
            PassLimit::Stored => self.positions.stored().unwrap_or(0),
            _ => u64::MAX,
        };
        self.positions.absorbed().min(limit)
    }

    /// What holds for a pass that goes no further than [`Shared::pass_target`].
    pub(super) fn pass_limit(&self) -> PassLimit {
        if self.has_storage() && !self.positions.is_fenced() {
            PassLimit::Stored
        } else {
            PassLimit::Unlimited
        }
    }
}
