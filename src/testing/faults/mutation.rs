//! Each fsync left out in turn: what it is for must then be lost in a crash.

use std::collections::BTreeSet;
use std::path::Path;

use super::campaign::Campaign;
use super::power_loss::{self, SCRIPTED};
use super::rig::{BASE, HOME, History, PAGE, Rig, page};
use super::shipped;
use super::sweep::{Crash, Plan, Recording, Recovered, Subject, sweep};
use crate::io::{Io, OpenMode, SyncSite};
use crate::testing::io::{Disks, Mark, Op, announced_site, announcing};

/// How much is tried until the loss is found.
pub const PLAN: Plan = Plan { seed: 0, states: 500, again: 4, kills: 2, within: 24, shrink: false };

/// Leave out each of these fsyncs in turn, in what `make` makes of the seeds from that beside it, and then of those before it,
/// until a crash loses something. It is an error if none does; and if one does in the same recording with nothing left out.
pub fn gate(
    part: &'static str,
    sites: &[(SyncSite, u64)],
    seeds: u64,
    make: impl Fn(u64, Option<SyncSite>) -> (String, Recording, Box<dyn Subject>),
) {
    let mut campaign = Campaign::all("fsync mutation", part);
    let mut survivors = Vec::new();
    let mut whole = BTreeSet::new();
    for &(site, first) in sites {
        let mut states = 0;
        let lost = (first..seeds).chain(0..first).find_map(|seed| {
            let (label, recording, subject) = make(seed, Some(site));
            let swept = sweep(&recording, &*subject, Plan { seed, ..PLAN });
            states += swept.as_ref().map_or_else(|failure| failure.states, |counted| counted.states);
            swept.err().map(|failure| (seed, label, failure))
        });
        match lost {
            Some((seed, label, failure)) => {
                println!("without {}: {states} disks, {label}: {}", site.name(), failure.what());
                if whole.insert(seed) {
                    let (label, recording, subject) = make(seed, None);
                    sweep(&recording, &*subject, Plan { seed, ..PLAN })
                        .unwrap_or_else(|failure| panic!("{label}, with every fsync: {}", failure.what()));
                }
                campaign.count(1);
            }
            None => {
                println!("without {}: {states} disks, nothing is lost", site.name());
                survivors.push(site);
            }
        }
    }
    assert!(survivors.is_empty(), "nothing is lost without {survivors:?}");
}

/// The sites that a log of made-up pages comes to, and the seed of a workload that needs each, which is tried first.
///
/// Not among them: `SpareBlocks`, which is not for durability; those of the tests below and in `sim/mutation.rs`; and
/// `CutSegmentName`, without which nothing that these workloads do is lost.
const OF_THE_LOG: &[(SyncSite, u64)] = &[
    (SyncSite::FirstBase, 6),
    (SyncSite::LogDirectoryName, 0),
    (SyncSite::FirstMeta, 0),
    (SyncSite::FirstNames, 0),
    (SyncSite::RecoveredMeta, 0),
    (SyncSite::CutSegment, 7),
    (SyncSite::CommittedFrames, 0),
    (SyncSite::LockedCommit, 1),
    (SyncSite::UnaskedFrames, 2),
    (SyncSite::SegmentNames, 0),
    (SyncSite::SegmentNamesAhead, 0),
    (SyncSite::SealedFrames, 23),
    (SyncSite::Seal, 0),
    (SyncSite::RenewedSegment, 0),
    (SyncSite::SpareName, 5),
    (SyncSite::PassFrames, 2),
    (SyncSite::Intent, 0),
    (SyncSite::BasePages, 2),
    (SyncSite::BaseFooter, 0),
    (SyncSite::CompletedPass, 0),
    (SyncSite::FreedSegments, 0),
    (SyncSite::LeftSegments, 2),
    (SyncSite::LeftDirectory, 0),
];

#[test]
fn without_any_fsync_of_the_log_a_power_loss_loses_something() {
    gate("made-up pages", OF_THE_LOG, SCRIPTED + 20, power_loss::recorded);
}

/// Recovers a database of made-up pages, which must hold what is known.
struct Known {
    rig: Rig,
    history: History,
}

impl Subject for Known {
    fn recover(&self, crash: Crash) -> Result<Recovered, String> {
        let rig = self.rig.again(crash.disks);
        let (_, k) = rig.open_and_check(&self.history)?;
        Ok(Recovered { k, again: None })
    }
}

fn but(rig: Rig, without: Option<SyncSite>) -> Rig {
    match without {
        Some(site) => rig.without(site),
        None => rig,
    }
}

fn known(label: &str, rig: Rig, history: History) -> (String, Recording, Box<dyn Subject>) {
    let recording = Recording { start: rig.io.start(), trace: rig.io.trace() };
    (label.to_owned(), recording, Box::new(Known { rig, history }))
}

/// A log in the place of one whose database something else has written to.
fn log_behind_a_foreign_change(site: Option<SyncSite>) -> (String, Recording, Box<dyn Subject>) {
    let rig = Rig::new();
    let (db, mut history) = rig.open_with_commits(3, true);
    db.pass().unwrap();
    drop(db);
    let foreign = rig.io.tamper(Path::new(BASE), |bytes| bytes[..PAGE].copy_from_slice(&page(1, 900)));
    history.get_mut(&3).expect("the last commit").pages[0] = 900;
    let next = history[&3].after(4, &[2], 2);
    history.insert(4, next);
    let rig = but(rig.again(Disks::new(foreign)), site);
    rig.io.mark(Mark::Attempt(3));
    rig.io.mark(Mark::Acknowledged(3));
    let db = rig.open().unwrap();
    rig.io.mark(Mark::Attempt(4));
    db.commit(4, &[2], 2, true).unwrap();
    rig.io.mark(Mark::Acknowledged(4));
    drop(db);
    known("a foreign change", rig, history)
}

#[test]
fn without_the_fsync_of_metadata_in_the_place_of_others_a_power_loss_loses_something() {
    gate("a foreign change", &[(SyncSite::ReplacedMeta, 0)], 1, |_, site| log_behind_a_foreign_change(site));
}

#[test]
fn without_the_fsync_before_a_shipment_storage_has_what_is_lost() {
    gate("shipped", &[(SyncSite::ShippedFrames, 0)], 12, |seed, site| {
        shipped::recorded(seed, but(Rig::new(), site))
    });
}

/// How much of a spare file waits for the fsync of a commit when it has been prepared.
fn pending_of_a_spare(rig: &Rig) -> usize {
    let db = rig.open().unwrap();
    db.log().writer().prepare_spare().unwrap();
    rig.io.disks().open_units()
}

#[test]
fn without_the_fsync_of_a_spare_file_a_commit_waits_for_its_blocks() {
    let mut campaign = Campaign::all("fsync mutation", "spare");
    assert_eq!(pending_of_a_spare(&Rig::new()), 0);
    assert!(pending_of_a_spare(&Rig::new().without(SyncSite::SpareBlocks)) > 10);
    campaign.count(1);
}

/// The sites in the trace, in order.
fn sites(rig: &Rig) -> Vec<Option<SyncSite>> {
    let sites = rig.io.trace().into_iter().filter_map(|record| match record.op {
        Op::Sync { site, .. } => Some(site),
        Op::SyncDir { site, .. } => Some(site),
        _ => None,
    });
    sites.collect()
}

#[test]
fn a_site_that_is_left_out_does_nothing_and_the_others_do() {
    let rig = Rig::new();
    let path = Path::new(HOME).join("file");
    let file = rig.io.open(&path, OpenMode::Create).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    rig.io.skip_sync(SyncSite::Seal);
    rig.io.skip_sync(SyncSite::FreedSegments);
    file.sync(SyncSite::Seal).unwrap();
    rig.io.sync_dir(Path::new(HOME), SyncSite::FreedSegments).unwrap();
    assert_eq!((sites(&rig), rig.io.disks().open_units()), (vec![], 3));
    rig.io.sync_dir(Path::new(HOME), SyncSite::SpareName).unwrap();
    file.sync(SyncSite::SpareBlocks).unwrap();
    assert_eq!(sites(&rig), [Some(SyncSite::SpareName), Some(SyncSite::SpareBlocks)]);
    assert_eq!(rig.io.disks().crash_hard().read(&path), Some(&b"bytes"[..]));
}

#[test]
fn the_site_of_an_fsync_through_the_vfs_is_known_there() {
    let inside = announcing(SyncSite::BasePages, || {
        announcing(SyncSite::BaseFooter, || assert_eq!(announced_site(), Some(SyncSite::BaseFooter)));
        announced_site()
    });
    assert_eq!((inside, announced_site()), (Some(SyncSite::BasePages), None));
}
