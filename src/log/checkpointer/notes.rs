//! The metadata: what it says of the base file, and of storage.

use super::Checkpointer;
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::io::SyncSite;
use crate::log::meta_file::MetaFile;

impl Checkpointer {
    /// The state that the metadata holds.
    pub(in crate::log) fn meta(&self) -> Result<Meta> {
        self.with_meta(|file| Ok(file.get()))
    }

    /// The next state of the metadata, durably.
    pub(super) fn put_meta(&self, meta: Meta, site: SyncSite) -> Result<()> {
        self.with_meta(|file| file.put(meta, site, |error| self.durability.poison_if_fsync_failed(error)))
    }

    /// Note that a pass to `target` begins: from now on the base file may be between two states.
    pub(in crate::log) fn intend(&self, target: u64) -> Result<()> {
        let intent = Meta { intent_frame_no: target, ..self.meta()? };
        if intent.has_intent() { self.put_meta(intent, SyncSite::Intent) } else { Ok(()) }
    }

    fn with_meta<T>(&self, use_meta: impl FnOnce(&mut MetaFile) -> Result<T>) -> Result<T> {
        match &mut *self.meta.lock() {
            Some(meta) => use_meta(meta),
            None => Err(Error::ReadOnly { path: self.shared.dir.clone() }),
        }
    }

    /// The commit that the base file is at: its frame, and when it was made.
    pub(crate) fn checkpointed_commit(&self) -> Result<(u64, u64)> {
        self.meta().map(|meta| (meta.checkpointed_frame_no, meta.commit_us))
    }

    /// Note in the metadata how far storage is, for the next open. The last pass may have been a while ago.
    pub(crate) fn note_stored(&self) -> Result<()> {
        let Some(commit) = self.remote.stored_commit() else { return Ok(()) };
        self.note_stored_in(0, commit)
    }

    /// Note in the metadata that the place `place` has everything of this log up to a commit: its frame, and its time. What
    /// is noted of a place stays when this one is none that could be noted: 0.
    pub(crate) fn note_stored_in(&self, place: u32, (frame_no, commit_us): (u64, u64)) -> Result<()> {
        let _pass = self.pass.lock();
        let before = self.meta()?;
        let stored_place = if place == 0 { before.stored_place } else { place };
        let meta = Meta { stored_frame_no: frame_no, stored_us: commit_us, stored_place, ..before };
        if meta == before { Ok(()) } else { self.put_meta(meta, SyncSite::StoredPosition) }
    }

    /// The place that has something of this log, by the metadata. 0: none, or none that is known.
    pub(crate) fn noted_place(&self) -> Result<u32> {
        self.meta().map(|meta| meta.stored_place)
    }

    /// What the metadata says of storage: the frame, and when it was committed.
    pub(crate) fn noted_stored(&self) -> Result<(u64, u64)> {
        self.meta().map(|meta| (meta.stored_frame_no, meta.stored_us))
    }
}
