//! The segments of an inspected log: each verified by itself, and held against the one before it.

use std::path::Path;
use std::sync::Arc;

use super::{Depth, InspectedSegment, Inspection};
use crate::error::{Error, Result};
use crate::format::bundle::Commit;
use crate::format::frame::{FRAME_HEADER_SIZE, SQLITE_FRAME_HEADER_SIZE};
use crate::format::meta::Meta;
use crate::format::segment_header::{SEAL_OFFSET, SEGMENT_HEAD_SIZE, Seal, SegmentHeader};
use crate::io::{File, Io, OpenMode};
use crate::log::{LOCK_NAME, META_NAME, NEW_META_NAME, SHM_NAME};
use crate::restore::LoggedCommit;
use crate::segment::{is_spare_name, load, parse_segment_name, scan};
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

/// The commits that the segments hold, in their order. Damage ends them without a word: verifying tells.
pub(super) fn commits(segments: &[(u64, Arc<dyn File>)], meta: &Meta) -> Vec<LoggedCommit> {
    let mut commits = Vec::new();
    let mut next = 0;
    for (start, file) in segments {
        let mut own = Vec::new();
        let scanned = scan(&**file, |frame| {
            own.push(Commit {
                frame_no: frame.frame_no.get(),
                commit_us: frame.commit_us.get(),
                db_size_pages: frame.db_size_pages.get(),
            });
        });
        let Ok(scan) = scanned else { break };
        if scan.header.log_id != meta.log_id {
            continue;
        }
        let mut before = start.saturating_sub(1);
        for commit in own {
            let frames = Some(commit.frame_no - before);
            before = commit.frame_no;
            if commit.frame_no >= next {
                let page_size = scan.header.page_size;
                next = commit.frame_no + 1;
                commits.push(LoggedCommit { log_id: meta.log_id, commit, frames, page_size });
            }
        }
    }
    commits
}

/// What a later segment is compared with.
struct Previous {
    file: Arc<dyn File>,
    read: Read,
}

impl Previous {
    /// The checksum that a segment which starts at `start` must continue; `None` when this one has no such frame.
    ///
    /// A segment may begin before the end of the one before it: a tentative commit that was rolled back stands there,
    /// whole, behind the last one that counts.
    fn crc_before(&self, start: u64) -> Option<u32> {
        let own_start = self.read.header.start_frame_no;
        if start == self.read.end_frame_no + 1 {
            return Some(self.read.last_crc);
        } else if self.read.sealed || start > self.read.end_frame_no || start < own_start {
            return None;
        } else if start == own_start {
            return Some(self.read.header.previous_crc);
        }
        let frame_size = (FRAME_HEADER_SIZE + self.read.header.page_size.bytes()) as u64;
        let offset = SEGMENT_HEAD_SIZE as u64 + (start - own_start) * frame_size - frame_size;
        let mut crc = [0; 4];
        self.file.read_exact_at(&mut crc, offset + FRAME_HEADER_SIZE as u64 - 4).ok()?;
        Some(u32::from_be_bytes(crc))
    }
}

pub(super) fn read(
    segments: Vec<(u64, Arc<dyn File>)>,
    depth: Depth,
    inspection: &mut Inspection,
) -> Result<()> {
    let Some(meta) = inspection.meta() else {
        if let Some((_, file)) = segments.first() {
            let path = file.path().to_owned();
            inspection.find(
                &path,
                None,
                "there is a segment, but no metadata that says which log it belongs to",
            );
        }
        return Ok(());
    };
    inspection.db_size_pages = Some(meta.db_size_pages);
    let mut previous: Option<Previous> = None;
    let last = segments.last().map(|(start, _)| *start);
    for (start, file) in segments {
        let is_last = Some(start) == last;
        let path = file.path().to_owned();
        let mut read = match read_segment(&*file, start, &meta, depth == Depth::Frames || is_last) {
            Ok(Some(read)) => read,
            Ok(None) => {
                inspection.notes.push(format!("'{}' has no frames yet", path.display()));
                continue;
            }
            Err(error) => {
                inspection.find_error(&path, error)?;
                previous = None;
                continue;
            }
        };
        if let Some(problem) = &read.seal_problem {
            inspection.find(&path, SEAL_OFFSET as u64, problem.clone());
        }
        if let Some(problem) = read.index_problem.take() {
            inspection.find_error(&path, problem)?;
        }
        link(previous.as_ref(), &read, &path, &meta, inspection);
        if let Some(pages) = read.db_size_pages.filter(|_| read.end_frame_no > meta.checkpointed_frame_no) {
            inspection.db_size_pages = Some(pages);
        }
        let frame_size = (FRAME_HEADER_SIZE + meta.page_size.bytes()) as u64;
        let segment = InspectedSegment {
            start_frame_no: start,
            end_frame_no: read.end_frame_no,
            state: if is_last && !read.sealed { SegmentState::Current } else { SegmentState::Sealed },
            bytes: SEGMENT_HEAD_SIZE as u64 + (read.end_frame_no + 1 - start) * frame_size,
            path: path.clone(),
            uncommitted: read.uncommitted,
        };
        if segment.uncommitted > 0 {
            let who = if inspection.holder.is_some() {
                "under way"
            } else {
                "never committed, and will be dropped"
            };
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
        previous = Some(Previous { file, read });
    }
    Ok(())
}

/// What was read of a segment.
struct Read {
    header: SegmentHeader,
    end_frame_no: u64,
    last_crc: u32,
    sealed: bool,
    uncommitted: u64,
    max_synced_frame_no: u64,
    db_size_pages: Option<u32>,
    seal_problem: Option<String>,
    index_problem: Option<Error>,
}

/// `Ok(None)`: a file that was named before anything was written to it.
fn read_segment(file: &dyn File, start: u64, meta: &Meta, frames: bool) -> Result<Option<Read>> {
    let path = file.path();
    let mut head = vec![0; SEGMENT_HEAD_SIZE + FRAME_HEADER_SIZE];
    let got = file.read_at(&mut head, 0)?;
    head.truncate(got);
    // As in recovery: without its first frame, a segment has not begun, whatever its head holds.
    let at = SEGMENT_HEAD_SIZE + SQLITE_FRAME_HEADER_SIZE;
    let begun = head.get(at..at + 8).is_some_and(|bytes| bytes == start.to_be_bytes());
    let header = match SegmentHeader::decode(&head) {
        Err(_) if !begun => return Ok(None),
        Ok(header) if header.start_frame_no != start && !begun => return Ok(None),
        Err(problem) => return Err(Error::corrupt(path, 0, problem)),
        Ok(header) => header,
    };
    let wrong = if header.start_frame_no != start {
        Some(format!(
            "the header says that the segment starts at frame {}, its name {start}",
            header.start_frame_no
        ))
    } else if start == 0 || start > u64::MAX / 2 {
        Some(format!("no log has a frame {start}"))
    } else if header.log_id != meta.log_id {
        Some(format!("the segment belongs to log {}, this is log {}", header.log_id, meta.log_id))
    } else if header.page_size != meta.page_size {
        Some(format!("page size {}, the log has {}", header.page_size.get(), meta.page_size.get()))
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(Error::corrupt(path, 0, wrong));
    }
    let (seal, seal_problem) = match Seal::decode(&head, &header) {
        Ok(seal) => (seal, None),
        Err(problem) => (None, Some(problem)),
    };
    let scan = if frames { scan(file, |_| {})? } else { load(file)? };
    if let Some(seal) = seal
        && (seal.end_frame_no, seal.last_crc) != (scan.end_frame_no(), scan.last_crc)
    {
        let what = format!(
            "the seal says that the segment ends with frame {} and checksum {:08x}, its frames with {} and {:08x}",
            seal.end_frame_no,
            seal.last_crc,
            scan.end_frame_no(),
            scan.last_crc
        );
        return Err(Error::corrupt(path, SEAL_OFFSET as u64, what));
    }
    Ok(Some(Read {
        header,
        end_frame_no: scan.end_frame_no(),
        last_crc: scan.last_crc,
        sealed: seal.is_some(),
        uncommitted: scan.uncommitted,
        max_synced_frame_no: scan.max_synced_frame_no,
        db_size_pages: scan.marks.last().map(|mark| mark.db_size_pages),
        seal_problem,
        index_problem: scan.index_problem,
    }))
}

/// Whether a segment continues the one before it, or the base file.
fn link(previous: Option<&Previous>, read: &Read, path: &Path, meta: &Meta, inspection: &mut Inspection) {
    let start = read.header.start_frame_no;
    let Some(previous) = previous else {
        // Behind a damaged segment nothing can be said of the next one.
        let after_damage = inspection.findings.iter().any(|finding| parse(&finding.path).is_some());
        if !after_damage && start > meta.checkpointed_frame_no + 1 {
            let message = format!(
                "this is the oldest segment, and it starts at frame {start}, but the base file has only the frames up to \
                 {}: the segments between are missing",
                meta.checkpointed_frame_no
            );
            if read.sealed || read.max_synced_frame_no > meta.checkpointed_frame_no {
                inspection.find(path, None, message);
            } else {
                inspection.notes.push(format!(
                    "'{}': {message}; nothing shows that they were fsynced, so it will be dropped",
                    path.display()
                ));
            }
        }
        return;
    };
    if previous.crc_before(start) == Some(read.header.previous_crc) {
        return;
    }
    let end = previous.read.end_frame_no;
    let message = format!(
        "it starts at frame {start} and does not continue '{}', which ends with frame {end}",
        previous.file.path().display()
    );
    // As in recovery: a seal says nothing about what followed, but what follows it continues it.
    let branches = previous.read.sealed && start <= end + 1;
    if branches || read.sealed || read.max_synced_frame_no > end {
        inspection.find(path, 0, message);
    } else {
        inspection
            .notes
            .push(format!("'{}': {message}; neither was fsynced, so it will be dropped", path.display()));
    }
}

fn parse(path: &Path) -> Option<u64> {
    parse_segment_name(path.file_name()?.to_str()?)
}
