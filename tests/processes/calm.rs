//! A group in which nobody dies: writers, readers and checkpoints in every mode.

use std::time::{Duration, Instant};

use crate::campaign::Campaign;
use crate::group::{Group, Plan};
use crate::random::Random;
use crate::setting::Engine;
use crate::worker::Role;

/// How long the members work.
const TIME: Duration = Duration::from_secs(2);

/// Four writers and two readers, with as little rest as can be.
fn work(engine: Engine, seed: u64) {
    let mut random = Random::new(seed);
    let plan = Plan {
        engine,
        page_size: [4096, 512, 65536][seed as usize % 3],
        params: "vwal_swap=frames%3E%3D20".to_owned(),
        pace: (seed % 2) as u32,
    };
    let mut group = Group::new(plan);
    for member in 1..=6 {
        let role = if member <= 4 { Role::Writer } else { Role::Reader };
        let mut options = group.options(member, role, &mut random);
        options.checkpoint = 20;
        options.synchronous = ["NORMAL", "FULL"][member % 2];
        group.start(options);
    }
    group.all_ready();
    let start = Instant::now();
    while start.elapsed() < TIME {
        group.all_go_on();
        group.check("check");
    }
    let lines = group.lines();
    assert!(lines > 20, "{lines} lines were written");
    println!("{engine:?}, seed {seed}: {lines} lines");
    group.finish();
}

#[test]
fn writers_readers_and_checkpoints() {
    for engine in Engine::all() {
        let part = if engine == Engine::Stock { "calm, stock" } else { "calm" };
        Campaign::new("processes", part, 1, 6).run(1, |seed| {
            work(engine, seed);
            1
        });
    }
}
