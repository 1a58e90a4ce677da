//! What the segments of a log hold: read, and judged by the table "Which frames" (`which_frames.rs`).
//!
//! Recovery does what the verdict says; `vwal status` and `vwal verify` print it. Nothing is changed here.
//!
//! The base file has the frames up to the checkpointed one, durably: whatever happened to those, the log is what comes after.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::which_frames::{Found, Then, which_frames};
use crate::error::{Error, Result};
use crate::format::meta::Meta;
use crate::format::segment_header::{SEGMENT_HEAD_SIZE, SegmentHeader};
use crate::io::File;
use crate::segment::{Bad, Scan, headless_witness, load, scan};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What recovery needs: of segments whose frames the base file has, the head.
    Needed,
    /// The same of all segments.
    All,
    /// Every frame.
    Frames,
}

/// The head of a segment.
pub(crate) enum Head {
    /// Of a segment of this log.
    Whole,
    /// Of another log, or another version of vwal.
    Foreign(Error),
    /// `shown`: something shows that the segment had been fsynced and holds frames that the base file does not have, or nobody can
    /// tell.
    Bad { error: Error, shown: bool },
}

/// What was read of a segment.
pub(crate) struct Read {
    /// The frame number in its name.
    pub(crate) start: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) head: Head,
    /// `None`: the head is not whole, or it was not read.
    pub(crate) scan: Option<Result<Scan>>,
}

/// What becomes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is part of the log.
    Kept,
    /// The base file has its frames, or it never had one.
    Stale,
    /// It comes after the end of the log, and nothing shows that it was durable. Why.
    Torn(String),
    /// It is why the log cannot be opened.
    Refused,
}

/// A segment and what becomes of it.
pub(crate) struct Judged {
    pub(crate) start: u64,
    pub(crate) file: Arc<dyn File>,
    /// The frames that count, where they were read.
    pub(crate) scan: Option<Scan>,
    pub(crate) fate: Fate,
    /// Its seal is not whole, and that is no torn write: there is a finding.
    pub(crate) has_damaged_seal: bool,
}

/// Something that is not as it was written.
pub(crate) struct Finding {
    /// The file.
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) error: Error,
    /// What is done about it.
    pub(crate) then: Then,
}

/// What is made of all segments, oldest first.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) segments: Vec<Judged>,
    pub(crate) findings: Vec<Finding>,
}

impl Verdict {
    /// The segments that are part of the log.
    pub(crate) fn kept(&self) -> impl DoubleEndedIterator<Item = (&Judged, &Scan)> {
        let kept = self.segments.iter().filter(|judged| judged.fate == Fate::Kept);
        kept.filter_map(|judged| judged.scan.as_ref().map(|scan| (judged, scan)))
    }

    /// The log cannot be opened.
    pub(crate) fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.then == Then::Refuse)
    }

    /// The last committed frame; 0 when no segment has one that is not in the base file.
    pub(crate) fn end(&self) -> u64 {
        self.kept().map(|(_, scan)| scan.end_frame_no()).max().unwrap_or(0)
    }
}

/// Read segments: their first frames, by name and ascending, and their files.
pub(crate) fn read(files: Vec<(u64, Arc<dyn File>)>, meta: &Meta, depth: Depth) -> Vec<Read> {
    let mut reads: Vec<Read> = files
        .into_iter()
        .map(|(start, file)| {
            let head =
                read_head(&*file, start, meta).unwrap_or_else(|error| Head::Bad { error, shown: true });
            Read { start, file, head, scan: None }
        })
        .collect();
    let needed_from = needed_from(&reads, meta);
    // Where the next segment begins this one ends, as far as the base file goes.
    let mut in_base = meta.checkpointed_frame_no;
    for (at, one) in reads.iter_mut().enumerate().rev().filter(|(_, one)| one.is_live()) {
        if at >= needed_from || depth != Depth::Needed {
            one.scan = Some(match depth {
                Depth::Frames => scan(&*one.file, in_base, |_| {}),
                _ => load(&*one.file, in_base),
            });
        }
        in_base = in_base.min(one.start - 1);
    }
    reads
}

impl Read {
    fn is_live(&self) -> bool {
        matches!(self.head, Head::Whole)
    }
}

/// The segment in which the first frame is that the base file does not have, if it is there. The base file has all frames of those
/// before it.
fn needed_from(reads: &[Read], meta: &Meta) -> usize {
    let is_before = |one: &Read| one.is_live() && one.start <= meta.checkpointed_frame_no + 1;
    reads.iter().rposition(is_before).unwrap_or(0)
}

fn read_head(file: &dyn File, start: u64, meta: &Meta) -> Result<Head> {
    let path = file.path();
    let mut head = vec![0; SEGMENT_HEAD_SIZE];
    let got = file.read_to_end_at(&mut head, 0)?;
    head.truncate(got);
    let problem = match SegmentHeader::decode(&head) {
        Err(problem) => problem,
        // The head of the file's former life, most likely.
        Ok(header) if header.start_frame_no != start => {
            format!(
                "the header says that the segment starts at frame {}, its name {start}",
                header.start_frame_no
            )
        }
        Ok(header) if header.log_id != meta.log_id => {
            let what = format!(
                "the segment belongs to log {}, this is log {}: it was copied here, and does not belong here",
                header.log_id, meta.log_id
            );
            return Ok(Head::Foreign(Error::corrupt(path, 0, what)));
        }
        Ok(header) if header.page_size != meta.page_size => {
            format!("page size {}, the log has {}", header.page_size.get(), meta.page_size.get())
        }
        Ok(_) => return Ok(Head::Whole),
    };
    if SegmentHeader::is_of_another_version(&head, start) {
        return Ok(Head::Foreign(Error::corrupt(path, 0, problem)));
    }
    let witness = headless_witness(file, start, meta.page_size, meta.checkpointed_frame_no)?;
    let what = match &witness {
        None => problem,
        Some(witness) => {
            format!("{problem}; {witness} shows that the segment had been fsynced, so this is no torn write")
        }
    };
    Ok(Head::Bad { error: Error::corrupt(path, 0, what), shown: witness.is_some() })
}

/// Judge what was read.
pub(crate) fn judge(reads: Vec<Read>, meta: &Meta, dir: &Path) -> Verdict {
    let needed_from = needed_from(&reads, meta);
    let mut judge = Judge { checkpointed: meta.checkpointed_frame_no, verdict: Verdict::default() };
    let mut last_sealed = None;
    for (at, one) in reads.iter().enumerate() {
        if matches!(&one.scan, Some(Ok(scan)) if scan.seal.is_some()) {
            last_sealed = Some(at);
        }
    }
    for (at, one) in reads.into_iter().enumerate() {
        judge.segment(one, at >= needed_from, last_sealed.is_some_and(|sealed| sealed > at));
    }
    judge.link(dir);
    judge.verdict
}

struct Judge {
    checkpointed: u64,
    verdict: Verdict,
}

impl Judge {
    fn find(&mut self, path: &Path, error: Error, then: Then) {
        self.verdict.findings.push(Finding { path: path.to_owned(), error, then });
    }

    /// A segment by itself.
    fn segment(&mut self, read: Read, needed: bool, later_is_sealed: bool) {
        let Read { start, file, head, scan } = read;
        let mut fate = if needed { Fate::Kept } else { Fate::Stale };
        match head {
            Head::Whole => {}
            Head::Foreign(error) => {
                self.find(file.path(), error, which_frames(Found::Foreign, needed, true));
                fate = Fate::Refused;
            }
            Head::Bad { error, shown } => match which_frames(Found::BadHead, needed, shown) {
                Then::Refuse => {
                    self.find(file.path(), error, Then::Refuse);
                    fate = Fate::Refused;
                }
                _ => fate = Fate::Stale,
            },
        }
        let scan = match scan {
            None => None,
            Some(Ok(scan)) => {
                if self.frames(&*file, &scan, needed, later_is_sealed) {
                    fate = Fate::Refused;
                }
                Some(scan)
            }
            // What is there is not known.
            Some(Err(error)) => {
                let then = which_frames(Found::BadFrame, needed, true);
                if then == Then::Refuse {
                    fate = Fate::Refused;
                }
                self.find(file.path(), error, then);
                None
            }
        };
        let has_damaged_seal = later_is_sealed && scan.as_ref().is_some_and(|scan| scan.bad_seal.is_some());
        self.verdict.segments.push(Judged { start, file, scan, fate, has_damaged_seal });
    }

    /// The frames of a segment by themselves. True: the log cannot be opened.
    fn frames(&mut self, file: &dyn File, scan: &Scan, needed: bool, later_is_sealed: bool) -> bool {
        let path = file.path();
        let corrupt = |bad: &Bad, more: &str| {
            let more = if more.is_empty() { String::new() } else { format!("; {more}") };
            Error::corrupt(path, bad.offset, format!("{}{more}", bad.problem))
        };
        if let Some(bad) = &scan.bad_seal
            && which_frames(Found::BadSeal, needed, later_is_sealed) == Then::Report
        {
            self.find(
                path,
                corrupt(bad, "a later segment is sealed, so this is not a torn write"),
                Then::Report,
            );
        }
        if let Some(problem) = &scan.index_problem {
            self.find(path, problem.clone(), which_frames(Found::BadIndex, needed, true));
        }
        if let Some(bad) = &scan.skipped {
            let then = which_frames(Found::BadFrame, false, true);
            self.find(path, corrupt(bad, "the database file has this frame, so nothing is missing"), then);
        }
        let mut refused = false;
        if let Some(bad) = &scan.untied {
            let durable = scan.max_synced_frame_no >= self.checkpointed;
            let then = which_frames(Found::Untied, needed, durable);
            if then == Then::Refuse {
                self.find(path, corrupt(bad, ""), then);
                refused = true;
            }
        }
        if let Some(end) = &scan.end
            && let Some(proof) = &end.proof
        {
            let then = which_frames(Found::BadFrame, needed, true);
            self.find(path, corrupt(&end.bad, &format!("{proof}, so this is not a torn tail")), then);
            refused |= then == Then::Refuse;
        }
        refused
    }

    fn scan(&self, at: usize) -> Option<&Scan> {
        self.verdict.segments[at].scan.as_ref()
    }

    /// Whether one of these segments shows that frames after `frame_no` had been fsynced.
    fn shows_durable(&self, segments: &[usize], frame_no: u64) -> bool {
        let shows = |scan: &Scan| scan.seal.is_some() || scan.max_synced_frame_no > frame_no;
        segments.iter().any(|&at| self.scan(at).is_some_and(shows))
    }

    /// After a damaged segment nothing can be said of the next one.
    fn is_after_damage(&self, after: Option<usize>, at: usize) -> bool {
        let first = after.map_or(0, |after| after + 1);
        self.verdict.segments[first..at].iter().any(|judged| judged.fate == Fate::Refused)
    }

    fn drop_torn(&mut self, segments: &[usize], why: &str) {
        for &at in segments {
            self.verdict.segments[at].fate = Fate::Torn(why.to_owned());
        }
    }

    /// Whether the segments continue each other. Those after a torn tail are not part of the log.
    fn link(&mut self, dir: &Path) {
        let is_kept = |(at, judged): (usize, &Judged)| (judged.fate == Fate::Kept).then_some(at);
        let mut chain: Vec<usize> = self.verdict.segments.iter().enumerate().filter_map(is_kept).collect();
        // Freed by a pass, and a power loss brought its name back, though not the names of those after it.
        let checkpointed = self.checkpointed;
        chain.retain(|&at| {
            let judged = &mut self.verdict.segments[at];
            let is_needed = judged.scan.as_ref().is_some_and(|scan| scan.end_frame_no() >= checkpointed);
            if !is_needed {
                judged.fate = Fate::Stale;
            }
            is_needed
        });
        self.link_first(&mut chain, dir);
        let mut at = 1;
        while at < chain.len() {
            let (previous, next) = (chain[at - 1], chain[at]);
            if !self.is_after_damage(Some(previous), next) && !self.link_pair(previous, &chain[at..]) {
                chain.truncate(at);
            }
            at += 1;
        }
        // Empty ones, and those that a checkpoint pass did not get around to free.
        for at in chain {
            let judged = &mut self.verdict.segments[at];
            let is_needed = |scan: &Scan| scan.end_frame_no() > checkpointed && !scan.marks.is_empty();
            if !judged.scan.as_ref().is_some_and(is_needed) {
                judged.fate = Fate::Stale;
            }
        }
    }

    /// Whether the oldest segment has the first frame that is needed.
    fn link_first(&mut self, chain: &mut Vec<usize>, dir: &Path) {
        let Some(&first) = chain.first() else { return };
        let start = self.verdict.segments[first].start;
        if self.is_after_damage(None, first) {
            return;
        }
        let what = format!(
            "this is the oldest segment, and it starts at frame {start}, but the base file has only the frames up to {}: the \
             segments between are missing from '{}'",
            self.checkpointed,
            dir.display()
        );
        let needed = start > self.checkpointed + 1;
        match which_frames(Found::Missing, needed, self.shows_durable(chain, self.checkpointed)) {
            Then::GoOn => {}
            Then::Refuse => {
                let path = self.verdict.segments[first].file.path().to_owned();
                self.find(&path, Error::corrupt(&path, None, what), Then::Refuse);
            }
            // Until the directory is fsynced a crash may lose any of the names in it.
            _ => self.drop_torn(&std::mem::take(chain), &what),
        }
    }

    /// Whether the first one of `rest` continues `previous`. False: the log ends before it.
    fn link_pair(&mut self, previous: usize, rest: &[usize]) -> bool {
        let next = rest[0];
        let start = self.verdict.segments[next].start;
        let (Some(before), Some(after)) = (self.scan(previous), self.scan(next)) else { return true };
        let end = before.end_frame_no();
        // Frames that had been fsynced when a later one was written were published, and are never rolled back.
        let is_durable = before.seal.is_some() || before.max_synced_frame_no >= start;
        let goes_on = start == end + 1 || (start <= end && !is_durable);
        let previous_crc = after.header.previous_crc;
        if goes_on && before.crc_before(start) == Some(previous_crc) {
            // A tentative commit that was rolled back may stand after the last published one. The segment ends before
            // it, and should the next one turn out to be empty, the log goes on from there.
            if let Some(scan) = &mut self.verdict.segments[previous].scan {
                scan.cut_before(start, previous_crc);
            }
            return true;
        }
        let path = |at: usize| self.verdict.segments[at].file.path().to_owned();
        let (path, offset, what) = match &before.end {
            Some(end) => (
                path(previous),
                end.bad.offset,
                format!("{}; '{}' goes on at frame {start}", end.bad.problem, path(next).display()),
            ),
            None => (
                path(next),
                0,
                format!(
                    "it starts at frame {start} and does not continue '{}', which ends with frame {end}",
                    path(previous).display()
                ),
            ),
        };
        // A seal says where its segment ends, but nothing about whether another one followed durably.
        let branches = is_durable && start <= end + 1;
        match which_frames(Found::Unlinked, true, branches || self.shows_durable(rest, end)) {
            Then::Refuse => {
                let what = format!("{what}, and shows that frames between had been fsynced");
                self.find(&path, Error::corrupt(&path, offset, what), Then::Refuse);
                true
            }
            _ => {
                self.drop_torn(rest, &what);
                false
            }
        }
    }
}
