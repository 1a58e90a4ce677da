//! The metadata: what it says of the base file, and of storage.

use super::Checkpointer;
use crate::error::{Error, Result};
use crate::format::meta::{Meta, PLACES, StoredIn};
use crate::io::SyncSite;
use crate::log::meta_file::MetaFile;
use crate::shm::Section;
use crate::types::CommitId;

impl Checkpointer {
    /// The state that the metadata holds.
    pub(in crate::log) fn meta(&self) -> Result<Meta> {
        self.with_meta(|file| Ok(file.get()))
    }

    /// The next state of the metadata, durably.
    pub(super) fn put_meta(&self, meta: Meta, site: SyncSite) -> Result<()> {
        // It goes over the state before the current one, which is the only one on the disk perhaps.
        self.durability.settle()?;
        self.with_meta(|file| file.put(meta, site, |error| self.durability.poison_if_fsync_failed(error)))
    }

    /// Note that a pass to `target` begins: from now on the base file may be between two states.
    pub(in crate::log) fn intend(&self, target: u64) -> Result<()> {
        let intent = Meta { intent_frame_no: target, ..self.meta()? };
        if intent.has_intent() { self.put_meta(intent, SyncSite::Intent) } else { Ok(()) }
    }

    fn with_meta<T>(&self, use_meta: impl FnOnce(&mut MetaFile) -> Result<T>) -> Result<T> {
        let used = self.meta.with(use_meta)?;
        used.ok_or_else(|| Error::ReadOnly { path: self.shared.dir.clone() })
    }

    /// The commit that the base file is at.
    pub(crate) fn checkpointed_commit(&self) -> Result<CommitId> {
        self.meta().map(|meta| meta.checkpointed_commit())
    }

    /// Storage has at most everything up to `frame_no`, or less. If more was known, nothing is known until storage has been asked and
    /// has what it needs: a pass that went on with more would bring frames to the base file that storage lacks. One that is under way
    /// is waited for.
    pub(crate) fn forget_stored_above(&self, frame_no: u64) {
        let _pass = self.pass.lock();
        let alone = self.shared.memory.enter(Section::Pass);
        self.remote.forget_stored_above(frame_no);
        if alone.is_inherited() {
            // The next pass goes on.
            alone.abandon();
        }
    }

    /// Note in the metadata how far storage is, for the next open. The last pass may have been a while ago.
    pub(crate) fn note_stored(&self) -> Result<()> {
        let _pass = self.enter_pass()?;
        self.remote.stored().map_or(Ok(()), |stored| self.note(stored))
    }

    /// Note in the metadata what a place has of this log.
    pub(crate) fn note_stored_in(&self, stored: StoredIn) -> Result<()> {
        let _pass = self.enter_pass()?;
        self.note(stored)
    }

    fn note(&self, stored: StoredIn) -> Result<()> {
        // What the metadata says already may be in the page cache alone, and somebody is about to rely on it.
        self.durability.settle()?;
        let before = self.meta()?;
        let meta = before.with_stored(stored);
        if meta == before { Ok(()) } else { self.put_meta(meta, SyncSite::StoredPosition) }
    }

    /// What the metadata says of a place of storage.
    pub(crate) fn noted_stored(&self, place: u32) -> Result<Option<StoredIn>> {
        self.meta().map(|meta| meta.stored_in(place))
    }

    /// The commits that storage, wherever it was, is known to have confirmed.
    pub(crate) fn noted_commits(&self) -> Result<[CommitId; PLACES + 1]> {
        self.meta().map(|meta| meta.shipped())
    }
}
