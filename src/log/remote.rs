//! The log's side of shipping: how far storage has it, who waits for that, and whether commits may go on.
//!
//! The log knows no network. The shipper (`ship`) moves the stored position from its own thread; commits look at
//! atomics, and wait here only if they asked to.

use std::time::Duration;

use super::{Log, PassLimit, Wakeup};
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::io::SyncSite;
use crate::options::{BacklogFull, WhenFenced};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Instant, Mutex};

/// See the module. Every log has one; without storage it is never looked at.
#[derive(Default)]
pub(crate) struct Remote {
    inner: Mutex<Inner>,
    moved: Condvar,
    /// How many wait for storage: then there is no reason to collect more commits.
    pub(crate) waiters: AtomicUsize,
    /// Wakes the shipper.
    pub(crate) shipper: Wakeup,
}

#[derive(Default)]
struct Inner {
    fence: Option<Error>,
    /// Why storage does not get on.
    trouble: Option<Error>,
    /// When the last commit was made that storage has, microseconds since 1970.
    stored_us: u64,
    /// Nobody will move the stored position any more.
    stopped: bool,
}

impl Log {
    /// Whether the log is shipped to storage.
    pub fn has_storage(&self) -> bool {
        self.options.shipping.storage.is_some() && !self.read_only
    }

    /// The last frame that storage has; `None`: not known yet, or there is no storage.
    pub fn stored_frame_no(&self) -> Option<u64> {
        self.positions.stored()
    }

    /// Up to here everything is durable: in storage if there is one, else on this disk.
    pub fn durable_frame_no(&self) -> u64 {
        if self.has_storage() {
            self.stored_frame_no().unwrap_or(0)
        } else {
            self.synced_frame_no().min(self.published_frame_no())
        }
    }

    /// How far a checkpoint pass may bring the base file: what storage does not have stays in the log.
    pub(crate) fn checkpoint_limit(&self) -> u64 {
        if !self.has_storage() || self.positions.is_fenced() {
            return u64::MAX;
        }
        self.stored_frame_no().unwrap_or(0)
    }

    /// What holds for a pass that goes no further than [`Log::checkpoint_limit`].
    pub(crate) fn pass_limit(&self) -> PassLimit {
        if self.has_storage() && !self.positions.is_fenced() {
            PassLimit::Stored
        } else {
            PassLimit::Unlimited
        }
    }

    /// The commit up to which storage has everything: its frame, and when it was made.
    pub(crate) fn stored_commit(&self) -> Option<(u64, u64)> {
        let inner = self.remote.inner.lock();
        Some((self.stored_frame_no()?, inner.stored_us))
    }

    /// Storage has confirmed everything up to `frame_no`, the end of a commit that was made at `commit_us`.
    pub(crate) fn set_shipped(&self, frame_no: u64, commit_us: u64) {
        self.set_stored(commit_us, || self.positions.ship(frame_no));
    }

    /// Storage was asked, and has everything up to `frame_no`, the end of a commit that was made at `commit_us`.
    pub(crate) fn set_found_stored(&self, frame_no: u64, commit_us: u64) {
        self.set_stored(commit_us, || self.positions.find_stored(frame_no));
    }

    /// Storage has at most everything up to `frame_no`, or less. If more was known, nothing is known until storage has been asked and
    /// has what it needs: a pass that went on with more would bring frames to the base file that storage lacks. One that is under way
    /// is waited for.
    pub(crate) fn forget_stored_above(&self, frame_no: u64) {
        let _pass = self.pass.lock();
        let _inner = self.remote.inner.lock();
        if self.stored_frame_no().is_some_and(|stored| stored > frame_no) {
            self.positions.forget_stored();
        }
    }

    fn set_stored(&self, commit_us: u64, move_position: impl FnOnce()) {
        let mut inner = self.remote.inner.lock();
        inner.trouble = None;
        inner.stored_us = commit_us;
        move_position();
        drop(inner);
        self.remote.moved.notify_all();
        self.checkpointer.notify();
    }

    /// Note in the metadata how far storage is, for the next open. The last pass may have been a while ago.
    pub(crate) fn note_stored(&self) -> Result<()> {
        let Some(commit) = self.stored_commit() else { return Ok(()) };
        self.note(None, commit)
    }

    /// Note in the metadata where this log is shipped to now, and that everything up to a commit is there: its frame, and its time.
    /// `place` is 0 for storage that is no directory. The place before is forgotten: the frame would not be what that has confirmed.
    pub(crate) fn note_stored_in(&self, place: u32, commit: (u64, u64)) -> Result<()> {
        self.note(Some(place), commit)
    }

    fn note(&self, place: Option<u32>, (frame_no, commit_us): (u64, u64)) -> Result<()> {
        let _pass = self.pass.lock();
        self.with_meta(|file| {
            let before = file.get();
            let stored_place = place.unwrap_or(before.stored_place);
            let meta = Meta { stored_frame_no: frame_no, stored_us: commit_us, stored_place, ..before };
            if meta == before {
                return Ok(());
            }
            file.put(meta, SyncSite::StoredPosition, |error| self.poison_if_fsync_failed(error))
        })
    }

    /// The directory to which this log has shipped last, by the metadata: [`Place::number`](crate::storage::Place::number). 0: none.
    pub(crate) fn noted_place(&self) -> Result<u32> {
        self.with_meta(|file| Ok(file.get().stored_place))
    }

    /// What the metadata says of storage: the frame, and when it was committed.
    pub(crate) fn noted_stored(&self) -> Result<(u64, u64)> {
        self.with_meta(|file| Ok((file.get().stored_frame_no, file.get().stored_us)))
    }

    /// Storage belongs to somebody else: nothing more will be shipped.
    pub(crate) fn set_fenced(&self, error: &Error) {
        let mut inner = self.remote.inner.lock();
        inner.fence.get_or_insert_with(|| error.clone());
        // Under the lock: who finds the log fenced off finds the error, too.
        self.positions.fence();
        drop(inner);
        self.remote.moved.notify_all();
        self.note_error(error);
    }

    /// The shipper is in trouble, and goes on trying.
    pub(crate) fn set_trouble(&self, error: &Error) {
        self.remote.inner.lock().trouble = Some(error.clone());
        self.note_error(error);
    }

    /// The shipper gets on again.
    pub(crate) fn clear_trouble(&self) {
        self.remote.inner.lock().trouble = None;
    }

    /// What the shipper is in trouble with.
    pub fn shipping_trouble(&self) -> Option<Error> {
        self.remote.inner.lock().trouble.clone()
    }

    /// The shipper is gone, so nobody should wait for it.
    pub(crate) fn set_shipping_stopped(&self, stopped: bool) {
        self.remote.inner.lock().stopped = stopped;
        self.remote.moved.notify_all();
    }

    /// The error that fenced this log off from its storage.
    pub fn fence(&self) -> Option<Error> {
        if !self.positions.is_fenced() {
            return None;
        }
        self.remote.inner.lock().fence.clone()
    }

    /// Bytes of frames that are committed and that storage does not have. Zero without storage.
    pub fn unshipped_bytes(&self) -> u64 {
        if !self.has_storage() {
            return 0;
        }
        let stored = self.stored_frame_no().unwrap_or_else(|| self.checkpointed_frame_no());
        self.published_frame_no().saturating_sub(stored).saturating_mul(self.frame_size() as u64)
    }

    /// Whether a write transaction may begin: the log is not fenced off, and there is room in the backlog. It may be waited for;
    /// the caller holds no lock of the log.
    pub(crate) fn check_shipping(&self) -> Result<()> {
        if !self.has_storage() {
            return Ok(());
        }
        if self.positions.is_fenced() {
            return match (self.options.shipping.fenced, self.fence()) {
                (WhenFenced::Fail, Some(error)) => Err(error),
                _ => Ok(()),
            };
        }
        let limit = self.options.shipping.backlog_size;
        if self.unshipped_bytes() < limit {
            return Ok(());
        }
        let deadline = Instant::now()
            + match self.options.shipping.backlog_full {
                BacklogFull::Fail => Duration::ZERO,
                BacklogFull::Wait => self.options.shipping.timeout,
            };
        let mut inner = self.remote.inner.lock();
        while self.unshipped_bytes() >= limit && inner.fence.is_none() {
            // Where shipping has stopped already nobody will wake this thread.
            let expired = inner.stopped || self.remote.moved.wait_until(&mut inner, deadline).timed_out();
            if (expired || inner.stopped) && self.unshipped_bytes() >= limit {
                return Err(Error::Backlog {
                    path: self.database.clone(),
                    bytes: self.unshipped_bytes(),
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
    pub fn wait_stored(&self, frame_no: u64, timeout: Duration) -> Result<()> {
        if self.stored_frame_no().is_some_and(|stored| stored >= frame_no) {
            return Ok(());
        }
        let deadline = Instant::now() + timeout;
        self.remote.waiters.fetch_add(1, Ordering::SeqCst);
        self.remote.shipper.notify();
        let mut inner = self.remote.inner.lock();
        let result = loop {
            if self.stored_frame_no().is_some_and(|stored| stored >= frame_no) {
                break Ok(());
            }
            let expired = inner.fence.is_some()
                || inner.stopped
                || self.remote.moved.wait_until(&mut inner, deadline).timed_out();
            if expired && self.stored_frame_no().is_none_or(|stored| stored < frame_no) {
                break Err(Error::NotStored {
                    path: self.database.clone(),
                    frame_no,
                    waited_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                    cause: inner.cause(),
                });
            }
        };
        drop(inner);
        self.remote.waiters.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// After a publish: the shipper has something to do. As in [`Log::committed`], the fence is the caller's.
    pub(super) fn wake_shipper(&self) {
        self.remote.shipper.notify_if_idle();
    }

    /// The shipper is about to sleep until the next commit. False: there is one already.
    pub(crate) fn shipper_may_sleep(&self, shipped: u64) -> bool {
        self.remote.shipper.may_sleep(|| {
            self.published_frame_no() > shipped || self.remote.waiters.load(Ordering::SeqCst) > 0
        })
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
