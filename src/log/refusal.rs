//! The last refusal that a connection got and SQLite has no words for: from a file method SQLite takes a result code only.
//! `vwal_status.last_error` tells it until its reason is gone.

use std::ffi::OsStr;
use std::path::Path;

use super::Log;
use crate::error::Error;
use crate::segment::parse_segment_name;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// What is said of a file of somebody else in the log directory, which keeps WAL mode from ending.
pub(crate) const STRANGER: &str = "which is not a file of vwal: move it away and try again";

#[derive(Default)]
pub(super) struct Refusal {
    /// What each commit looks at.
    is_some: AtomicBool,
    last: Mutex<Option<Error>>,
}

impl Log {
    /// A connection's call has failed. Who called has reported it.
    pub(crate) fn note_refusal(&self, error: &Error) {
        // Of memory SQLite says the same, and the next try may have it.
        if matches!(error, Error::NoMemory { .. }) {
            return;
        }
        *self.refusal.last.lock() = Some(error.clone());
        self.refusal.is_some.store(true, Ordering::Release);
    }

    /// A commit has succeeded: what kept commits away is gone. Damage is not, nor what keeps WAL mode from ending.
    pub(crate) fn end_refusal_of_commits(&self) {
        self.end_refusal(|error| !matches!(error, Error::Corrupt { .. } | Error::InUse { .. }));
    }

    /// A pass has succeeded: what was in the way of the database file and the metadata is gone.
    pub(crate) fn end_refusal_of_passes(&self) {
        let is_of_segment = |path: &Path| {
            path.file_name().and_then(OsStr::to_str).is_some_and(|name| parse_segment_name(name).is_some())
        };
        self.end_refusal(|error| match error {
            Error::Full { path, .. } | Error::Io { path, .. } => !is_of_segment(path),
            _ => false,
        });
    }

    /// WAL mode could end now.
    pub(crate) fn end_refusal_to_leave(&self) {
        self.end_refusal(|error| matches!(error, Error::InUse { .. }));
    }

    /// The last refusal. None: there was none, or its reason is seen to be gone.
    pub(super) fn refusal(&self) -> Option<Error> {
        self.end_refusal(|error| match error {
            Error::NotStored { frame_no, .. } => self.stored_frame_no() >= Some(*frame_no),
            Error::Backlog { limit, .. } => self.unshipped_bytes() < *limit,
            // It may have been moved away since.
            Error::InUse { what, .. } => what.contains(STRANGER) && self.check_names().is_ok(),
            _ => false,
        });
        self.refusal.last.lock().clone()
    }

    fn end_refusal(&self, is_over: impl FnOnce(&Error) -> bool) {
        if !self.refusal.is_some.load(Ordering::Acquire) {
            return;
        }
        let mut last = self.refusal.last.lock();
        if last.as_ref().is_some_and(is_over) {
            *last = None;
            self.refusal.is_some.store(false, Ordering::Release);
        }
    }
}
