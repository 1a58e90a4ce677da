//! Power loss at every moment of workloads of made-up pages.

use super::pages::Pages;
use super::rig::{Content, Rig};
use super::sweep::{Plan, Recording, Subject, campaign};
use super::workload::{FREED, FULL, NORMAL, Step, Workload, cut, random_steps};
use crate::format::footer::Footer;
use crate::io::SyncSite;
use crate::types::{LogId, PageSize};

/// The workloads that are written down; those of higher seeds are random.
pub(super) const SCRIPTED: u64 = 9;

/// The workload of a seed, and what it runs on.
fn workload(seed: u64) -> (String, Rig, Vec<Step>) {
    let off = |rig: Rig| rig.with("vwal_group_commit", "off");
    let (label, rig, steps) = match seed {
        0 => ("full", Rig::new(), FULL.to_vec()),
        1 => ("full, no group commit", off(Rig::new()), FULL.to_vec()),
        2 => ("normal", Rig::new(), NORMAL.to_vec()),
        3 => ("normal, no group commit", off(Rig::new()), NORMAL.to_vec()),
        4 => ("freed", Rig::new(), FREED.to_vec()),
        5 => ("freed, no group commit", off(Rig::new()), FREED.to_vec()),
        6 => ("behind another log", behind_another_log(), FULL[..8].to_vec()),
        7 => ("cut", slow_to_swap(), cut()),
        8 => ("cut, no group commit", off(slow_to_swap()), cut()),
        _ => {
            let rig = if seed.is_multiple_of(3) { off(Rig::new()) } else { Rig::new() };
            ("random", rig, random_steps(seed))
        }
    };
    (format!("{label}, seed {seed}"), rig, steps)
}

/// Segments so large that a writer leaves the swap to the syncer.
fn slow_to_swap() -> Rig {
    Rig::new().with("vwal_swap", "frames>=64")
}

/// A database that SQLite without vwal has written to since it had a log, whose footer is still there.
fn behind_another_log() -> Rig {
    let first = Content::first();
    let footer = Footer {
        frame_no: 5,
        log_id: LogId(uuid::Uuid::from_u128(77)),
        page_size: PageSize::new(super::rig::PAGE as u32).expect("a page size"),
        db_size_pages: first.pages.len() as u32,
        // That of the header is 0.
        change_counter: 9,
        version_valid_for: 9,
        commit_us: 1,
        parent: None,
    };
    Rig::on(&[first.bytes(), footer.encode().to_vec()].concat())
}

/// The workload of a seed, done; with an fsync left out, and in every recovery too.
pub(super) fn recorded(seed: u64, without: Option<SyncSite>) -> (String, Recording, Box<dyn Subject>) {
    let (label, mut rig, steps) = workload(seed);
    if let Some(site) = without {
        rig = rig.without(site);
    }
    let pages = Pages::new(&rig, Workload::run_whole(&rig, &steps));
    (label, pages.recording(), Box::new(pages))
}

const PLAN: Plan = Plan { seed: 0, states: 0, again: 20, kills: 3, within: 20, shrink: true };

#[test]
fn nothing_acknowledged_is_lost_in_a_power_loss() {
    campaign("made-up pages", [SCRIPTED + 3, SCRIPTED + 13], [1_500, 3_000, 20_000], PLAN, |seed| {
        recorded(seed, None)
    });
}
