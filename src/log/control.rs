//! The positions of the log.

use crossbeam_utils::CachePadded;

use super::Log;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The positions of the log. This is what another process would have to see; everything else can be derived from the
/// segments.
pub(crate) struct Control {
    pub(super) recent: CachePadded<Recent>,
    pub(super) synced: AtomicU64,
    pub(super) absorbed: AtomicU64,
    pub(crate) checkpointed: AtomicU64,
    /// Pages of the database as of `absorbed`.
    pub(super) view_pages: AtomicU32,
    /// Pages of the base file that reads may go to.
    pub(crate) base_pages: AtomicU32,
    /// Frames up to here are needed by nobody who reads the WAL: the end of the generation before this one.
    pub(super) generation_base: AtomicU64,
}

/// What each commit changes, apart from what readers look at all the time: on another processor each change would cost them a
/// look into memory.
pub(crate) struct Recent {
    pub(super) written: AtomicU64,
    pub(super) published: AtomicU64,
    /// Pages of the database as of `published`.
    pub(super) published_pages: AtomicU32,
}

impl Log {
    /// The last frame that is in a segment, as part of a commit that may still be tentative.
    pub fn written_frame_no(&self) -> u64 {
        self.control.recent.written.load(Ordering::Acquire)
    }

    /// The last frame that readers may see.
    pub fn published_frame_no(&self) -> u64 {
        self.control.recent.published.load(Ordering::Acquire)
    }

    /// The last frame that survives a power loss.
    pub fn synced_frame_no(&self) -> u64 {
        self.control.synced.load(Ordering::Acquire)
    }

    /// The last frame that is part of the view of the database file.
    pub fn absorbed_frame_no(&self) -> u64 {
        self.control.absorbed.load(Ordering::Acquire)
    }

    /// The last frame that is in the base file: what the footer says.
    pub fn checkpointed_frame_no(&self) -> u64 {
        self.control.checkpointed.load(Ordering::Acquire)
    }

    /// Pages of the database file as SQLite sees it.
    pub fn view_pages(&self) -> u32 {
        self.control.view_pages.load(Ordering::Acquire)
    }

    /// Pages of the database as of the last commit.
    pub fn database_pages(&self) -> u32 {
        self.control.recent.published_pages.load(Ordering::Acquire)
    }
}
