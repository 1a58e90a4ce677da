//! Models of what threads do to each other: the real code, run by shuttle in thousands of orders.
//!
//! `VWAL_SHUTTLE=1 cargo test --lib schedules` runs them, and nothing else can be run in that build: every lock and every atomic
//! belongs to shuttle then (`src/sync.rs`). A run that fails prints its schedule, which `shuttle::replay` takes, and its seed, which
//! `FAULTS_SEED` takes. What shuttle does not show are the effects of weak memory orders: every access is sequentially
//! consistent to it.
//!
//! Each model has a test beside it that plants a fault, and shows that the model finds it.

mod checkpoints;
mod commits;
mod disk;
mod mini_wal;
mod pool;
mod stops;

use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::sync::{Fault, begin_run};
use crate::testing::faults::campaign::Campaign;

/// Schedules of one seed: half of them at random, half of them with few changes between threads (PCT).
const SCHEDULES: usize = 100;
/// A run that takes more steps than this waits for something that does not come.
const STEPS: usize = 200_000;

fn config(failures: FailurePersistence) -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    config.failure_persistence = failures;
    config
}

fn run(seed: u64, fault: Option<Fault>, failures: FailurePersistence, model: fn()) {
    let schedulers: [Box<dyn Scheduler + Send>; 2] = [
        Box::new(RandomScheduler::new_from_seed(seed, SCHEDULES / 2)),
        Box::new(PctScheduler::new_from_seed(seed, 2 + (seed % 4) as usize, SCHEDULES / 2)),
    ];
    for scheduler in schedulers {
        let ran = Runner::new(scheduler, config(failures.clone())).run(move || {
            begin_run(fault);
            model();
        });
        assert_eq!(ran, SCHEDULES / 2);
    }
}

/// Run a model in many orders: `ci` of them in CI.
pub fn explore(part: &'static str, ci: u64, model: fn()) {
    explore_with(part, ci, None, model);
}

/// The same, with a fault below it that the code is to live with.
pub fn explore_with(part: &'static str, ci: u64, fault: Option<Fault>, model: fn()) {
    let mut campaign = Campaign::new("schedules", part, 2, ci / SCHEDULES as u64);
    while let Some(seed) = campaign.seed() {
        run(seed, fault, FailurePersistence::Print, model);
        campaign.count(SCHEDULES as u64);
    }
}

/// A model with a planted fault must fail, in no more orders than CI runs of it, and say `why`.
pub fn must_fail(ci: u64, fault: Option<Fault>, why: &str, model: fn()) {
    for seed in 0..ci / SCHEDULES as u64 {
        let result = catch_unwind(AssertUnwindSafe(|| run(seed, fault, FailurePersistence::None, model)));
        if let Err(panic) = result {
            let said = match panic.downcast::<String>() {
                Ok(text) => *text,
                Err(panic) => {
                    panic.downcast::<&str>().map_or_else(|_| String::new(), |text| text.to_string())
                }
            };
            assert!(said.contains(why), "it failed, but not since {why:?}: {said}");
            return;
        }
    }
    panic!("the planted fault was not found in {ci} schedules");
}
