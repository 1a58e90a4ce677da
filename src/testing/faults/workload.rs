//! A scripted workload: what the sweeps run, with or without errors on the way.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::rig::{Content, Db, History, Rig};
use crate::error::Result;
use crate::io::SyncSite;
use crate::testing::io::{Disks, Mark, Record, splitmix};
use crate::types::LogId;

/// A step of a workload. Lists are pages, numbers the size of the database in pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// A commit under `synchronous=FULL`.
    Full(&'static [u32], u32),
    /// A commit under `synchronous=NORMAL`.
    Normal(&'static [u32], u32),
    /// A commit that is in the segment, and then is none.
    RollBack(&'static [u32], u32),
    /// A transaction that writes its pages twice, as after a cache spill.
    Rewrite(&'static [u32], u32),
    /// The background fsync.
    Sync,
    /// The background sealing.
    Seal,
    /// The background swap of a segment that is due.
    Swap,
    /// The background preparation of a segment file.
    Spare,
    /// A passive checkpoint of everything, and a pass.
    Pass,
    /// A passive checkpoint that a reader holds back, so that it covers only so many frames, and a pass.
    PassUpTo(u32),
    /// The same, but for the last so many commits.
    PassBehind(u32),
    /// The background frees segments of a generation that has ended.
    Free,
    /// `wal.c` starts over.
    Restart,
    /// `wal_checkpoint(TRUNCATE)`.
    Truncate,
    /// Closed and opened again.
    Reopen,
    /// WAL mode ends.
    Leave,
}

/// What a workload did.
pub struct Run {
    pub start: Disks,
    pub trace: Vec<Record>,
    pub history: History,
    /// Where each commit that stands ends.
    pub ends: BTreeMap<u32, u64>,
    pub log_id: LogId,
}

/// A workload under way.
pub struct Workload {
    pub rig: Rig,
    /// `None`: it could not be opened.
    pub db: Option<Db>,
    pub history: History,
    /// Where each commit that stands ends.
    pub ends: BTreeMap<u32, u64>,
    /// The log's, from the first time that it was opened.
    pub log_id: Option<LogId>,
    /// The last commit that was begun.
    pub attempted: u32,
    /// The last commit that stands.
    pub last: u32,
    /// The last commit that is durable, as the program was told.
    pub acknowledged: u32,
}

impl Workload {
    /// A new database. It is opened by the first step.
    pub fn new(rig: &Rig) -> Workload {
        Workload {
            rig: rig.clone(),
            db: None,
            history: History::from([(0, Content::first())]),
            ends: BTreeMap::from([(0, 0)]),
            log_id: None,
            attempted: 0,
            last: 0,
            acknowledged: 0,
        }
    }

    /// Run steps that must not fail.
    pub fn run_whole(rig: &Rig, steps: &[Step]) -> Run {
        let mut workload = Workload::new(rig);
        for &step in steps {
            workload.step(step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        }
        Run {
            start: rig.io.start(),
            trace: rig.io.trace(),
            history: workload.history,
            ends: workload.ends,
            log_id: workload.log_id.expect("it was opened"),
        }
    }

    /// Open the database, and see what it holds.
    pub fn open(&mut self) -> Result<()> {
        // The lock is given back first.
        self.db = None;
        let db = self.rig.open()?;
        let seen = self.rig.io.unharmed(|| db.check(&self.history));
        let k = seen.unwrap_or_else(|wrong| panic!("after an open: {wrong}"));
        assert!(
            self.acknowledged <= k && k <= self.attempted,
            "acknowledged {}, found {k}, attempted {}",
            self.acknowledged,
            self.attempted
        );
        self.last = k;
        // Nothing was committed to a log whose making failed, so there can be another.
        if self.acknowledged > 0 {
            assert_eq!(self.log_id, Some(db.log().log_id()), "the log is another one");
        }
        self.log_id = Some(db.log().log_id());
        let durable = db.log().synced_frame_no() == db.log().published_frame_no();
        self.db = Some(db);
        if durable {
            self.acknowledge();
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.acknowledged = self.last;
        self.rig.io.mark(Mark::Acknowledged(self.last));
    }

    /// Frames of this generation, but for those of the last `commits` commits; not fewer than were checkpointed before.
    fn frames_but_for(&self, commits: u32) -> u32 {
        let Some(db) = &self.db else { return 0 };
        let frames = db.index.max_frame.load(Ordering::SeqCst);
        let base = db.log().published_frame_no() - u64::from(frames);
        let end = self.ends.values().rev().nth(commits as usize).copied().unwrap_or(0);
        db.index.attempted.load(Ordering::SeqCst).max(end.saturating_sub(base).min(u64::from(frames)) as u32)
    }

    /// Take a step.
    pub fn step(&mut self, step: Step) -> Result<()> {
        if step == Step::Reopen || self.db.is_none() {
            self.open()?;
        }
        let mut written = Vec::new();
        if let Step::Full(pages, size)
        | Step::Normal(pages, size)
        | Step::Rewrite(pages, size)
        | Step::RollBack(pages, size) = step
        {
            self.attempted += 1;
            self.rig.io.mark(Mark::Attempt(self.attempted));
            // Where a commit before failed, there may be more new pages than the script knows.
            let before = &self.history[&self.last];
            let new = before.pages.len() as u32 + 1..=size;
            written = new.filter(|page_no| !pages.contains(page_no)).chain(pages.iter().copied()).collect();
            let next = before.after(self.attempted, &written, size);
            self.history.insert(self.attempted, next);
        }
        let step = match step {
            Step::PassBehind(commits) => Step::PassUpTo(self.frames_but_for(commits)),
            other => other,
        };
        let (Some(db), k) = (&self.db, self.attempted) else { return Ok(()) };
        let published = db.log().published_frame_no();
        let result = take(db, step, k, &written);
        db.log().positions().check().unwrap_or_else(|wrong| panic!("after {step:?}: {wrong}"));
        // A crash may bring back a commit that was rolled back, or failed; what comes after has nothing of it, unless it
        // was published.
        if db.log().published_frame_no() > published {
            self.last = k;
            self.ends.insert(k, db.log().published_frame_no());
        }
        if step == Step::Seal && result.is_ok() {
            let segments = db.log().view().segments();
            let sealed = segments.iter().filter(|segment| segment.is_sealed()).map(|segment| segment.end());
            self.rig.io.mark(Mark::Sealed(sealed.max().unwrap_or(0)));
        }
        if step == Step::Leave && result.is_ok() {
            self.db = None;
            self.rig.io.mark(Mark::Left);
        }
        if result? {
            self.acknowledge();
        }
        Ok(())
    }
}

/// Take a step; `pages` are those that it writes. True: every commit so far is durable now.
fn take(db: &Db, step: Step, k: u32, pages: &[u32]) -> Result<bool> {
    match step {
        Step::Full(_, size) => db.commit(k, pages, size, true).map(|()| true),
        Step::Normal(_, size) => db.commit(k, pages, size, false).map(|()| false),
        Step::RollBack(_, size) => {
            let written = db.begin().and_then(|()| db.frames(k, pages, size));
            db.roll_back();
            written.map(|()| false)
        }
        Step::Rewrite(_, size) => {
            let write = || {
                db.begin()?;
                for (at, &page_no) in (1..).zip(pages) {
                    db.frame(at, page_no, 8_000 + k, 0)?;
                }
                db.frames(k, pages, size)?;
                db.writer.sync_wal()
            };
            match write() {
                Ok(()) => db.publish(pages.len()).map(|()| true),
                Err(error) => {
                    db.roll_back();
                    Err(error)
                }
            }
        }
        Step::Sync => db
            .log()
            .durability()
            .sync_to(db.log().published_frame_no(), SyncSite::UnaskedFrames)
            .map(|()| true),
        Step::Seal => db.log().writer().seal_segments().map(|()| false),
        Step::Swap => {
            db.log().writer().look_after_current(&mut Some(db.log().published_frame_no())).map(|_| false)
        }
        Step::Spare => db.log().writer().prepare_spare().map(|()| false),
        Step::Pass => db.pass().map(|_| true),
        Step::PassUpTo(frame) => {
            db.backfill(frame);
            db.log().checkpointer().checkpoint().map(|_| false)
        }
        Step::PassBehind(_) => unreachable!("it was made a `PassUpTo`"),
        Step::Free => db.log().checkpointer().free_segments_between_passes().map(|()| false),
        Step::Restart => {
            let restarted = db.begin().and_then(|()| db.restart());
            db.roll_back();
            restarted.map(|()| false)
        }
        Step::Truncate => db.truncate().map(|()| true),
        Step::Reopen => Ok(false),
        Step::Leave => db.leave().map(|()| true),
    }
}

use Step::*;

/// Everything under `synchronous=FULL`.
pub const FULL: &[Step] = &[
    Full(&[1, 2], 2),
    Full(&[3, 2], 3),
    RollBack(&[2, 3, 1], 3),
    Full(&[2], 3),
    Rewrite(&[2, 4, 1], 4),
    Swap,
    Full(&[5, 2], 5),
    Seal,
    Full(&[3, 2], 5),
    Pass,
    Full(&[2, 1], 5),
    Spare,
    Restart,
    Full(&[6, 7, 2], 7),
    Full(&[2, 4], 7),
    Full(&[2, 3], 7),
    Full(&[2, 5], 7),
    Seal,
    Pass,
    Full(&[2, 1], 4),
    Truncate,
    Full(&[2, 3], 4),
    Reopen,
    Seal,
    Full(&[2, 1], 3),
    Full(&[2, 4], 4),
    Leave,
];

/// `synchronous=NORMAL`, where much is open at a crash.
pub const NORMAL: &[Step] = &[
    Normal(&[1, 2], 2),
    Normal(&[3, 2], 3),
    Normal(&[2, 1], 3),
    Normal(&[2, 4], 4),
    Normal(&[2, 3], 4),
    Normal(&[2, 5], 5),
    Normal(&[2], 5),
    Normal(&[2, 4, 6], 6),
    Swap,
    Sync,
    Seal,
    Normal(&[2, 5], 6),
    PassUpTo(9),
    Normal(&[2, 3], 6),
    Full(&[2, 1], 6),
    Normal(&[1, 2], 3),
    Pass,
    Restart,
    Normal(&[2, 3], 3),
    RollBack(&[2, 3], 3),
    Normal(&[2, 4], 4),
    Truncate,
    Normal(&[2], 4),
    Reopen,
    Seal,
    Normal(&[2, 3], 4),
    Truncate,
    // The segment that it begins stays empty.
    RollBack(&[2, 3], 4),
    Leave,
];

/// Commits that are rolled back and then cut off by a new segment.
pub fn cut() -> Vec<Step> {
    let all: &[u32] = &[1, 2, 3, 4, 5, 6, 7];
    let many = vec![Full(all, 7); 9];
    let more = [
        Normal(&[2], 7),
        RollBack(&[2, 3], 7),
        Swap,
        Swap,
        Reopen,
        Full(&[2, 3], 7),
        Normal(&[2, 4], 7),
        Seal,
        Normal(&[2, 4], 7),
        Reopen,
        Full(&[2], 7),
    ];
    [&many[..], &more].concat()
}

/// Segments that are freed between passes, ends of WAL mode.
pub const FREED: &[Step] = &[
    Full(&[1, 2], 2),
    Full(&[2, 3], 3),
    Normal(&[2, 1, 3], 3),
    RollBack(&[2, 3], 3),
    Swap,
    Swap,
    Reopen,
    Full(&[2], 3),
    Full(&[2, 1, 4], 4),
    Spare,
    Normal(&[2, 1, 4], 4),
    RollBack(&[2, 3], 4),
    Swap,
    Swap,
    Normal(&[2, 4], 4),
    Reopen,
    Normal(&[2, 3], 4),
    Seal,
    Normal(&[2, 1, 4], 4),
    Spare,
    Full(&[2, 5], 5),
    PassBehind(2),
    Restart,
    Full(&[2, 3], 5),
    Free,
    Full(&[2, 1, 3, 4], 5),
    Full(&[2, 5], 5),
    Pass,
    Restart,
    Normal(&[2, 5], 5),
    Free,
    Seal,
    Leave,
    Full(&[2, 3], 5),
    Normal(&[2, 4, 1], 5),
    Reopen,
    Leave,
];

/// Pages that a random commit writes.
const PAGES: &[&[u32]] = &[
    &[2],
    &[1, 2],
    &[2, 1],
    &[2, 3],
    &[3, 2],
    &[2, 4],
    &[4, 1, 2],
    &[5, 2, 3],
    &[2, 6, 1, 5],
    &[7, 6, 5, 2],
    &[1, 2, 3, 4, 5, 6, 7],
];

/// Steps by a seed: 12 to 40 of them.
pub fn random_steps(mut seed: u64) -> Vec<Step> {
    splitmix(&mut seed);
    let count = 12 + splitmix(&mut seed) % 29;
    // Of ten commits so many are `FULL`.
    let full = [1, 5, 9][splitmix(&mut seed) as usize % 3];
    let mut size = 2;
    let mut steps = Vec::new();
    for _ in 0..count {
        let kind = splitmix(&mut seed) % 32;
        let pages = PAGES[splitmix(&mut seed) as usize % PAGES.len()];
        let needed = pages.iter().copied().max().unwrap_or(2).max(2);
        // Now and then the database shrinks.
        let next = if splitmix(&mut seed).is_multiple_of(8) { needed } else { needed.max(size) };
        if kind < 18 {
            size = next;
        }
        steps.push(match kind {
            0..15 if splitmix(&mut seed) % 10 < full => Full(pages, next),
            0..15 => Normal(pages, next),
            15..18 => Rewrite(pages, next),
            18..20 => RollBack(pages, next),
            20 => Sync,
            21..23 => Seal,
            23..25 => Swap,
            25 => Spare,
            26 => Pass,
            27 => PassBehind((splitmix(&mut seed) % 4) as u32),
            28 => Restart,
            29 => Free,
            30 => Reopen,
            _ if splitmix(&mut seed).is_multiple_of(3) => Leave,
            _ => Truncate,
        });
    }
    steps
}
