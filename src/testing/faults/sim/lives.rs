//! Lives without faults.

use super::program::Program;
use crate::testing::faults::campaign::Campaign;

#[test]
fn a_life_and_what_a_kill_leaves_of_it() {
    let mut campaign = Campaign::new("simulated kills", "a real SQLite", 24, 400);
    while let Some(seed) = campaign.seed() {
        let mut program = Program::new(seed);
        for _ in 0..4 {
            program.run(25);
            program = program.kill();
            campaign.count(1);
        }
        drop(program.end());
    }
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in 0..8 {
        let shape = || {
            let mut program = Program::new(seed);
            program.run(30);
            let life = program.end();
            // What SQLite makes up itself, a nonce in its journal, differs.
            let operations =
                life.trace.iter().map(|record| std::mem::discriminant(&record.op)).collect::<Vec<_>>();
            (operations, life.hashes)
        };
        assert!(shape() == shape(), "seed {seed}");
    }
}
