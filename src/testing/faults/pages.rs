//! Recovery from a crash of a workload of made-up pages (`workload.rs`), for the sweeps.

use std::collections::BTreeMap;
use std::path::Path;

use super::invariants::{footer_of, meta_of};
use super::rig::{BASE, DIR, Db, History, Rig, check_bytes};
use super::sweep::{Crash, Recording, Recovered, Subject};
use super::workload::Run;
use crate::format::database_header::DatabaseHeader;
use crate::format::footer::FOOTER_SIZE;
use crate::testing::faults::corruption::agreement::Said;
use crate::testing::io::{Disks, Image, Mark, Op, Record};
use crate::types::LogId;

/// Commits that go on after a crash have numbers from here, so that they cannot be taken for those before it.
const AFTERWARDS: u32 = 100_000;

/// What must hold beyond what was acknowledged.
#[derive(Clone, Copy, Default, PartialEq)]
struct Claims {
    /// Complete segments up to this frame are sealed.
    sealed: u64,
    /// WAL mode has ended, and nothing was done since.
    left: bool,
}

impl Claims {
    /// After each line of a trace, and before the first one.
    fn of(trace: &[Record], first: Claims) -> Vec<Claims> {
        let mut claims = vec![first];
        let mut now = first;
        for record in trace {
            match record.op {
                Op::Mark(Mark::Sealed(frame_no)) => now.sealed = frame_no,
                Op::Mark(Mark::Left) => now = Claims { sealed: 0, left: true },
                Op::Mark(_) => {}
                _ => now.left = false,
            }
            claims.push(now);
        }
        claims
    }
}

/// Recovers a database of made-up pages.
pub struct Pages {
    /// Its options, and the fsync that is left out.
    rig: Rig,
    start: Disks,
    trace: Vec<Record>,
    /// Of the workload, and of what a recovery went on with.
    history: History,
    /// Where each commit that stands ends.
    ends: BTreeMap<u32, u64>,
    claims: Vec<Claims>,
    log_id: LogId,
}

impl Pages {
    pub fn new(rig: &Rig, run: Run) -> Pages {
        let claims = Claims::of(&run.trace, Claims::default());
        let Run { start, trace, history, ends, log_id } = run;
        Pages { rig: rig.clone(), start, trace, history, ends, claims, log_id }
    }

    /// What was done.
    pub fn recording(&self) -> Recording {
        Recording { start: self.start.clone(), trace: self.trace.clone() }
    }

    /// The commit that ends at a frame.
    fn commit_at(&self, frame_no: u64) -> Option<u32> {
        self.ends.iter().find(|(_, end)| **end == frame_no).map(|(k, _)| *k)
    }

    /// Invariant 8: a footer ahead of the metadata names a frame only when the base file has everything up to it.
    fn check_footer(&self, image: &Image) -> Result<(), String> {
        let (Some(meta), Some(footer)) = (meta_of(image), footer_of(image)) else { return Ok(()) };
        let bytes = image.read(Path::new(BASE)).unwrap_or_default();
        let fits = DatabaseHeader::parse(bytes).is_some_and(|header| {
            (header.change_counter, header.version_valid_for)
                == (footer.change_counter, footer.version_valid_for)
        });
        let is_ahead =
            footer.log_id == meta.log_id && meta.has_intent() && footer.frame_no == meta.intent_frame_no;
        let Some(k) = self.commit_at(footer.frame_no).filter(|_| fits && is_ahead) else { return Ok(()) };
        match check_bytes(&bytes[..bytes.len() - FOOTER_SIZE], &self.history) {
            Ok(found) if found == k => Ok(()),
            found => Err(format!("the footer names commit {k}, and the base file has {found:?}")),
        }
    }

    fn check_seals(&self, db: &Db, sealed: u64) -> Result<(), String> {
        let segments = db.log().view().segments();
        match segments.iter().find(|segment| segment.end() <= sealed && !segment.is_sealed()) {
            None => Ok(()),
            Some(segment) => {
                Err(format!("the segment of frame {} was sealed, and is not sealed now", segment.start()))
            }
        }
    }
}

impl Subject for Pages {
    /// The commit must be whole, and the same when it is recovered again, and the log must go on.
    fn recover(&self, crash: Crash) -> Result<Recovered, String> {
        let claims = self.claims[crash.at];
        let rig = self.rig.again(crash.disks);
        let image = rig.io.live();
        if claims.left && image.names.keys().any(|path| path.starts_with(DIR)) {
            return Err("WAL mode had ended, and the log directory is there".into());
        }
        self.check_footer(&image)?;
        let said = Said::of(&image)?;
        let (db, k) = rig.open_and_check(&self.history)?;
        said.is_open(&db)?;
        let (log_id, end) = (db.log().log_id(), db.log().published_frame_no());
        if self.ends.get(&k).is_some_and(|&expected| expected != end) {
            return Err(format!("commit {k} ended at frame {}, and now at frame {end}", self.ends[&k]));
        }
        if log_id != self.log_id && k > 0 {
            return Err(format!("log {} became {log_id}", self.log_id));
        }
        self.check_seals(&db, claims.sealed)?;
        if db.log().synced_frame_no() == end {
            rig.io.mark(Mark::Acknowledged(k));
        }
        // The syncer comes before the next commit, or after it.
        let settles = !crash.killed || crash.at.is_multiple_of(2);
        if settles {
            db.log().writer().seal_segments().map_err(|error| format!("sealing: {error}"))?;
            drop(db);
            let again = rig.crash_hard().open_and_check(&self.history);
            let (db, again) = again.map_err(|wrong| format!("again: {wrong}"))?;
            if (again, db.log().log_id(), db.log().published_frame_no()) != (k, log_id, end) {
                return Err(format!("recovered commit {k} of {log_id}, and then commit {again}"));
            }
            rig.io.mark(Mark::Acknowledged(k));
        } else {
            drop(db);
        }

        let next = AFTERWARDS + k;
        let mut history = History::from([(k, self.history[&k].clone())]);
        let size = history[&k].pages.len() as u32;
        history.insert(next, history[&k].after(next, &[2, 1], size));
        let (db, _) = rig.open_and_check(&history)?;
        let error = |error: crate::Error| format!("going on: {error}");
        rig.io.mark(Mark::Attempt(next));
        db.commit(next, &[2, 1], size, true).map_err(error)?;
        rig.io.mark(Mark::Acknowledged(next));
        db.pass().map_err(error)?;
        let base = rig.io.live().read(Path::new(BASE)).unwrap_or_default().to_vec();
        if !base.starts_with(&history[&next].bytes()) {
            return Err("after a pass the base file does not hold everything".into());
        }
        drop(db);
        let (_, last) =
            rig.crash_hard().open_and_check(&history).map_err(|wrong| format!("later: {wrong}"))?;
        if last != next {
            return Err(format!("commit {next} was acknowledged after the crash, and {last} recovered"));
        }
        if !crash.again {
            return Ok(Recovered { k, again: None });
        }
        history.extend(self.history.clone());
        let recording = Recording { start: rig.io.start(), trace: rig.io.trace() };
        let first = Claims { left: false, ..claims };
        let mut ends: BTreeMap<u32, u64> = self.ends.range(..=k).map(|(&k, &end)| (k, end)).collect();
        ends.insert(next, end + 2);
        let second = Pages {
            rig: self.rig.clone(),
            start: recording.start.clone(),
            trace: Vec::new(),
            history,
            ends,
            claims: Claims::of(&recording.trace, first),
            // Nothing was committed to a log whose making was cut short, so there can be another.
            log_id,
        };
        Ok(Recovered { k, again: Some((recording, Box::new(second))) })
    }

    fn context(&self, at: usize) -> u64 {
        let Claims { sealed, left } = self.claims[at];
        2 * sealed + u64::from(left)
    }
}
