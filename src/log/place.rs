//! A log directory that is removed, renamed or replaced while the log is open.
//!
//! The files are still open then, and an fsync of them succeeds, but the next open will not find them. So before an fsync is
//! reported the name of the current segment is looked up. Once it leads elsewhere, no commit that the base file lacks is
//! reported as durable, and no new one is begun; passes go on, since the frames can still be read, and bring the base file
//! up to the last commit. Names in the directory are left alone: another log may have it by now.

use std::sync::Arc;

use super::Log;
use crate::error::{Error, FileOp};
use crate::io::PathKind;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(super) struct Place {
    is_gone: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl Log {
    /// Whether the log directory was found to be removed, renamed or replaced.
    pub(crate) fn is_gone(&self) -> bool {
        self.place.is_gone.load(Ordering::Acquire)
    }

    /// The error of commits when [`Log::is_gone`].
    pub(crate) fn gone(&self) -> Option<Error> {
        if !self.is_gone() {
            return None;
        }
        self.place.error.lock().clone()
    }

    /// Look whether the current segment still has its name, and note it when it has not.
    pub(crate) fn look_at_place(&self) {
        if self.is_gone() {
            return;
        }
        let Some(segment) = self.segments.read().last().cloned() else { return };
        // One that recovery doubts is just being replaced by a copy.
        if segment.is_doubtful() || segment.is_named() {
            return;
        }
        // Where the database is not at its path either, it was moved with its log, or removed with it.
        if !matches!(self.io.kind(&self.database), Ok(PathKind::File)) {
            return;
        }
        // A pass may just have freed the segment: then its name went with its entry in the list.
        if !self.segments.read().last().is_some_and(|last| Arc::ptr_eq(last, &segment)) {
            return;
        }
        let error = Error::Io {
            op: FileOp::LookAt,
            path: segment.path().to_owned(),
            offset: None,
            kind: std::io::ErrorKind::NotFound,
            message: "the log directory was removed, renamed or replaced while it was open, and commits in it would not be found \
                      again. What is committed is being brought to the database file: close all connections to the database \
                      and open it again"
                .into(),
        };
        *self.place.error.lock() = Some(error.clone());
        self.place.is_gone.store(true, Ordering::Release);
        self.note_error(&error);
        self.checkpointer.notify();
    }
}
