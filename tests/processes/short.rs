//! Members that open, do one thing and close, over and over: the first open and the last close of a database race.

use std::time::{Duration, Instant};

use crate::campaign::Campaign;
use crate::group::{Group, Plan};
use crate::random::Random;
use crate::setting::Engine;
use crate::shell;
use crate::worker::Role;

/// How long the members work.
const TIME: Duration = Duration::from_secs(2);

fn work(engine: Engine, seed: u64, staying: Option<Role>) {
    let mut random = Random::new(seed);
    let plan = Plan {
        engine,
        page_size: [4096, 512, 65536][seed as usize % 3],
        params: "vwal_swap=frames%3E%3D20".to_owned(),
        pace: 1,
    };
    let mut group = Group::new(plan);
    let stays = staying.into_iter();
    for (member, role) in (1..).zip(stays.chain([Role::Short; 4])) {
        let options = group.options(member, role, &mut random);
        group.start(options);
    }
    group.all_ready();
    let start = Instant::now();
    while start.elapsed() < TIME {
        group.all_go_on();
        group.check("check");
    }
    println!("{engine:?}, seed {seed}: {} lines", group.lines());
    group.finish();
}

fn campaign(part: [&'static str; 2], staying: Option<Role>) {
    for engine in Engine::all() {
        Campaign::new("processes", part[usize::from(engine == Engine::Stock)], 1, 6).run(1, |seed| {
            work(engine, seed, staying);
            1
        });
    }
}

#[test]
fn beside_a_writer_that_stays() {
    campaign(["short beside a writer", "short beside a writer, stock"], Some(Role::Writer));
}

#[test]
fn beside_a_reader_that_stays() {
    campaign(["short beside a reader", "short beside a reader, stock"], Some(Role::Reader));
}

#[test]
fn all_of_them() {
    campaign(["short alone", "short alone, stock"], None);
}

/// Shells that move money, beside a member that stays and short ones.
#[test]
fn shells() {
    for engine in Engine::all() {
        let plan = Plan { engine, page_size: 4096, params: "vwal_swap=frames%3E%3D20".to_owned(), pace: 2 };
        let mut random = Random::new(11);
        let mut group = Group::new(plan);
        for (member, role) in [(1, Role::Writer), (2, Role::Short)] {
            let options = group.options(member, role, &mut random);
            group.start(options);
        }
        group.all_ready();
        let start = Instant::now();
        while start.elapsed() < TIME {
            let (from, to, amount) = (random.below(10), 10 + random.below(10), random.below(50));
            let transfer = format!(
                ".timeout 60000\nBEGIN IMMEDIATE;
                UPDATE account SET balance = balance - {amount} WHERE id = {from};
                UPDATE account SET balance = balance + {amount} WHERE id = {to};
                SELECT sum(balance) FROM account; COMMIT;"
            );
            assert_eq!(shell::run(engine, group.home(), &transfer), ["20000"], "{engine:?}");
            group.all_go_on();
        }
        group.finish();
    }
}
