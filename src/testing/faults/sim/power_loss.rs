//! Power loss, and a kill, at every moment of a life.

use std::sync::Arc;

use super::golden::{Hashed, check_integrity, hash, ledger};
use super::machine::{Config, Machine, check_positions, virtual_database};
use super::program::{Life, Program};
use super::step::config_of;
use crate::io::SyncSite;
use crate::ship::ship_once;
use crate::storage::Storage;
use crate::storage::bundles::durable_frame_no;
use crate::testing::faults::sweep::{Crash, Plan, Recording, Recovered, Subject, campaign};
use crate::testing::io::{Mark, Op};
use crate::testing::storage::block_on;

/// Commits that go on after a crash have numbers from here.
const AFTERWARDS: u32 = 100_000;

/// A life that ends at any moment.
struct Lived {
    life: Life,
    /// Behind so many lines of the trace something was told to be durable for the first time.
    first: usize,
}

impl Lived {
    fn new(life: Life) -> Lived {
        let is_first = |op: &Op| matches!(op, Op::Mark(Mark::Acknowledged(k)) if *k > 0);
        let first = life.trace.iter().position(|record| is_first(&record.op)).unwrap_or(usize::MAX);
        Lived { life, first }
    }

    fn recording(&self) -> Recording {
        Recording { start: self.life.start.clone(), trace: self.life.trace.clone() }
    }

    fn try_recover(&self, crash: &Crash) -> Result<(u32, Machine, Hashed), String> {
        let life = &self.life;
        let mut machine = Machine::after(life.config, crash.disks.clone(), None);
        machine.stored = life.stored.at(crash.at, &machine.io);
        let (db, k) = machine.open_and_check(&life.hashes)?;
        check_integrity(&db)?;
        let wal = virtual_database(&db).map(|(_, wal)| wal);
        if let Some(wal) = &wal {
            // What the syncer does first.
            wal.log().writer().seal_segments().map_err(|error| format!("sealing: {error}"))?;
            if life.config.storage {
                ship(&machine, wal.log())?;
            }
        }
        let again = machine.crash_hard();

        let next = AFTERWARDS + k;
        let tables = if k == 0 { "CREATE TABLE ledger(k INTEGER PRIMARY KEY, prev INTEGER);" } else { "" };
        let sql =
            format!("PRAGMA synchronous=FULL; BEGIN; {tables} {} COMMIT", ledger(next, life.hashes[&k]));
        machine.io.mark(Mark::Attempt(next));
        db.execute_batch(&sql).map_err(|error| format!("going on: {error}"))?;
        machine.io.mark(Mark::Acknowledged(next));
        let expected = hash(&db).map_err(|error| format!("going on: {error}"))?;
        if let Some(wal) = &wal {
            wal.absorb_passively();
            wal.log().checkpointer().checkpoint().map_err(|error| format!("a pass: {error}"))?;
            check_positions(&db)?;
        }
        let later = machine.crash_hard();
        drop(db);

        let (_, found) = again.open_and_check(&life.hashes).map_err(|wrong| format!("again: {wrong}"))?;
        if found != k {
            return Err(format!("recovered commit {k}, and then commit {found}"));
        }
        let db = later.open().map_err(|error| format!("later: {error}"))?;
        if hash(&db).ok() != Some(expected) {
            return Err(format!("commit {next} was acknowledged after the crash, and lost"));
        }
        Ok((k, machine, expected))
    }
}

/// Ship what storage does not have. It never has what the disk has lost.
fn ship(machine: &Machine, log: &Arc<crate::log::Log>) -> Result<(), String> {
    let storage: Arc<dyn Storage> = Arc::clone(&machine.stored) as _;
    let end = log.published_frame_no();
    let there =
        block_on(durable_frame_no(&storage, log.log_id())).map_err(|error| format!("looking: {error}"))?;
    if let Some(there) = there.filter(|there| there.end_frame_no > end) {
        return Err(format!("storage has {there:?}, the log ends at {end}"));
    }
    ship_once(log, &storage).map_err(|error| format!("shipping: {error}"))?;
    match log.stored_frame_no() {
        Some(stored) if stored == end => Ok(()),
        other => Err(format!("shipped up to {other:?}, the log ends at {end}")),
    }
}

impl Subject for Lived {
    fn recover(&self, crash: Crash) -> Result<Recovered, String> {
        // SQLite makes a new database with a rollback journal, which with OFF protects nothing.
        let protects_nothing = self.life.config.synchronous == "OFF" && crash.at <= self.first;
        let (k, machine, expected) = match self.try_recover(&crash) {
            Err(_) if protects_nothing && !crash.killed => return Ok(Recovered { k: 0, again: None }),
            result => result?,
        };
        let again = crash.again.then(|| {
            let mut hashes = self.life.hashes.clone();
            hashes.insert(AFTERWARDS + k, expected);
            let life = Life {
                config: self.life.config,
                start: machine.io.start(),
                trace: machine.io.trace(),
                hashes,
                stored: Arc::clone(&machine.stored),
            };
            let first = if protects_nothing { usize::MAX } else { 0 };
            let second = Lived { life, first };
            (second.recording(), Box::new(second) as Box<dyn Subject>)
        });
        Ok(Recovered { k, again })
    }

    fn context(&self, at: usize) -> u64 {
        self.life.stored.count_at(at)
    }
}

/// The life of a seed, without an fsync. Every third one begins where a process was killed.
pub fn recorded(seed: u64, without: Option<SyncSite>) -> (String, Recording, Box<dyn Subject>) {
    let config = Config { without, ..config_of(seed) };
    let mut program = Program::on(config, seed);
    if seed.is_multiple_of(3) {
        program.run(20);
        program = program.kill();
    }
    program.run(40);
    let lived = Lived::new(program.end());
    (format!("seed {seed}, {config}"), lived.recording(), Box::new(lived))
}

const PLAN: Plan = Plan { seed: 0, states: 0, again: 40, kills: 10, within: 20, shrink: true };

#[test]
fn nothing_acknowledged_is_lost_in_a_power_loss() {
    campaign("a real SQLite", [16, 48], [200, 3_000, 20_000], PLAN, |seed| recorded(seed, None));
}
