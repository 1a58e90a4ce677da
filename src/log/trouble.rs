//! What is told of errors: the last one of a background task, and the last refusal of a connection's call.
//!
//! From a file method SQLite takes a result code only, so the words of a refusal are kept here until its reason is gone;
//! `vwal_status.last_error` tells them.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::segment::parse_segment_name;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// What is said of a file of somebody else in the log directory, which keeps WAL mode from ending.
pub(super) const STRANGER: &str = "which is not a file of vwal: move it away and try again";

/// See the module.
pub(super) struct Trouble {
    /// Of a background task.
    last_error: Mutex<Option<String>>,
    report: fn(&Error),
    /// Whether there is a refusal: each commit looks at this.
    is_refusal: AtomicBool,
    refusal: Mutex<Option<Error>>,
}

impl Trouble {
    /// `last_error`: what recovery has found. `report` writes a line of SQLite's error log.
    pub(super) fn new(last_error: Option<String>, report: fn(&Error)) -> Trouble {
        Trouble {
            last_error: Mutex::new(last_error),
            report,
            is_refusal: AtomicBool::new(false),
            refusal: Mutex::new(None),
        }
    }

    /// Remember and report an error that no caller is told.
    pub(super) fn note_error(&self, error: &Error) {
        *self.last_error.lock() = Some(error.to_string());
        (self.report)(error);
    }

    /// A background task that failed before has succeeded.
    pub(super) fn clear_error(&self) {
        *self.last_error.lock() = None;
    }

    /// The same, of a task that another error of another task may have come after.
    pub(super) fn clear_error_if(&self, error: &Error) {
        self.last_error.lock().take_if(|last| *last == error.to_string());
    }

    /// The last error of a background task.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// A connection's call has failed. The caller has reported it.
    pub(super) fn note_refusal(&self, error: &Error) {
        // Of memory SQLite says the same, and the next try may have it.
        if matches!(error, Error::NoMemory { .. }) {
            return;
        }
        *self.refusal.lock() = Some(error.clone());
        self.is_refusal.store(true, Ordering::Release);
    }

    /// A commit has succeeded: what kept commits away is gone. Damage is not, nor what keeps WAL mode from ending.
    pub(super) fn end_refusal_of_commits(&self) {
        self.end_refusal(|error| !matches!(error, Error::Corrupt { .. } | Error::InUse { .. }));
    }

    /// A pass has succeeded: what was in the way of the database file and the metadata is gone.
    pub(super) fn end_refusal_of_passes(&self) {
        let is_of_segment = |path: &Path| {
            path.file_name().and_then(OsStr::to_str).is_some_and(|name| parse_segment_name(name).is_some())
        };
        self.end_refusal(|error| match error {
            Error::Full { path, .. } | Error::Io { path, .. } => !is_of_segment(path),
            _ => false,
        });
    }

    /// WAL mode could end now.
    pub(super) fn end_refusal_to_leave(&self) {
        self.end_refusal(|error| matches!(error, Error::InUse { .. }));
    }

    /// The last refusal; `None`: there was none, or `is_over` says that its reason is gone.
    pub(super) fn refusal(&self, is_over: impl FnOnce(&Error) -> bool) -> Option<Error> {
        self.end_refusal(is_over);
        self.refusal.lock().clone()
    }

    fn end_refusal(&self, is_over: impl FnOnce(&Error) -> bool) {
        if !self.is_refusal.load(Ordering::Acquire) {
            return;
        }
        let mut refusal = self.refusal.lock();
        if refusal.as_ref().is_some_and(is_over) {
            *refusal = None;
            self.is_refusal.store(false, Ordering::Release);
        }
    }
}
