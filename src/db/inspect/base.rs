//! The base file of an inspected database, judged as an open judges it ([`BaseState::difference`]).

use std::path::Path;
use std::sync::Arc;

use super::Inspection;
use crate::error::Result;
use crate::format::meta::Meta;
use crate::io::{File, Io, OpenMode};
use crate::log::{BaseState, Pass, commit_us_of};
use crate::segment::load;

/// Segments by their first frames.
type Segments = [(u64, Arc<dyn File>)];

/// What the segments hold of a pass that is under way. One that cannot be read is told of when it is looked at itself.
pub(super) fn pass(meta: Option<&Meta>, segments: &Segments) -> Pass {
    let mut pass = Pass::default();
    let Some(meta) = meta.filter(|meta| meta.has_intent()) else { return pass };
    let ends = segments.iter().skip(1).map(|&(start, _)| start).chain([u64::MAX]);
    for ((start, file), end) in segments.iter().zip(ends) {
        if let Ok(mut scan) = load(&**file)
            && scan.header.log_id == meta.log_id
        {
            // As recovery: where the next segment begins this one ends.
            scan.marks.truncate(usize::try_from(end - start).unwrap_or(usize::MAX));
            pass.note(meta, *start, &scan.marks);
        }
    }
    pass
}

/// Read the database file.
pub(super) fn read(io: &dyn Io, path: &Path, inspection: &mut Inspection) -> Result<BaseState> {
    let file = io.open(path, OpenMode::Read)?;
    let meta = inspection.meta();
    let base = BaseState::read(&*file, meta.as_ref())?;
    let Some(header) = base.header else {
        // Of a pass that was interrupted, page 1 may be in the log alone.
        if file.size()? > 0 && !meta.is_some_and(|meta| meta.has_intent()) {
            inspection.find(path, 0, "this is not the start of an SQLite database");
        }
        return Ok(base);
    };
    inspection.is_wal = header.is_wal;
    inspection.page_size = Some(header.page_size);
    inspection.db_size_pages = Some(base.db_size_pages(header.page_size));
    inspection.footer = base.footer();
    // A pass that is under way may have it torn.
    if let Some((offset, problem)) = base.damaged_footer(header.page_size)
        && !meta.is_some_and(|meta| meta.has_intent())
    {
        inspection.find(path, offset, problem);
    }
    Ok(base)
}

/// The base file and the log, held against each other.
pub(super) fn compare(base: &BaseState, pass: &Pass, segments: &Segments, inspection: &mut Inspection) {
    let Some(meta) = inspection.meta() else { return };
    let end = inspection.frame_no().unwrap_or(0);
    let drained = end <= meta.checkpointed_frame_no;
    let commit_us = |frame_no| {
        commit_us_of(segments.iter().map(|(start, file)| (*start, &**file)), meta.page_size, frame_no)
    };
    let Some(difference) = base.difference(&meta, pass, drained, commit_us) else { return };
    if drained {
        inspection.notes.push(format!(
            "the database file was changed without vwal ({difference}); when it is opened next, a new log begins"
        ));
    } else {
        let message = format!(
            "something other than vwal changed or replaced it ({difference}), while frames {} to {end} are only in the log",
            meta.checkpointed_frame_no + 1
        );
        inspection.find(&inspection.path.clone(), None, message);
    }
}
