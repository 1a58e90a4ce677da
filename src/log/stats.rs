//! What the log has done since it was opened, for metrics.

use super::Log;
use crate::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Stats {
    commits: AtomicU64,
    syncs: AtomicU64,
}

impl Stats {
    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

impl Log {
    /// Commits since the log was opened.
    pub fn commit_count(&self) -> u64 {
        self.stats.commits.load(Ordering::Relaxed)
    }

    /// Fsyncs of segments that made commits durable since then. Those that seal a segment or prepare a file are not among
    /// them. With group commit there are fewer than commits.
    pub fn sync_count(&self) -> u64 {
        self.stats.syncs.load(Ordering::Relaxed)
    }
}
