//! Durability: which frames have been fsynced, and group commit.
//!
//! Whoever needs a frame to be durable calls [`Log::sync_to`]. The first one does the fsync, for everything published
//! at that moment; those who come meanwhile wait for it, or for the next one.
//!
//! After a failed fsync the log is poisoned: the kernel may have dropped the pages and forgotten that they were dirty, so
//! a second fsync that returns success proves nothing. Every commit is refused until the log is opened again; recovery
//! then copies what it reads into a new file before it trusts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use super::Log;
use crate::error::{Error, Result};
use crate::segment::Segment;

#[derive(Default)]
pub(super) struct SyncState {
    inner: Mutex<Inner>,
    done: Condvar,
    /// Whether `inner.poison` is set, for those who have not taken the lock.
    poisoned: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// Somebody is at the fsync.
    leader: bool,
    poison: Option<Error>,
}

impl Log {
    /// Return when every frame up to `frame_no` is durable. `frame_no` must be published, or be the end of the caller's
    /// own tentative commit.
    pub fn sync_to(&self, frame_no: u64) -> Result<()> {
        self.sync_between(frame_no, u64::MAX)
    }

    /// The same, leaving alone what was published behind `frame_no`. To seal a segment it is of no use to fsync the one
    /// that is being written: its last block would be written twice.
    pub(crate) fn sync_just_to(&self, frame_no: u64) -> Result<()> {
        self.sync_between(frame_no, frame_no)
    }

    fn sync_between(&self, frame_no: u64, limit: u64) -> Result<()> {
        if self.synced_frame_no() >= frame_no {
            return self.check_poison();
        }
        let mut inner = self.sync.inner.lock();
        loop {
            if let Some(poison) = &inner.poison {
                return Err(poison.clone());
            }
            if self.synced_frame_no() >= frame_no {
                return Ok(());
            }
            if !inner.leader {
                break;
            }
            self.sync.done.wait(&mut inner);
        }
        inner.leader = true;
        drop(inner);
        // What is published after this load may or may not be covered by the fsync; it does not count.
        let target = self.published_frame_no().max(frame_no).min(limit);
        let result = self.sync_files(target);
        let mut inner = self.sync.inner.lock();
        inner.leader = false;
        match &result {
            Ok(()) => {
                self.control.synced.fetch_max(target, Ordering::AcqRel);
            }
            Err(error) => {
                self.set_poison(&mut inner, error);
            }
        }
        self.sync.done.notify_all();
        result
    }

    /// Fsync every segment that has frames up to `target` which are not durable, and the directory if names in it changed.
    fn sync_files(&self, target: u64) -> Result<()> {
        let synced = self.synced_frame_no();
        let segments: Vec<Arc<Segment>> = {
            let list = self.segments.read();
            // The last one is the current one; of the others those that end behind the durable frames.
            let last = list.len().saturating_sub(1);
            list.iter()
                .enumerate()
                .filter(|(_, segment)| segment.start() <= target)
                .filter(|(at, segment)| *at == last || (!segment.is_sealed() && segment.end() > synced))
                .map(|(_, segment)| Arc::clone(segment))
                .collect()
        };
        for segment in segments {
            segment.sync()?;
            self.stats.count_sync();
        }
        if self.names_changed.swap(false, Ordering::AcqRel) {
            self.io.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Fsync the directory. After a failure the names of segments that commits depend on may be lost as well.
    pub(crate) fn sync_names(&self) -> Result<()> {
        self.io.sync_dir(&self.dir).inspect_err(|error| self.poison(error))
    }

    /// Have a spare file ready for the next segment.
    pub(crate) fn prepare_spare(&self) -> Result<()> {
        let path = self.spares.prepare(&*self.io, self.spare_size())?;
        self.sync_names()?;
        self.spares.add(path);
        Ok(())
    }

    /// An fsync failed somewhere: accept no more commits.
    pub(crate) fn poison(&self, error: &Error) {
        self.set_poison(&mut self.sync.inner.lock(), error);
        self.sync.done.notify_all();
    }

    fn set_poison(&self, inner: &mut Inner, error: &Error) {
        inner.poison.get_or_insert_with(|| poison_of(error));
        self.sync.poisoned.store(true, Ordering::Release);
        self.note_error(error);
    }

    /// The error that every commit gets after a failed fsync.
    pub(crate) fn check_poison(&self) -> Result<()> {
        if !self.sync.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        match &self.sync.inner.lock().poison {
            Some(poison) => Err(poison.clone()),
            None => Ok(()),
        }
    }

    /// Frames behind `published` were dropped after they had been fsynced; their numbers will be used again.
    pub(super) fn forget_sync_beyond(&self, published: u64) {
        let _guard = self.sync.inner.lock();
        self.control.synced.fetch_min(published, Ordering::AcqRel);
    }
}

fn poison_of(error: &Error) -> Error {
    let path = match error {
        Error::Io { path, .. } | Error::Full { path, .. } | Error::ReadOnly { path } => path.clone(),
        _ => Default::default(),
    };
    Error::Poisoned { path, message: error.to_string() }
}
