//! Durability: which frames have been fsynced, and group commit.
//!
//! A commit that has to be durable calls [`Durability::sync_commit`]: one of those that wait at the same time does the fsync, for
//! everything that is published when it begins. Who that is, and when it begins, is decided in `group.rs`. Everybody else who
//! wants frames to be durable calls [`Durability::sync_to`]. There is one fsync at a time: of two at once on one file, either may be
//! told of an error that concerns the other.
//!
//! After a failed fsync the log is poisoned: the kernel may have dropped the pages and forgotten that they were dirty, so
//! a second fsync that returns success proves nothing. Every commit is refused until the log is opened again; what
//! recovery then finds becomes durable by being copied into a new file.

use std::sync::{Arc, PoisonError};

use super::copy::replace_by_copy;
use super::group::{Call, GroupCommit, Step, Ticket};
use super::meta_file::Metadata;
use super::place::Place;
use super::shared::Shared;
use super::view::View;
use crate::error::{Error, Result};
use crate::io::SyncSite;
use crate::segment::Segment;
use crate::shm::Section;
use crate::sync::Instant;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
// Not those of `parking_lot`: its `notify_all` wakes one, which wakes the next one, and so on. Here all are woken by one
// system call, which with 16 committers gave 1.15 times the commits.
use crate::sync::standard::{Condvar, Mutex, MutexGuard};

/// Makes frames durable, and knows which are.
pub(crate) struct Durability {
    shared: Arc<Shared>,
    view: Arc<View>,
    place: Arc<Place>,
    state: SyncState,
    /// Held by a thread that fsyncs the log directory.
    names: crate::sync::Mutex<()>,
    meta: Arc<Metadata>,
    /// Fsyncs of segments that made commits durable.
    fsyncs: AtomicU64,
}

#[derive(Default)]
struct SyncState {
    inner: Mutex<Inner>,
    /// Those who wait for the end of an fsync, by its number: the end of one wakes nobody who waits for the next one.
    done: [Condvar; 2],
    /// Whether `inner.poison` is set, for those who have not taken the lock.
    poisoned: AtomicBool,
}

struct Inner {
    group: GroupCommit,
    poison: Option<Error>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner { group: GroupCommit::new(Instant::now()), poison: None }
    }
}

impl SyncState {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under it panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, number: u64) -> &Condvar {
        &self.done[usize::from(!number.is_multiple_of(2))]
    }

    /// Wait for the end of an fsync, or until it is time to ask again.
    fn wait<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        number: u64,
        until: Option<Instant>,
    ) -> MutexGuard<'a, Inner> {
        let Some(until) = until else {
            return self.done(number).wait(inner).unwrap_or_else(PoisonError::into_inner);
        };
        let left = until.saturating_duration_since(Instant::now());
        self.done(number).wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn wake_all(&self) {
        for done in &self.done {
            done.notify_all();
        }
    }
}

/// Whoever leads an fsync. One that panics has not done it, and those who wait for its end would wait for ever.
struct Leading<'a>(&'a Durability);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.state.lock();
        self.0.set_poison(&mut inner, &Error::Usage("a thread panicked in an fsync of the log".into()));
        inner.group.finish(Instant::now());
        drop(inner);
        self.0.state.wake_all();
    }
}

impl Durability {
    /// Of a log that has just been opened.
    pub(super) fn new(
        shared: &Arc<Shared>,
        view: &Arc<View>,
        place: &Arc<Place>,
        meta: &Arc<Metadata>,
    ) -> Durability {
        Durability {
            shared: Arc::clone(shared),
            view: Arc::clone(view),
            place: Arc::clone(place),
            state: SyncState::default(),
            names: crate::sync::Mutex::default(),
            meta: Arc::clone(meta),
            fsyncs: AtomicU64::new(0),
        }
    }

    /// Fsyncs of segments that made commits durable since the log was opened. Those that seal a segment or prepare a file are not among
    /// them. With group commit there are fewer than commits.
    pub(crate) fn sync_count(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    /// Return when every frame up to `frame_no` is durable. `frame_no` must be published, or be the end of the caller's
    /// own tentative commit. `site`: why the caller wants that.
    pub(crate) fn sync_to(&self, frame_no: u64, site: SyncSite) -> Result<()> {
        self.sync_between(frame_no, u64::MAX, site)
    }

    /// The same, leaving alone what was published behind `frame_no`. To seal a segment it is of no use to fsync the one
    /// that is being written: its last block would be written twice.
    pub(crate) fn sync_just_to(&self, frame_no: u64, site: SyncSite) -> Result<()> {
        self.sync_between(frame_no, frame_no, site)
    }

    fn sync_between(&self, frame_no: u64, limit: u64, site: SyncSite) -> Result<()> {
        self.check_not_closed()?;
        let mut inner = self.state.lock();
        loop {
            self.adopt_poison(&mut inner);
            if let Some(result) = self.outcome(&inner, frame_no, site.promises()) {
                return result;
            }
            let target = self.shared.positions.published().max(frame_no).min(limit);
            match inner.group.intrude(target, limit == u64::MAX, Instant::now()) {
                None => {
                    drop(inner);
                    return self.lead(target, site);
                }
                Some(number) => inner = self.state.wait(inner, number, None),
            }
        }
    }

    /// Return when the commit that ends at `frame_no` is durable. It is published, and the write lock released: other
    /// commits may be waited for, so that one fsync serves them all.
    pub(crate) fn sync_commit(&self, frame_no: u64) -> Result<()> {
        let mut inner = self.state.lock();
        let mut ticket = Ticket::default();
        loop {
            self.adopt_poison(&mut inner);
            if let Some(result) = self.outcome(&inner, frame_no, true) {
                inner.group.leave(&mut ticket);
                return result;
            }
            let target = self.shared.positions.published().max(frame_no);
            match inner.group.step(&mut ticket, frame_no, target, Instant::now()) {
                Step::Lead => {
                    drop(inner);
                    return self.lead(target, SyncSite::CommittedFrames);
                }
                Step::Wait { number, until } => inner = self.state.wait(inner, number, until),
            }
        }
    }

    /// A handle that outlives the last connection may not fsync: others may have the slot of this process by now.
    fn check_not_closed(&self) -> Result<()> {
        if !self.shared.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::NotVirtual(format!("'{}'", self.shared.database.display())))
    }

    /// What is known of the frames up to `frame_no`: that they are durable, or that no fsync will be believed any more.
    fn outcome(&self, inner: &Inner, frame_no: u64, promises: bool) -> Option<Result<()>> {
        match &inner.poison {
            Some(poison) => Some(Err(poison.clone())),
            None => {
                (self.shared.positions.synced() >= frame_no).then(|| self.check_found(frame_no, promises))
            }
        }
    }

    /// Whether fsynced frames up to `frame_no` will be found by the next open, if that is promised; see
    /// [`SyncSite::promises`].
    fn check_found(&self, frame_no: u64, promises: bool) -> Result<()> {
        match self.place.gone() {
            Some(gone) if promises && self.shared.positions.checkpointed() < frame_no => Err(gone),
            _ => Ok(()),
        }
    }

    /// The fsync, and its result for all who wait for it. What is published after `target` was read may or may not be
    /// covered; it does not count.
    fn lead(&self, target: u64, site: SyncSite) -> Result<()> {
        let leading = Leading(self);
        // Of all processes: each is told of an error for itself, and nobody may take frames for durable before the others know of it.
        let alone = self.shared.memory.enter(Section::Fsync);
        // Another process may have done it meanwhile.
        let result = if self.shared.memory.state().is_poisoned() || self.shared.positions.synced() >= target {
            Ok(())
        } else {
            self.sync_files(target, site)
        };
        std::mem::forget(leading);
        let mut inner = self.state.lock();
        self.adopt_poison(&mut inner);
        let result = match (&inner.poison, result) {
            (Some(poison), Ok(())) => Err(poison.clone()),
            (_, result) => result,
        };
        match &result {
            Ok(()) => {
                self.shared.positions.sync(target);
            }
            Err(error) if error.is_failed_fsync() => self.set_poison(&mut inner, error),
            // It could not be tried: an error of this caller. The others try for themselves.
            Err(_) => {}
        }
        drop(alone);
        let is_poisoned = inner.poison.is_some();
        let finished = inner.group.finish(Instant::now());
        drop(inner);
        if is_poisoned {
            self.state.wake_all();
            return result;
        }
        if finished.release {
            self.state.done(finished.number).notify_all();
        }
        match finished.call {
            Call::Nobody => {}
            Call::One => self.state.done(finished.number + 1).notify_one(),
            Call::All => self.state.done(finished.number + 1).notify_all(),
        }
        result.and_then(|()| self.check_found(target, site.promises()))
    }

    /// Fsync every segment that has frames up to `target` which are not durable, and the directory if names in it changed.
    fn sync_files(&self, target: u64, site: SyncSite) -> Result<()> {
        let synced = self.shared.positions.synced();
        self.view.know(target)?;
        let mut segments = self.view.segments();
        // The last one is the current one; of the others those that end after the durable frames.
        let last = segments.last().cloned();
        segments.retain(|segment| {
            let is_last = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, segment));
            segment.start() <= target && (is_last || !segment.is_sealed() && segment.end() > synced)
        });
        for segment in segments {
            // Nobody finds a file without a name after a crash, and no copy could take its place.
            if segment.is_doubtful() && !self.place.has_no_names() {
                self.renew(&segment)?
            } else {
                segment.sync(site)?
            }
            self.fsyncs.fetch_add(1, Ordering::Relaxed);
        }
        self.place.look();
        if self.place.is_gone() { Ok(()) } else { self.sync_new_names(SyncSite::SegmentNames) }
    }

    /// How many committers wait for an fsync that has not begun.
    #[cfg(test)]
    pub(crate) fn waiting_for_sync(&self) -> usize {
        self.state.lock().group.gathered()
    }

    /// Something failed of which an fsync may be a part: accept no more commits if it was the fsync. What could not be
    /// opened, written or removed says nothing about what is durable.
    pub(crate) fn poison_if_fsync_failed(&self, error: &Error) {
        if error.is_failed_fsync() {
            self.poison(error);
        }
    }

    /// What this log relies on may be gone: accept no more commits.
    pub(crate) fn poison(&self, error: &Error) {
        self.set_poison(&mut self.state.lock(), error);
        self.state.wake_all();
    }

    fn set_poison(&self, inner: &mut Inner, error: &Error) {
        inner.poison.get_or_insert_with(|| poison_of(error));
        self.state.poisoned.store(true, Ordering::Release);
        self.shared.memory.state().poison();
        self.shared.trouble.note_error(error);
    }

    /// An fsync may have failed in another process.
    fn adopt_poison(&self, inner: &mut Inner) {
        if inner.poison.is_some() || !self.shared.memory.state().is_poisoned() {
            return;
        }
        let message =
            "an fsync failed in another process that has the database open, which was told of it".into();
        inner.poison = Some(Error::Poisoned { path: self.shared.dir.clone(), message });
        self.state.poisoned.store(true, Ordering::Release);
    }

    /// The error that every commit gets once the log is poisoned.
    pub(crate) fn check_poison(&self) -> Result<()> {
        if !self.shared.memory.state().is_poisoned() {
            return Ok(());
        }
        let mut inner = self.state.lock();
        self.adopt_poison(&mut inner);
        match &inner.poison {
            Some(poison) => Err(poison.clone()),
            None => Ok(()),
        }
    }

    /// A background task that failed before has succeeded. What poisoned the log stays.
    pub(super) fn clear_error(&self) {
        if self.check_poison().is_ok() {
            self.shared.trouble.clear_error();
        }
    }

    /// The tentative commit is dropped, after it may have been fsynced; its frame numbers will be used again.
    pub(super) fn take_back(&self) {
        let _guard = self.state.lock();
        self.shared.positions.take_back();
    }

    /// Make the frames of a segment durable of which an fsync proves nothing: they are copied into a file that is fsynced and
    /// takes the place of theirs. Whoever still reads from that may go on.
    ///
    /// Nothing frees the segment meanwhile, since it is not durable. The caller fsyncs the directory.
    pub(super) fn renew(&self, segment: &Arc<Segment>) -> Result<()> {
        let file =
            replace_by_copy(&*self.shared.io, segment, SyncSite::RenewedSegment).inspect_err(|error| {
                // The pages that recovery read are gone: commits on top of them would be lost with them at the next open.
                if matches!(error, Error::Corrupt { .. }) {
                    self.poison(error);
                }
            })?;
        self.name_changed();
        let renewed = Arc::new(segment.in_copy(file));
        self.view.replace(segment, renewed);
        Ok(())
    }

    /// A segment got a new name.
    pub(super) fn name_changed(&self) {
        self.shared.memory.state().change_names();
    }

    /// Whether what was found at the open would survive a power loss.
    pub(super) fn is_settled(&self) -> bool {
        self.shared.memory.state().is_settled()
    }

    /// Before anything is written into a log that was at rest when it was opened. The process before may have died before it fsynced its
    /// metadata, and the state before that could come back, of another log perhaps. And before it fsynced the directory: a spare
    /// could come back under the name that it had as a segment, with what is written into it now.
    pub(super) fn settle(&self) -> Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        let state = self.shared.memory.state();
        self.meta.with(|meta| {
            if state.is_settled() {
                return Ok(());
            }
            // Once more, in the other slot: an fsync of what a failed one took for written would write nothing.
            meta.put(meta.get(), SyncSite::MetaAtRest, |error| self.poison_if_fsync_failed(error))
        })?;
        self.sync_names(SyncSite::NamesAtRest)?;
        state.settle();
        Ok(())
    }

    /// Fsync the directory if a name of a segment in it is new. Whoever finds it done already may rely on it: it counts
    /// from the end of the fsync.
    pub(super) fn sync_new_names(&self, site: SyncSite) -> Result<()> {
        let state = self.shared.memory.state();
        if state.names_durable() >= state.names_changed() { Ok(()) } else { self.sync_names(site) }
    }

    /// Fsync the directory. After a failure the names of segments that commits depend on may be lost as well.
    pub(crate) fn sync_names(&self, site: SyncSite) -> Result<()> {
        // The system tells an error once: nobody may try again before the log is poisoned.
        let _alone = self.names.lock();
        self.check_poison()?;
        let changed = self.shared.memory.state().names_changed();
        self.shared
            .io
            .sync_dir(&self.shared.dir, site)
            .inspect_err(|error| self.poison_if_fsync_failed(error))?;
        self.shared.memory.state().names_are_durable(changed);
        Ok(())
    }
}

fn poison_of(error: &Error) -> Error {
    let path = match error {
        Error::Io { path, .. } | Error::Full { path, .. } | Error::ReadOnly { path } => path.clone(),
        _ => Default::default(),
    };
    Error::Poisoned { path, message: error.to_string() }
}
