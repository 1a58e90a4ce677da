//! The segments of an inspected log, judged as recovery judges them (`log/judge.rs`).

use std::path::Path;
use std::sync::Arc;

use super::{Depth, InspectedSegment, Inspection};
use crate::error::Result;
use crate::format::bundle::Commit;
use crate::format::frame::FrameLayout;
use crate::format::meta::Meta;
use crate::io::{File, Io, OpenMode};
use crate::log::{
    Fate, Finding, Judged, LOCK_NAME, META_NAME, NEW_META_NAME, ReadDepth, Verdict, judge, read,
};
use crate::restore::LoggedCommit;
use crate::segment::{self, is_spare_name, parse_segment_name};
use crate::shm::SHM_NAME;
use crate::types::SegmentState;

/// The segment files, by name. Each is open, so that it can be read to its end even if its name goes.
pub(super) fn open(
    io: &dyn Io,
    dir: &Path,
    inspection: &mut Inspection,
) -> Result<Vec<(u64, Arc<dyn File>)>> {
    let mut segments = Vec::new();
    for name in io.list(dir)? {
        let path = dir.join(&name);
        if let Some(start) = parse_segment_name(&name) {
            match io.open(&path, OpenMode::Read) {
                Ok(file) => segments.push((start, file)),
                // Freed since the directory was listed.
                Err(error) if error.is_not_found() => {}
                Err(error) => inspection.find_error(&path, error)?,
            }
        } else if is_spare_name(&name) {
            inspection.spare_files += 1;
        } else if ![LOCK_NAME, META_NAME, NEW_META_NAME, SHM_NAME].contains(&name.as_str()) {
            inspection.notes.push(format!("'{}' is not a file that vwal relies on", path.display()));
        }
    }
    segments.sort_unstable_by_key(|(start, _)| *start);
    Ok(segments)
}

/// The commits of the log that the segments hold, in their order. Damage ends them without a word: verifying tells.
pub(super) fn commits(verdict: &Verdict, meta: &Meta) -> Vec<LoggedCommit> {
    let mut commits = Vec::new();
    for judged in &verdict.segments {
        let scan = match (&judged.fate, &judged.scan) {
            (Fate::Refused, _) => break,
            (Fate::Kept | Fate::Stale, Some(scan)) => scan,
            _ => continue,
        };
        let (end, page_size) = (scan.end_frame_no(), scan.header.page_size);
        let in_base = meta.checkpointed_frame_no.min(end);
        let mut own = Vec::new();
        let scanned = segment::scan(&*judged.file, in_base, |frame| {
            own.push(Commit {
                frame_no: frame.frame_no.get(),
                commit_us: frame.commit_us.get(),
                db_size_pages: frame.db_size_pages.get(),
            });
        });
        let Ok(scanned) = scanned else { break };
        let mut before = judged.start - 1;
        for commit in own.into_iter().filter(|commit| commit.frame_no <= end) {
            if commit.frame_no >= scanned.first_frame_no {
                // Frames before it may have been stepped over.
                before = before.max(scanned.first_frame_no - 1);
            }
            let frames = Some(commit.frame_no - before);
            before = commit.frame_no;
            commits.push(LoggedCommit { log_id: meta.log_id, commit, frames, page_size });
        }
    }
    commits
}

/// What recovery would make of the segments.
pub(super) fn judged(files: &[(u64, Arc<dyn File>)], meta: &Meta, dir: &Path, depth: Depth) -> Verdict {
    let depth = match depth {
        Depth::Heads => ReadDepth::All,
        Depth::Frames => ReadDepth::Frames,
    };
    judge(read(files.to_vec(), meta, depth), meta, dir)
}

/// Say what is there, and what is made of it.
pub(super) fn tell(verdict: &mut Verdict, meta: &Meta, inspection: &mut Inspection) -> Result<()> {
    for Finding { error, path, .. } in std::mem::take(&mut verdict.findings) {
        inspection.find_error(&path, error)?;
    }
    inspection.db_size_pages = Some(meta.db_size_pages);
    let last = verdict.segments.last().map(|judged| judged.start);
    for judged in &verdict.segments {
        tell_one(judged, Some(judged.start) == last, meta, inspection);
    }
    Ok(())
}

fn tell_one(judged: &Judged, is_last: bool, meta: &Meta, inspection: &mut Inspection) {
    let path = judged.file.path();
    let Some(scan) = &judged.scan else {
        if judged.fate == Fate::Stale {
            inspection.notes.push(format!("'{}' has no frames that are needed", path.display()));
        }
        return;
    };
    match &judged.fate {
        Fate::Refused => return,
        Fate::Torn(why) => {
            let note = format!(
                "'{}' will be dropped: {why}, and nothing shows that those frames had been fsynced",
                path.display()
            );
            inspection.notes.push(note);
            return;
        }
        Fate::Kept | Fate::Stale => {}
    }
    if let Some(bad) = scan.bad_seal.as_ref().filter(|_| !judged.has_damaged_seal) {
        inspection.notes.push(format!("'{}' counts as not sealed: {}", path.display(), bad.problem));
    }
    let end_frame_no = scan.end_frame_no();
    if let Some(mark) = scan.marks.last().filter(|_| end_frame_no > meta.checkpointed_frame_no) {
        inspection.db_size_pages = Some(mark.db_size_pages);
    }
    let is_sealed = scan.seal.is_some();
    let segment = InspectedSegment {
        start_frame_no: judged.start,
        end_frame_no,
        state: if is_last && !is_sealed { SegmentState::Current } else { SegmentState::Sealed },
        bytes: FrameLayout::new(meta.page_size).offset(end_frame_no + 1 - judged.start),
        path: path.to_owned(),
        uncommitted: scan.uncommitted,
    };
    if segment.uncommitted > 0 && is_last {
        let who =
            if inspection.holder.is_some() { "under way" } else { "never committed, and will be dropped" };
        inspection.notes.push(format!(
            "'{}' ends with {} frames of a transaction that is {who}",
            path.display(),
            segment.uncommitted
        ));
    }
    // One that was begun for a transaction that has not come is there, and holds nothing.
    if segment.frames() > 0 || segment.uncommitted > 0 {
        inspection.segments.push(segment);
    }
}
