//! Power loss at every moment of a scripted workload.
//!
//! The workload runs once. Then, after each of its operations, the disks that a crash could leave are built
//! (`io/testing/disk.rs`) and recovered: acknowledged ≤ recovered ≤ attempted, and every page is the one of that commit;
//! recovering again gives the same; the log goes on. For some of them the crash comes a second time, at every moment of
//! the recovery and of what follows it.

use std::collections::HashMap;
use std::path::Path;

use super::rig::{BASE, History, PAGE, Rig, check_bytes};
use super::workload::{FULL, NORMAL, Run, Step, Workload};
use crate::io::testing::{Disks, Fate, Image, Mark, Op, Record, SECTOR, splitmix};

/// Commits that go on after a crash have numbers from here, so that they cannot be taken for those before it.
const AFTERWARDS: u32 = 100_000;

/// How many variants there are of a crash.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    /// With at most so many open units, all subsets of them.
    pub(super) subsets: usize,
    /// Random variants beyond.
    pub(super) random: usize,
    /// One in so many states is crashed again while it is recovered; 0: none.
    pub(super) again: u64,
}

/// The disks that a crash may leave now.
pub(super) fn variants(disks: &Disks, depth: Depth, seed: &mut u64, mut visit: impl FnMut(Image, &str)) {
    let count = disks.open_units();
    visit(disks.crash_hard(), "only what was fsynced");
    if count == 0 {
        return;
    }
    let keep = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
    visit(disks.crash(|_| Fate::Kept), "everything");
    if count <= depth.subsets {
        for mask in 1..(1_u32 << count) - 1 {
            visit(disks.crash(|unit| keep(mask & (1 << unit) != 0)), "a subset");
        }
    } else if depth.subsets > 0 {
        for one in 0..count {
            visit(disks.crash(|unit| keep(unit < one)), "a prefix");
            visit(disks.crash(|unit| keep(unit == one)), "one");
            visit(disks.crash(|unit| keep(unit != one)), "all but one");
        }
    }
    // The last write is torn; what was written before it is there, or is not.
    if let Some(sectors) = disks.sectors(count - 1).filter(|_| depth.subsets > 0) {
        for others in [Fate::Lost, Fate::Kept] {
            for cut in 1..sectors {
                for torn in [Fate::Head(cut), Fate::Tail(cut)] {
                    visit(disks.crash(|unit| if unit == count - 1 { torn } else { others }), "torn");
                }
            }
        }
    }
    for _ in 0..depth.random {
        let mut next = *seed;
        visit(
            disks.crash(|unit| {
                let random = splitmix(&mut next);
                let cut = (random >> 8) as usize % (PAGE * 8 / SECTOR);
                match random % 8 {
                    0..3 => Fate::Lost,
                    3..6 => Fate::Kept,
                    _ if disks.sectors(unit).is_none() => Fate::Kept,
                    6 if random & 128 == 0 => Fate::Head(cut),
                    6 => Fate::Tail(cut),
                    _ => Fate::Zeros,
                }
            }),
            "random",
        );
        splitmix(seed);
    }
}

/// Crashes a run everywhere.
struct Sweep<'a> {
    rig: &'a Rig,
    depth: Depth,
    /// Each disk that was recovered, and the commit that it held.
    seen: HashMap<u64, u32>,
    /// Crashes tried, seen before or not.
    crashes: usize,
}

impl Sweep<'_> {
    fn run(&mut self, run: &Run, label: &str) {
        let mut disks = run.start.clone();
        let (mut acknowledged, mut attempted) = (0, 0);
        let mut seed = run.trace.len() as u64;
        let depth = self.depth;
        for (at, record) in run.trace.iter().enumerate() {
            disks.apply(record);
            match record.op {
                Op::Mark(Mark::Attempt(k)) => attempted = k,
                Op::Mark(Mark::Acknowledged(k)) => acknowledged = k,
                _ => {}
            }
            variants(&disks, depth, &mut seed, |image, variant| {
                self.crashes += 1;
                let place = || format!("{label}, operation {at} ({:?}), {variant}", brief(record));
                let hash = image.hash();
                let k = match self.seen.get(&hash) {
                    Some(&k) => k,
                    None => {
                        let dump = image.clone();
                        let k =
                            self.recover(image, run, hash, acknowledged, &place()).unwrap_or_else(|wrong| {
                                panic!("{}: {wrong}\n{}", place(), describe(&dump, &run.trace[..=at]))
                            });
                        self.seen.insert(hash, k);
                        k
                    }
                };
                assert!(
                    acknowledged <= k && k <= attempted,
                    "{}: acknowledged {acknowledged}, recovered {k}, attempted {attempted}\n{}",
                    place(),
                    describe(&disks.crash_hard(), &run.trace[..=at])
                );
            });
        }
    }

    /// Which commit a disk holds. It must be whole, and the same when it is recovered again, and the log must go on.
    fn recover(
        &mut self,
        image: Image,
        run: &Run,
        hash: u64,
        acknowledged: u32,
        place: &str,
    ) -> Result<u32, String> {
        let rig = Rig { options: self.rig.options.clone(), ..Rig::from(image) };
        let (db, k) = rig.open_and_check(&run.history)?;
        let (log_id, end) = (db.log().log_id(), db.log().published_frame_no());
        if run.ends.get(&k).is_some_and(|&expected| expected != end) {
            return Err(format!("commit {k} ended at frame {}, and now at frame {end}", run.ends[&k]));
        }
        if log_id != run.log_id && k > 0 {
            return Err(format!("log {} became {log_id}", run.log_id));
        }
        // What the syncer does first.
        db.log().seal_segments().map_err(|error| format!("sealing: {error}"))?;
        drop(db);
        let (db, again) =
            rig.crash_hard().open_and_check(&run.history).map_err(|wrong| format!("again: {wrong}"))?;
        if (again, db.log().log_id(), db.log().published_frame_no()) != (k, log_id, end) {
            return Err(format!("recovered commit {k} of {log_id}, and then commit {again}"));
        }
        drop(db);

        let next = AFTERWARDS + k;
        let mut history = History::from([(k, run.history[&k].clone())]);
        history.insert(next, history[&k].after(next, &[2, 1], history[&k].pages.len() as u32));
        let (db, _) = rig.open_and_check(&history)?;
        let error = |error: crate::Error| format!("going on: {error}");
        rig.io.mark(Mark::Acknowledged(k));
        rig.io.mark(Mark::Attempt(next));
        db.commit(next, &[2, 1], history[&k].pages.len() as u32, true).map_err(error)?;
        rig.io.mark(Mark::Acknowledged(next));
        db.pass().map_err(error)?;
        check_bytes(&history[&next].bytes(), &history)?;
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
        if self.depth.again > 0 && hash.is_multiple_of(self.depth.again) {
            history.extend(run.history.clone());
            // Until the syncer has been at it, a second crash may take what had not been acknowledged.
            let marks = [Mark::Attempt(k), Mark::Acknowledged(acknowledged)];
            let mut trace = marks.map(|mark| Record { op: Op::Mark(mark), failed: false }).to_vec();
            trace.extend(rig.io.trace());
            let second = Run { start: rig.io.start(), trace, history, ends: run.ends.clone(), log_id };
            let mut inner = Sweep {
                rig: self.rig,
                depth: Depth { subsets: 3, random: 2, again: 0 },
                seen: HashMap::new(),
                crashes: 0,
            };
            inner.run(&second, &format!("a crash after a crash ({place})"));
            self.crashes += inner.crashes;
        }
        Ok(k)
    }
}

/// A record without the bytes.
fn brief(record: &Record) -> String {
    let mut text = match &record.op {
        Op::Write { file, offset, data } => {
            format!("Write {{ file: {file}, offset: {offset}, {} bytes }}", data.len())
        }
        other => format!("{other:?}"),
    };
    if record.failed {
        text.push_str(" FAILED");
    }
    text
}

/// What a failure is looked at with: the files, and what was done last.
fn describe(image: &Image, trace: &[Record]) -> String {
    let files = image.names.keys().map(|path| match image.read(path) {
        Some(bytes) => format!("  {} {} bytes\n", path.display(), bytes.len()),
        None => format!("  {}/\n", path.display()),
    });
    let last =
        trace.iter().skip(trace.len().saturating_sub(40)).map(|record| format!("  {}\n", brief(record)));
    format!("the disk:\n{}the last operations:\n{}", files.collect::<String>(), last.collect::<String>())
}

fn sweep(rig: &Rig, steps: &[Step], depth: Depth, label: &str) {
    let run = Workload::run_whole(rig, steps);
    let factor = factor();
    let depth = Depth {
        subsets: depth.subsets + factor.ilog2() as usize,
        random: depth.random * factor,
        again: (depth.again / factor as u64).max(1),
    };
    let mut sweep = Sweep { rig, depth, seen: HashMap::new(), crashes: 0 };
    sweep.run(&run, label);
    println!(
        "{label}: {} operations, {} crashes, {} different disks",
        run.trace.len(),
        sweep.crashes,
        sweep.seen.len()
    );
    assert!(sweep.seen.len() > run.trace.len(), "the sweep is not empty");
}

const DEPTH: Depth = Depth { subsets: 4, random: 6, again: 10 };

/// `VWAL_TEST_CRASHES=20` tries about twenty times as many crashes.
fn factor() -> usize {
    let text = std::env::var("VWAL_TEST_CRASHES").unwrap_or_else(|_| "1".into());
    text.parse().unwrap_or_else(|_| panic!("VWAL_TEST_CRASHES is a number, not {text:?}"))
}

#[test]
fn full_with_group_commit() {
    sweep(&Rig::new(), FULL, DEPTH, "full");
}

#[test]
fn full_without_group_commit() {
    let rig = Rig::new().with("vwal_group_commit", "off");
    sweep(&rig, FULL, Depth { subsets: 3, random: 2, again: 60 }, "full, no group commit");
}

#[test]
fn normal() {
    sweep(&Rig::new(), NORMAL, DEPTH, "normal");
}

/// The process is killed at every moment; the next one goes on with what is in the page cache, and then the power goes.
#[test]
fn killed_and_then_a_power_loss() {
    for (label, steps) in [("full", FULL), ("normal", NORMAL)] {
        let rig = Rig::new();
        let run = Workload::run_whole(&rig, steps);
        let mut disks = run.start.clone();
        let (mut acknowledged, mut attempted) = (0, 0);
        for (at, record) in run.trace.iter().enumerate() {
            disks.apply(record);
            match record.op {
                Op::Mark(Mark::Attempt(k)) => attempted = k,
                Op::Mark(Mark::Acknowledged(k)) => acknowledged = k,
                _ => {}
            }
            let place = format!("{label}, killed behind operation {at} ({:?})", brief(record));
            let rig = Rig { options: rig.options.clone(), ..Rig::after(disks.clone()) };
            let (db, k) = rig.open_and_check(&run.history).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
            assert!(acknowledged <= k && k <= attempted, "{place}: {acknowledged} <= {k} <= {attempted}");
            let crash = |history: &History, expected: u32| {
                let crashed = rig.crash_hard().open_and_check(history);
                let (_, found) = crashed.unwrap_or_else(|wrong| panic!("{place}, then a crash: {wrong}"));
                assert_eq!(found, expected, "{place}, then a crash");
            };
            let at_once = rig.crash_hard().open_and_check(&run.history);
            let (_, found) = at_once.unwrap_or_else(|wrong| panic!("{place}, then a crash at once: {wrong}"));
            assert!(acknowledged <= found && found <= k, "{place}, then a crash at once: {found}");
            let next = AFTERWARDS + k;
            let size = run.history[&k].pages.len() as u32;
            let mut history = run.history.clone();
            history.insert(next, history[&k].after(next, &[2, 1], size));
            if at % 2 == 0 {
                // The syncer comes before the next commit, or after it.
                db.log().seal_segments().unwrap();
                crash(&run.history, k);
            }
            db.commit(next, &[2, 1], size, true).unwrap();
            crash(&history, next);
            db.pass().unwrap();
            crash(&history, next);
        }
    }
}
