//! The base file of an inspected database, judged as an open judges it ([`BaseState::difference`]).

use std::path::Path;

use super::Inspection;
use crate::error::Result;
use crate::format::meta::Meta;
use crate::io::{Io, OpenMode};
use crate::log::{BaseState, Pass, Verdict, commit_us_of};

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

/// When a frame of the log was committed, if it ends a commit.
fn commit_us(verdict: &Verdict, meta: &Meta, frame_no: u64) -> Option<u64> {
    let segments = verdict.kept().map(|(judged, _)| (judged.start, &*judged.file));
    commit_us_of(segments, meta.page_size, frame_no)
}

/// The base file and the log, held against each other.
pub(super) fn compare(
    base: &BaseState,
    dir: &Path,
    verdict: &Verdict,
    meta: &Meta,
    inspection: &mut Inspection,
) {
    let end = verdict.end().max(meta.checkpointed_frame_no);
    let drained = end <= meta.checkpointed_frame_no;
    let commit_us = |frame_no| commit_us(verdict, meta, frame_no);
    let pass = Pass::of(meta, verdict.kept().map(|(_, scan)| scan));
    let Some(difference) = base.difference(meta, &pass, drained, commit_us) else { return };
    if base.is_empty() && !drained {
        let message = format!(
            "the file is empty, while frames {} to {end} are only in the log. Put the file back; or, to give those commits up, move the \
             log directory away. (An application that opens the file through vwal gives that directory another name, with everything \
             in it, and begins a new log.)",
            meta.checkpointed_frame_no + 1
        );
        inspection.is_orphaned = true;
        inspection.find(&inspection.path.clone(), None, message);
    } else if drained {
        inspection.notes.push(format!(
            "the database file was changed without vwal ({difference}); when it is opened next, a new log begins"
        ));
    } else {
        let what = difference.with_frames(meta.checkpointed_frame_no + 1, end);
        let message = format!("{what}. {}", difference.advice(dir));
        inspection.find(&inspection.path.clone(), None, message);
    }
}
