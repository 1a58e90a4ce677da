//! The nth operation of a life fails, once, a few times or for ever: what SQL is told, and what is there afterwards.

use libc::{EDQUOT, EIO, ENOSPC};

use super::machine::Machine;
use super::program::Program;
use crate::testing::faults::campaign::{Campaign, is_one_seed};
use crate::testing::io::{Disks, Fault, Kind, Op, Record, splitmix};

/// Steps of each life. Most of what can fail happens in each of them.
const STEPS: usize = 14;
/// So many faults are put into each life.
const PER_LIFE: u64 = 40;

/// What fails, and how, for a life in which so many operations of each kind are tried.
fn fault(random: &mut u64, tried: impl Fn(Kind) -> usize) -> Fault {
    let mut pick = |bound: usize| (splitmix(random) % bound as u64) as usize;
    loop {
        // Those that there are most of are not the most interesting ones.
        let on = Kind::ALL[pick(Kind::ALL.len())];
        let Some(after) = Some(tried(on)).filter(|&count| count > 0).map(&mut pick) else { continue };
        let times = [1, 1, 2, usize::MAX][pick(4)];
        let whole = Fault { times, ..Fault::on(on, [EIO, ENOSPC, EDQUOT][pick(3)]).after(after) };
        return match (on, pick(4)) {
            // A short write, and then the error.
            (Kind::Write, 0..2) => Fault { part: [1, 100, 512, 4096][pick(4)], ..whole },
            // A short read of a file of vwal's. (To SQLite a short read of the database is a page of zeros.)
            (Kind::Read, 0) => Fault { part: pick(600), lies: true, ..whole.at([".seg", "meta"][pick(2)]) },
            (Kind::Sync | Kind::SyncDir, 0) => Fault { lies: true, ..whole },
            _ => whole,
        };
    }
}

/// Live with a fault, and see what is there afterwards. False: nothing failed. `trusted`: what an fsync says that lies is taken for
/// true.
fn try_one(seed: u64, trusted: bool) -> Result<bool, String> {
    let life = seed / PER_LIFE;
    let mut whole = Program::new(life);
    whole.run(STEPS);
    let mut random = seed;
    let fault = fault(&mut random, |kind| whole.machine.io.tried(kind));
    drop(whole);

    if is_one_seed() {
        println!("{fault:?}");
    }
    let mut program = Program::new(life);
    let io = program.machine.io.clone();
    io.fail(fault);
    program.run_whatever_fails(STEPS);
    if io.failed() == 0 {
        return Ok(false);
    }
    io.heal();
    let (acknowledged, attempted) = program.bounds();
    let place = format!("seed {seed}, {}: {fault:?}\n{:?}", program.machine.config, program.steps());
    // SQLite makes a new database with a rollback journal, which with OFF protects nothing.
    let protects_nothing = acknowledged == 0 && program.machine.config.synchronous == "OFF";
    let (config, disks) = (program.machine.config, io.disks());
    let life = program.end();
    // In rollback mode SQLite itself tries an fsync again that failed, and takes the second answer for the truth.
    let retried = |record: &Record| record.failed && matches!(record.op, Op::Sync { site: None, .. });
    // A read that lies changes no disk.
    let lies = fault.lies && fault.on != Kind::Read && !trusted || life.trace.iter().any(retried);
    let check = |machine: &Machine, what: &str| {
        let wrong = match machine.open_and_check(&life.hashes) {
            Ok((_, k)) if acknowledged <= k && k <= attempted => return Ok(()),
            // An fsync that lied may have lost anything.
            Ok((_, k)) if lies && k <= attempted => return Ok(()),
            Ok((_, k)) => format!("acknowledged {acknowledged}, found {k}, attempted {attempted}"),
            Err(_) if protects_nothing => return Ok(()),
            // It may have lost pages of the database file as well, which have no checksums. No promise covers that.
            Err(_) if lies => return Ok(()),
            Err(told) => told,
        };
        Err(format!("{what}: {wrong}\n{place}"))
    };
    // The power goes; or the process ends, and the next one sees what is in the page cache, and then the power goes.
    let stored = life.stored.at(usize::MAX, &io);
    check(&Machine::after(config, Disks::new(disks.crash_hard()), None), "after a power loss")?;
    let next = Machine::after(config, disks, Some(stored));
    check(&next, "in the next process")?;
    check(&next.crash_hard(), "after a power loss in the next process")?;
    Ok(true)
}

#[test]
fn any_operation_of_a_life_may_fail() {
    Campaign::new("I/O errors", "a real SQLite", 600, 24_000)
        .run(2, |seed| u64::from(try_one(seed, false).unwrap_or_else(|wrong| panic!("{wrong}"))));
}

/// A planted fault: fsyncs that lie, and a check that believes them.
#[test]
fn what_an_fsync_that_lies_loses_is_noticed() {
    let noticed = (0..400).filter(|&seed| try_one(seed, true).is_err()).count();
    assert!(noticed > 0, "nothing was lost, or nothing was noticed");
    println!("{noticed} of 400 seeds");
}
