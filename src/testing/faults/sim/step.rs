//! What can happen in a life, and how its database is used.

use Step::*;

use super::machine::Config;
use crate::testing::io::splitmix;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Commit,
    CommitOfAnother,
    RollBack,
    Checkpoint(&'static str),
    Seal,
    Swap,
    Spare,
    Sync,
    Pass,
    Vacuum,
    BeginRead,
    Read,
    EndRead,
    Flush,
    Drain,
    Ship,
    Reopen,
    Leave,
    Adopt,
}

/// How often each happens.
pub const STEPS: &[(Step, u64)] = &[
    (Commit, 40),
    (CommitOfAnother, 6),
    (RollBack, 5),
    (Checkpoint("PASSIVE"), 5),
    (Checkpoint("FULL"), 2),
    (Checkpoint("RESTART"), 2),
    (Checkpoint("TRUNCATE"), 3),
    (Seal, 8),
    (Swap, 6),
    (Spare, 4),
    (Sync, 5),
    (Pass, 9),
    (Vacuum, 1),
    (BeginRead, 3),
    (Read, 5),
    (EndRead, 3),
    (Flush, 2),
    (Drain, 2),
    (Ship, 8),
    (Reopen, 4),
    (Leave, 2),
    (Adopt, 2),
];

/// How the database of a seed is used.
pub fn config_of(seed: u64) -> Config {
    let mut random = seed;
    let mut pick = |bound: u64| splitmix(&mut random) % bound;
    Config {
        page_size: [512, 512, 1024, 4096][pick(4) as usize],
        // All levels, with and without group commit, in any 8 seeds that follow each other.
        synchronous: ["FULL", "NORMAL", "EXTRA", "OFF"][(seed % 4) as usize],
        group_commit: (seed / 4).is_multiple_of(2),
        swap: 4 + pick(20) as u32,
        storage: pick(3) == 0,
        without: None,
    }
}
