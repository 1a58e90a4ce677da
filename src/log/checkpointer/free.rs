//! Freeing segments that nobody needs any more.

use std::path::PathBuf;
use std::sync::Arc;

use super::Checkpointer;
use crate::error::Result;
use crate::io::SyncSite;

impl Checkpointer {
    /// Free segments outside a pass: a generation that ended may have been all that kept them.
    pub(crate) fn free_segments_between_passes(&self) -> Result<()> {
        let _pass = self.pass.lock();
        self.free_segments()
    }

    /// Free the segments that are checkpointed and belong to a generation that nobody reads through the WAL any more.
    pub(super) fn free_segments(&self) -> Result<()> {
        self.place.look();
        let limit = self.shared.positions.checkpointed().min(self.shared.positions.generation_base());
        if self.place.has_no_names() {
            // Their files end with the last reader that has one open.
            self.writer.take_segments(limit);
            return Ok(());
        }
        if self.place.is_gone() || !self.shared.io.anchor_takes_files() {
            // The segments stay where they are; recovery sees that they are checkpointed.
            return Ok(());
        }
        let freed = self.writer.take_segments(limit);
        if freed.is_empty() {
            return Ok(());
        }
        let mut spares: Vec<PathBuf> = Vec::new();
        for segment in freed {
            // A reader that found the segment a moment ago may still read from it. Its file is removed, which leaves the
            // reader's descriptor valid, and not overwritten.
            let path = segment.path().to_owned();
            match Arc::try_unwrap(segment) {
                Ok(segment) => {
                    let len = segment.file_size()?;
                    drop(segment);
                    let max_len = 2 * self.writer.spare_size();
                    spares.extend(self.writer.spares().retire(
                        &*self.shared.io,
                        &path,
                        spares.len(),
                        max_len,
                        len,
                    )?);
                }
                Err(_) => self.shared.io.remove_file(&path)?,
            }
        }
        self.durability.sync_names(SyncSite::FreedSegments)?;
        for path in spares {
            self.writer.spares().add(path);
        }
        Ok(())
    }
}
