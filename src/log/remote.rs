//! The log's side of shipping: how far storage has it, who waits for that, and whether commits may go on.
//!
//! The log knows no network. The shipper (`ship`) moves the stored position in a task of its own; commits look at
//! atomics, and wait here only if they asked to.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::error::{Error, Result};
use crate::format::meta::StoredIn;
use crate::options::{BacklogFull, WhenFenced};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard};
use crate::types::CommitId;

/// While another process may ship the log, it is looked this often how far it is.
const LOOK: Duration = Duration::from_millis(2);

/// See the module. Every log has one; without storage it is never looked at.
pub(crate) struct Remote {
    shared: Arc<Shared>,
    inner: Mutex<Inner>,
    moved: Condvar,
    /// How many wait for storage: then there is no reason to collect more commits.
    waiters: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    fence: Option<Error>,
    /// Why storage does not get on.
    trouble: Option<Error>,
    /// This process has asked storage. What follows is of no meaning before.
    has_asked: bool,
    /// The place of storage, by its number in the metadata, and when the last commit was made that it has, microseconds since 1970.
    place: u32,
    stored_us: u64,
    /// Nobody will move the stored position any more.
    stopped: bool,
}

impl Remote {
    pub(super) fn new(shared: &Arc<Shared>) -> Remote {
        Remote {
            shared: Arc::clone(shared),
            inner: Mutex::default(),
            moved: Condvar::default(),
            waiters: AtomicUsize::new(0),
        }
    }

    /// The commit up to which storage has everything. `None`: not known.
    pub(super) fn stored(&self) -> Option<StoredIn> {
        let inner = self.inner.lock();
        // Where another process ships the log, that one knows.
        let frame_no = self.shared.positions.stored().filter(|_| inner.has_asked)?;
        Some(StoredIn { place: inner.place, commit: CommitId { frame_no, commit_us: inner.stored_us } })
    }

    /// Storage has confirmed everything up to a commit.
    pub(crate) fn set_shipped(&self, commit: CommitId) {
        let mut inner = self.inner.lock();
        inner.stored_us = commit.commit_us;
        self.shared.positions.ship(commit.frame_no);
        self.stored_moved(inner);
    }

    /// Storage was asked, and has this.
    pub(crate) fn set_found_stored(&self, found: StoredIn) {
        let mut inner = self.inner.lock();
        inner.has_asked = true;
        (inner.place, inner.stored_us) = (found.place, found.commit.commit_us);
        self.shared.positions.find_stored(found.commit.frame_no);
        self.stored_moved(inner);
    }

    /// See [`Checkpointer::forget_stored_above`](super::Checkpointer::forget_stored_above), which holds the lock of passes.
    pub(super) fn forget_stored_above(&self, frame_no: u64) {
        let _inner = self.inner.lock();
        if self.shared.positions.stored().is_some_and(|stored| stored > frame_no) {
            self.shared.positions.forget_stored();
        }
    }

    fn stored_moved(&self, mut inner: MutexGuard<'_, Inner>) {
        // Before anybody is woken who was told of it.
        if let Some(trouble) = inner.trouble.take() {
            self.shared.trouble.clear_error_if(&trouble);
        }
        drop(inner);
        self.moved.notify_all();
        self.shared.checkpointer.notify();
    }

    /// Storage belongs to somebody else: nothing more will be shipped.
    pub(crate) fn set_fenced(&self, error: &Error) {
        let mut inner = self.inner.lock();
        inner.fence.get_or_insert_with(|| error.clone());
        // Under the lock: who finds the log fenced off finds the error, too.
        self.shared.positions.fence();
        drop(inner);
        self.moved.notify_all();
        self.shared.trouble.note_error(error);
    }

    /// The shipper is in trouble, and goes on trying.
    pub(crate) fn set_trouble(&self, error: &Error) {
        self.inner.lock().trouble = Some(error.clone());
        self.shared.trouble.note_error(error);
    }

    /// The shipper gets on again.
    pub(crate) fn clear_trouble(&self) {
        self.inner.lock().trouble = None;
    }

    /// What the shipper is in trouble with.
    pub(crate) fn shipping_trouble(&self) -> Option<Error> {
        self.inner.lock().trouble.clone()
    }

    /// The shipper is gone, so nobody should wait for it.
    pub(crate) fn set_shipping_stopped(&self, stopped: bool) {
        self.inner.lock().stopped = stopped;
        self.moved.notify_all();
    }

    /// The error that fenced this log off from its storage.
    pub(crate) fn fence(&self) -> Option<Error> {
        if !self.shared.positions.is_fenced() {
            return None;
        }
        let fence = self.inner.lock().fence.clone();
        // Another process was told.
        let what = "another process that has the database open was told so, and has the details".into();
        Some(fence.unwrap_or_else(|| {
            let url =
                self.shared.options.shipping.storage.as_ref().map(ToString::to_string).unwrap_or_default();
            Error::Fenced { url, what }
        }))
    }

    /// Whether a write transaction may begin: the log is not fenced off, and there is room in the backlog. It may be waited for;
    /// the caller holds no lock of the log.
    pub(crate) fn check_shipping(&self) -> Result<()> {
        if !self.shared.has_storage() {
            return Ok(());
        }
        if self.shared.positions.is_fenced() {
            return match (self.shared.options.shipping.fenced, self.fence()) {
                (WhenFenced::Fail, Some(error)) => Err(error),
                _ => Ok(()),
            };
        }
        let limit = self.shared.options.shipping.backlog_size;
        if self.shared.unshipped_bytes() < limit {
            return Ok(());
        }
        let deadline = Instant::now()
            + match self.shared.options.shipping.backlog_full {
                BacklogFull::Fail => Duration::ZERO,
                BacklogFull::Wait => self.shared.options.shipping.timeout,
            };
        let mut inner = self.inner.lock();
        while self.shared.unshipped_bytes() >= limit && !self.shared.positions.is_fenced() {
            // Where shipping has stopped already nobody will wake this thread.
            let expired = inner.stopped || self.wait_until(&mut inner, deadline);
            if (expired || inner.stopped) && self.shared.unshipped_bytes() >= limit {
                return Err(Error::Backlog {
                    path: self.shared.database.clone(),
                    bytes: self.shared.unshipped_bytes(),
                    limit,
                    cause: inner.cause(),
                });
            }
        }
        drop(inner);
        self.check_shipping()
    }

    /// Return when storage has every frame up to `frame_no`, which must be published.
    ///
    /// Errors: [`Error::NotStored`] when that is not so within `timeout`, or never will be.
    pub(crate) fn wait_stored(&self, frame_no: u64, timeout: Duration) -> Result<()> {
        if self.shared.positions.stored().is_some_and(|stored| stored >= frame_no) {
            return Ok(());
        }
        let deadline = Instant::now() + timeout;
        self.waiters.fetch_add(1, Ordering::SeqCst);
        self.shared.memory.begin_waiting();
        self.shared.shipper.notify();
        let mut inner = self.inner.lock();
        let result = loop {
            if self.shared.positions.stored().is_some_and(|stored| stored >= frame_no) {
                break Ok(());
            }
            let expired =
                self.shared.positions.is_fenced() || inner.stopped || self.wait_until(&mut inner, deadline);
            if expired && self.shared.positions.stored().is_none_or(|stored| stored < frame_no) {
                break Err(Error::NotStored {
                    path: self.shared.database.clone(),
                    frame_no,
                    waited_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                    cause: inner.cause(),
                });
            }
        };
        drop(inner);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        self.shared.memory.end_waiting();
        result
    }

    /// Whether anybody waits for storage: then there is no reason to collect more commits.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::SeqCst) > 0 || self.shared.memory.has_waiters()
    }

    /// Wait until something changes. True: the time is over.
    fn wait_until(&self, inner: &mut MutexGuard<'_, Inner>, deadline: Instant) -> bool {
        if !self.shared.memory.may_have_others() {
            return self.moved.wait_until(inner, deadline).timed_out();
        }
        // The process that ships the log may be another one, which wakes nobody here.
        self.moved.wait_until(inner, deadline.min(Instant::now() + LOOK));
        Instant::now() >= deadline
    }

    /// The shipper is about to sleep until the next commit. False: there is one already.
    pub(crate) fn shipper_may_sleep(&self, shipped: u64) -> bool {
        self.shared.shipper.may_sleep(|| self.shared.positions.published() > shipped || self.has_waiters())
    }
}

impl Inner {
    fn cause(&self) -> String {
        match (&self.fence, &self.trouble) {
            (Some(error), _) | (None, Some(error)) => error.to_string(),
            (None, None) if self.stopped => "shipping has stopped, since the database is being closed".into(),
            (None, None) => "it is slower than the commits".into(),
        }
    }
}
