//! Freeing segments that nobody needs any more.

use std::path::PathBuf;
use std::sync::Arc;

use super::Checkpointer;
use crate::error::Result;
use crate::io::SyncSite;
use crate::shm::Section;

impl Checkpointer {
    /// Free segments outside a pass: a generation that ended may have been all that kept them.
    pub(crate) fn free_segments_between_passes(&self) -> Result<()> {
        if !self.shared.memory.was_shared() {
            let _pass = self.enter_pass()?;
            return self.free_segments();
        }
        // A process that was stopped in a pass must not hold up the tasks of this one: the next turn frees as well.
        match self.try_enter_pass()? {
            Some(_pass) => self.free_segments(),
            None => Ok(()),
        }
    }

    /// Free the segments that are checkpointed and belong to a generation that nobody reads through the WAL any more.
    pub(super) fn free_segments(&self) -> Result<()> {
        self.place.look();
        let limit = self.shared.positions.checkpointed().min(self.shared.positions.generation_base());
        if self.place.has_no_names() {
            // Their files end with the last reader that has one open.
            self.writer.take_segments(limit)?;
            return Ok(());
        }
        if self.place.is_gone() || !self.shared.io.anchor_takes_files() {
            // The segments stay where they are; recovery sees that they are checkpointed.
            return Ok(());
        }
        let was_shared = self.shared.memory.was_shared();
        // Nobody writes a seal into a file that is another segment's by then.
        let sealing = self.shared.memory.enter(Section::Seal);
        let result = self.free_alone(limit, was_shared);
        if sealing.is_inherited() {
            // The next one that seals has to know it.
            sealing.abandon();
        }
        result
    }

    fn free_alone(&self, limit: u64, was_shared: bool) -> Result<()> {
        // Those that other processes have begun, and of which this one may not know.
        let others = if was_shared { self.view.free_files(limit)? } else { Vec::new() };
        let freed = self.writer.take_segments(limit)?;
        if freed.is_empty() && others.is_empty() {
            return Ok(());
        }
        let or_gone = |result: Result<()>| match result {
            // Another process has freed it.
            Err(error) if was_shared && error.is_not_found() => Ok(()),
            result => result,
        };
        for path in others {
            or_gone(self.shared.io.remove_file(&path))?;
        }
        let mut spares: Vec<PathBuf> = Vec::new();
        for segment in freed {
            if was_shared && segment.end() < segment.start() {
                // Another process has removed its file, since it had no frames, and another one may have its name.
                continue;
            }
            // A reader that found the segment a moment ago may still read from it. Its file is removed, which leaves the
            // reader's descriptor valid, and not overwritten.
            let path = segment.path().to_owned();
            match Arc::try_unwrap(segment) {
                Ok(segment) => {
                    let len = segment.file_size()?;
                    drop(segment);
                    let max_len = 2 * self.writer.spare_size();
                    let (io, pool) = (&*self.shared.io, self.writer.spares());
                    let retired = pool.retire(io, &path, spares.len(), max_len, len);
                    or_gone(retired.map(|spare| spares.extend(spare)))?;
                }
                Err(_) => or_gone(self.shared.io.remove_file(&path))?,
            }
        }
        self.durability.sync_names(SyncSite::FreedSegments)?;
        for path in spares {
            self.writer.spares().add(path);
        }
        Ok(())
    }
}
