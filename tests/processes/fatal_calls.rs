//! A member is killed at its nth system call of a kind, beside members that live: in the middle of a commit, a checkpoint, an open or
//! a close, wherever the kernel is asked for something.
//!
//! It runs under strace. Without strace the tests say so and pass; with `CI` in the environment they fail instead.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::campaign::Campaign;
use crate::group::{Group, Plan};
use crate::random::Random;
use crate::setting::Engine;
use crate::worker::Role;

/// Calls that change files or locks, and how often a victim makes them about. Python alone makes few of them.
const CALLS: [(&str, u64); 11] = [
    ("pwrite64", 80),
    ("pwrite64", 80),
    ("pwrite64", 10),
    ("fcntl", 150),
    ("fdatasync", 12),
    ("ftruncate", 4),
    ("flock", 3),
    ("unlink,unlinkat", 4),
    ("rename,renameat,renameat2", 4),
    ("fallocate", 4),
    ("fchmod,fchmodat", 4),
];
/// Members that are to be killed on one database.
const VICTIMS: u64 = 5;
/// What a victim may do before it is told to close, where it may be killed as well.
const WORK: u64 = 30;

fn has_strace() -> bool {
    match Command::new("strace").arg("-V").output() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "strace cannot be started: {error}");
            eprintln!("SKIPPED: strace cannot be started: {error}");
            false
        }
    }
}

/// Returns how many of the victims were killed.
fn one_database(engine: Engine, seed: u64) -> u64 {
    let mut random = Random::new(seed.wrapping_mul(1000) + 1);
    let page_size = [4096, 512, 65536][seed as usize % 3];
    let params = format!("vwal_swap=frames%3E%3D20&vwal_checkpoint_size={}KiB", (page_size / 8).max(64));
    let mut group = Group::new(Plan { engine, page_size, params, pace: 1 });
    // In every second database the victim is alone, so that its opens and closes are the first and the last.
    let others: &[Role] = if seed.is_multiple_of(2) { &[Role::Writer, Role::Reader] } else { &[] };
    for (member, &role) in (2..).zip(others) {
        let options = group.options(member, role, &mut random);
        group.start(options);
    }
    group.all_ready();
    let mut kills = 0;
    for _ in 0..VICTIMS {
        let role = *random.pick(&[Role::Writer, Role::Short]);
        let mut options = group.options(1, role, &mut random);
        options.checkpoint = 20;
        let &(call, often) = random.pick(&CALLS);
        options.fatal = Some((call, 1 + random.below(often)));
        group.start(options);
        let place = group.members.len() - 1;
        group.until("a victim works", |group| {
            let victim = &mut group.members[place];
            victim.ticks() >= WORK || victim.ended().is_some()
        });
        group.members[place].close();
        group.until("a victim has ended", |group| group.members[place].ended().is_some());
        let status = group.members.remove(place).ended().expect("it has just ended");
        assert!(status.success() || status.signal() == Some(9), "{status}");
        kills += u64::from(!status.success());
        group.check("check");
        group.all_go_on();
    }
    group.finish();
    kills
}

#[test]
fn killed_at_a_system_call() {
    if !has_strace() {
        return;
    }
    for engine in Engine::all() {
        let part = if engine == Engine::Stock { "kill at a call, stock" } else { "kill at a call" };
        Campaign::new("processes", part, 2, 40).run(2, |seed| one_database(engine, seed));
    }
}
