//! A random life of a database, by seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::golden::{self, Golden, Hashed};
use super::machine::{Config, Machine, virtual_database};
use super::step::Step::{self, *};
use super::step::{STEPS, config_of};
use crate::io::SyncSite;
use crate::ship::ship_once;
use crate::storage::Storage;
use crate::testing::faults::campaign::is_one_seed;
use crate::testing::faults::stored::Stored;
use crate::testing::io::{Disks, Mark, Record, splitmix};

/// What happened.
pub struct Life {
    pub config: Config,
    pub start: Disks,
    pub trace: Vec<Record>,
    pub hashes: BTreeMap<u32, Hashed>,
    /// The storage that it shipped to.
    pub stored: Arc<Stored>,
}

/// A process under way.
pub struct Program {
    pub machine: Machine,
    random: u64,
    golden: Golden,
    /// None: the database is closed.
    writer: Option<Connection>,
    /// A read transaction, and the commit that it sees.
    reader: Option<(Connection, u32)>,
    /// The last commit that stands, the last one that was told to be durable, and the last one that was tried.
    last: u32,
    acknowledged: u32,
    attempted: u32,
    /// A commit was tried, and what came of it is not known yet.
    is_open: bool,
    /// Where commits end in the log that is open now.
    ends: BTreeMap<u32, u64>,
    /// What was done, for those who look into a failure: after how many operations, and what.
    steps: Vec<(usize, String)>,
}

impl Program {
    /// A new machine.
    pub fn new(seed: u64) -> Program {
        Program::on(config_of(seed), seed)
    }

    /// A new machine of another kind.
    pub fn on(config: Config, seed: u64) -> Program {
        Program {
            machine: Machine::new(config),
            random: seed ^ 0x5EED,
            golden: Golden::new(),
            writer: None,
            reader: None,
            last: 0,
            acknowledged: 0,
            attempted: 0,
            is_open: false,
            ends: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    fn pick(&mut self, bound: u64) -> u64 {
        splitmix(&mut self.random) % bound
    }

    /// Take so many random steps, none of which may fail.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.random_step()
                .unwrap_or_else(|error| panic!("{}: {error}\n{:?}", self.machine.config, self.steps));
        }
    }

    /// Take so many random steps, whatever becomes of them. What is read must always be what some commit left.
    pub fn run_whatever_fails(&mut self, steps: usize) {
        for _ in 0..steps {
            let result = self.random_step();
            if is_one_seed() {
                let step = self.steps.last().map_or("", |(_, step)| step);
                println!("{} {step}: {result:?}", self.machine.io.operations());
            }
            if result.is_err() && !self.settle() {
                return;
            }
        }
    }

    fn random_step(&mut self) -> rusqlite::Result<()> {
        let total = STEPS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.pick(total);
        let step = STEPS.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let step = step.expect("one of them").0;
        self.steps.push((self.machine.io.operations(), format!("{step:?}")));
        self.step(step)?;
        self.acknowledge_what_is_durable();
        Ok(())
    }

    /// Something failed: find out whether the commit that was tried is there. False: the database holds an earlier commit
    /// than the last one, which was not acknowledged, and this life is over.
    fn settle(&mut self) -> bool {
        let io = self.machine.io.clone();
        io.unharmed(|| {
            self.reader = None;
            if self.last == 0 {
                // A connection whose attempt to make a database failed keeps a change counter that the next one to try may
                // use too, and then takes its empty cache for what is there. (So does SQLite without vwal.)
                self.writer = None;
            }
            if let Some(db) = &self.writer {
                // The error may have done so already.
                let _ = db.execute_batch("ROLLBACK");
            } else {
                match self.machine.open() {
                    Ok(db) => self.writer = Some(db),
                    Err(error) if is_refused(&error) => return false,
                    Err(error) => panic!("nothing fails now, and it does not open: {error}"),
                }
                self.ends.clear();
            }
            let db = self.writer.as_ref().expect("it is open");
            let found = match golden::find(db, &self.golden.hashes) {
                Ok(found) => found.unwrap_or_else(|wrong| panic!("an error left {wrong}")),
                Err(error) if is_refused(&error) => return false,
                Err(error) => panic!("an error left what cannot be read: {error}"),
            };
            let open = std::mem::take(&mut self.is_open);
            if open && found == self.attempted {
                self.golden.settle(true);
                self.last = found;
                return true;
            }
            if open {
                self.golden.settle(false);
            }
            assert!(
                self.acknowledged <= found && found <= self.attempted,
                "acknowledged {}, found {found}, attempted {}",
                self.acknowledged,
                self.attempted
            );
            found == self.last
        })
    }

    /// What was done so far.
    pub fn steps(&self) -> &[(usize, String)] {
        &self.steps
    }

    /// The last commit that was told to be durable, and the last one that was tried.
    pub fn bounds(&self) -> (u32, u32) {
        (self.acknowledged, self.attempted)
    }

    /// The life so far. The process is abandoned as it is.
    pub fn end(self) -> Life {
        let io = &self.machine.io;
        Life {
            config: self.machine.config,
            start: io.start(),
            trace: io.trace(),
            hashes: self.golden.hashes,
            stored: Arc::clone(&self.machine.stored),
        }
    }

    /// The process is killed, and another one goes on: a new life, whose disk may lose what this one did not fsync.
    pub fn kill(self) -> Program {
        let disks = self.machine.io.disks();
        let stored = self.machine.stored.at(usize::MAX, &self.machine.io);
        let mut next = Program {
            machine: Machine::after(self.machine.config, disks, None),
            random: self.random,
            golden: self.golden,
            writer: None,
            reader: None,
            last: self.last,
            acknowledged: self.acknowledged,
            attempted: self.attempted,
            is_open: false,
            ends: BTreeMap::new(),
            steps: Vec::new(),
        };
        next.machine.stored = stored.at(usize::MAX, &next.machine.io);
        next.machine.io.mark(Mark::Attempt(next.last));
        next.machine.io.mark(Mark::Acknowledged(next.acknowledged));
        next
    }

    fn open(&mut self) -> rusqlite::Result<()> {
        if self.writer.is_none() {
            let db = self.machine.open()?;
            let found =
                golden::find(&db, &self.golden.hashes)?.unwrap_or_else(|wrong| panic!("opened: {wrong}"));
            self.writer = Some(db);
            self.ends.clear();
            if found != self.last {
                return Err(unexpected(format!(
                    "it opened with commit {found}, the last one was {}",
                    self.last
                )));
            }
        }
        Ok(())
    }

    fn close(&mut self) -> rusqlite::Result<()> {
        self.reader = None;
        self.writer.take().map_or(Ok(()), |db| db.close().map_err(|(_, error)| error))
    }

    fn acknowledge(&mut self, k: u32) {
        if k > self.acknowledged {
            self.acknowledged = k;
            self.machine.io.mark(Mark::Acknowledged(k));
        }
    }

    /// What `vwal_durable_frame_no()` promises.
    fn acknowledge_what_is_durable(&mut self) {
        let Some((database, _)) = self.writer.as_ref().and_then(virtual_database) else { return };
        // With storage it tells of storage, which is another promise.
        let durable = if self.machine.config.storage {
            database.wal().log().synced_frame_no()
        } else {
            database.durable_frame_no()
        };
        let k = self.ends.iter().rev().find(|(_, end)| **end <= durable).map_or(0, |(k, _)| *k);
        self.acknowledge(k);
    }

    /// A transaction's statements, without those that begin and end it.
    fn statements(&mut self, k: u32) -> String {
        let before = self.golden.hashes[&self.last];
        let mut sql = String::new();
        if self.last == 0 {
            sql.push_str(
                "CREATE TABLE ledger(k INTEGER PRIMARY KEY, prev INTEGER NOT NULL);
                 CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT);
                 CREATE INDEX ta ON t(a);",
            );
        }
        for _ in 0..=self.pick(3) {
            let (n, m) = (self.pick(40), self.pick(7) + 2);
            let letter = char::from(b'a' + (k % 26) as u8);
            sql.push_str(&match self.pick(10) {
                0..3 => format!("INSERT OR REPLACE INTO t VALUES({n}, {k}, '{letter}{n}');"),
                3 => format!(
                    "INSERT OR REPLACE INTO t VALUES({n}, {k}, printf('%.{}c', '{letter}'));",
                    100 * n
                ),
                4..6 => format!("UPDATE t SET a = a + {k} WHERE id % {m} = 0;"),
                6 => format!("UPDATE t SET b = b || '{letter}' WHERE id = {n};"),
                7 => format!("DELETE FROM t WHERE id % 11 = {m};"),
                8 => format!(
                    "SAVEPOINT s; UPDATE t SET b = printf('%.{}c', '{letter}'); ROLLBACK TO s; RELEASE s;",
                    30 * m
                ),
                // More than fits into the connection's cache, so that pages are written before the commit.
                _ => format!(
                    "WITH RECURSIVE r(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM r WHERE i < 30)
                     INSERT OR REPLACE INTO t SELECT i, {k} + i, printf('%.{}c', '{letter}') FROM r;",
                    10 * m
                ),
            });
        }
        sql.push_str(&golden::ledger(k, before));
        sql
    }

    /// Commit through `db`.
    fn commit(&mut self, db: &Connection, is_durable: bool) -> rusqlite::Result<()> {
        let k = self.attempted + 1;
        let sql = self.statements(k);
        self.golden.attempt(k, &sql);
        (self.attempted, self.is_open) = (k, true);
        self.machine.io.mark(Mark::Attempt(k));
        db.execute_batch(&format!("BEGIN IMMEDIATE; {sql} COMMIT"))?;
        self.golden.settle(true);
        (self.last, self.is_open) = (k, false);
        if let Some((database, _)) = virtual_database(db) {
            self.ends.insert(k, database.frame_no());
        }
        if is_durable {
            self.acknowledge(k);
        }
        Ok(())
    }

    /// Whether a commit through vwal that returns now is durable.
    fn is_durable(&self, is_virtual: bool) -> bool {
        let config = &self.machine.config;
        // SQLite's own promise for its journal: with EXTRA its end is durable too. A new database is made that way.
        config.is_full() && (is_virtual || self.last == 0) || config.synchronous == "EXTRA"
    }

    fn step(&mut self, step: Step) -> rusqlite::Result<()> {
        self.open()?;
        let db = self.writer.take().expect("it was opened");
        let result = self.step_on(&db, step);
        self.writer = Some(db);
        result?;
        match step {
            Reopen => {
                let was_virtual = self.writer.as_ref().is_some_and(|db| virtual_database(db).is_some());
                self.close()?;
                // Closing tells of no error.
                if was_virtual && self.machine.io.failed() == 0 {
                    self.acknowledge(self.last);
                }
                self.open()
            }
            Leave => self.leave(),
            Adopt => self.adopt(),
            _ => Ok(()),
        }
    }

    fn step_on(&mut self, db: &Connection, step: Step) -> rusqlite::Result<()> {
        let wal = virtual_database(db).map(|(_, wal)| wal);
        let is_durable = self.is_durable(wal.is_some());
        match (step, &wal) {
            (Commit, _) => self.commit(db, is_durable),
            (CommitOfAnother, _) => {
                let other = self.machine.open()?;
                let result = self.commit(&other, is_durable);
                drop(other);
                result
            }
            (RollBack, _) if self.last > 0 => {
                let sql = self.statements(self.attempted + 1);
                db.execute_batch(&format!("BEGIN IMMEDIATE; {sql} ROLLBACK"))
            }
            (Checkpoint(mode), _) => {
                db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).or_else(is_busy)
            }
            (Vacuum, _) if self.reader.is_none() => db.execute_batch("VACUUM"),
            (BeginRead, Some(_)) if self.reader.is_none() => {
                let reader = self.machine.open()?;
                reader.execute_batch("BEGIN")?;
                let seen =
                    golden::find(&reader, &self.golden.hashes)?.unwrap_or_else(|wrong| panic!("{wrong}"));
                assert_eq!(seen, self.last, "a read transaction sees the last commit");
                self.reader = Some((reader, seen));
                Ok(())
            }
            (Read, _) => {
                let (reader, k) = match &self.reader {
                    Some((reader, k)) => (reader, *k),
                    None => (db, self.last),
                };
                let seen =
                    golden::find(reader, &self.golden.hashes)?.unwrap_or_else(|wrong| panic!("{wrong}"));
                assert_eq!(seen, k, "a read transaction sees one commit");
                Ok(())
            }
            (EndRead, _) => {
                self.reader = None;
                Ok(())
            }
            (Flush, Some(_)) if !self.machine.config.storage => {
                db.query_row("SELECT vwal_sync()", [], |_| Ok(()))?;
                self.acknowledge(self.last);
                Ok(())
            }
            (Drain, Some(_)) => db.query_row("SELECT vwal_checkpoint()", [], |_| Ok(())).or_else(is_busy),
            (_, Some(wal)) => self
                .background(step, wal)
                .map_err(|error| unexpected(format!("what a background thread does: {error}"))),
            _ => Ok(()),
        }
    }

    /// What the threads of a database do, which do not run here.
    fn background(&mut self, step: Step, wal: &Arc<crate::wal::Wal>) -> crate::error::Result<()> {
        let log = wal.log();
        match step {
            Seal => log.writer().seal_segments(),
            Swap => log.writer().look_after_current(&mut Some(log.published_frame_no())).map(drop),
            Spare => log.writer().prepare_spare(),
            Sync => log.durability().sync_to(log.published_frame_no(), SyncSite::UnaskedFrames),
            Pass => {
                wal.absorb_passively();
                log.checkpointer().checkpoint().map(drop)
            }
            Ship if self.machine.config.storage => {
                let storage: Arc<dyn Storage> = Arc::clone(&self.machine.stored) as _;
                ship_once(log, &storage)
            }
            _ => Ok(()),
        }
    }

    /// `PRAGMA journal_mode=DELETE`, some commits with SQLite's own journal, and back.
    fn leave(&mut self) -> rusqlite::Result<()> {
        // Storage is left with an end that nobody goes on from, if the database grows meanwhile.
        if self.machine.config.storage || self.last == 0 {
            return Ok(());
        }
        self.reader = None;
        let Some(db) = self.writer.take() else { return Ok(()) };
        db.pragma_update(None, "synchronous", self.machine.config.synchronous_with_journal())?;
        set_mode(&db, "delete")?;
        self.acknowledge(self.last);
        for _ in 0..self.pick(3) {
            // SQLite's own promise: with EXTRA the end of the journal is durable too.
            self.commit(&db, self.machine.config.synchronous == "EXTRA")?;
        }
        set_mode(&db, "wal")?;
        db.pragma_update(None, "synchronous", self.machine.config.synchronous)?;
        self.writer = Some(db);
        self.ends.clear();
        Ok(())
    }

    /// SQLite without vwal uses the database, and leaves a WAL behind.
    fn adopt(&mut self) -> rusqlite::Result<()> {
        if self.machine.config.storage || self.last == 0 {
            return Ok(());
        }
        self.reader = None;
        if let Some(db) = self.writer.take() {
            db.pragma_update(None, "synchronous", self.machine.config.synchronous_with_journal())?;
            set_mode(&db, "delete")?;
            self.acknowledge(self.last);
        }
        let db = self.machine.open_stock()?;
        set_mode(&db, "wal")?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        for _ in 0..=self.pick(3) {
            self.commit(&db, self.machine.config.is_full())?;
        }
        drop(db);
        self.open()
    }
}

/// That somebody is in the way of a checkpoint is an answer, not an error.
fn is_busy(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Ok(()),
        _ => Err(error),
    }
}

/// This process must not use the database any more, since an fsync failed when a log was about to be made.
fn is_refused(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(rusqlite::ffi::SQLITE_IOERR_FSYNC) || error.to_string().contains("an earlier one failed")
}

/// What a test did not expect, as an error like those of SQLite.
fn unexpected(what: String) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(what.into())
}

fn set_mode(db: &Connection, wanted: &str) -> rusqlite::Result<()> {
    // A connection that has read nothing since another one made the database one in WAL mode takes it for one in rollback mode,
    // and says so. (As SQLite does without vwal.)
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mode: String = db.query_row(&format!("PRAGMA journal_mode={wanted}"), [], |row| row.get(0))?;
    if mode == wanted { Ok(()) } else { Err(unexpected(format!("the journal mode stays {mode}"))) }
}
