//! A segment that is copied into a new file, which takes the place of its own: for frames that an fsync of the old file would not prove to
//! be durable, and to cut off what is after a damaged frame.

use std::sync::Arc;

use crate::error::Result;
use crate::io::{File, Io, OpenMode, SyncSite};
use crate::segment::Segment;

/// The ending of the copy's name until it takes the segment's place.
pub(super) const COPY_SUFFIX: &str = "copy";

/// Put a copy of its published frames, and nothing else, in the place of a segment's file. The name is not durable yet.
pub(super) fn replace_by_copy(io: &dyn Io, segment: &Segment, site: SyncSite) -> Result<Arc<dyn File>> {
    let copy_path = segment.path().with_extension(COPY_SUFFIX);
    let copied = io.open(&copy_path, OpenMode::Create).and_then(|copy| {
        segment.copy_to(&*copy, site)?;
        drop(copy);
        io.rename(&copy_path, segment.path())
    });
    if let Err(error) = copied {
        // On a full disk its blocks are for commits. Where it stays, the next copy is written over it.
        let _ = io.remove_file(&copy_path);
        return Err(error);
    }
    io.open(segment.path(), OpenMode::ReadWrite)
}
