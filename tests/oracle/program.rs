//! What a run does: settings and steps made from a seed. Nothing here knows which engine will run them.

use std::fmt;

use crate::random::Random;
use crate::world::IN_TRANSACTION;

/// What is fixed for a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the main database.
    pub page_size: u32,
    /// Of the attached one.
    pub aux_page_size: u32,
    /// 0 none, 1 full, 2 incremental.
    pub auto_vacuum: u64,
    /// How many connections there may be.
    pub connections: usize,
    /// Whether each connection attaches the second database.
    pub attach: bool,
    /// Whether copies of the open files are recovered.
    pub crashes: bool,
    /// What each connection sets when it is opened.
    pub on_open: String,
    /// URI parameters for vwal.
    pub params: String,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
pub enum Step {
    /// SQL on a connection.
    Sql(usize, String),
    /// Open a connection that is closed.
    Open(usize),
    /// Close a connection.
    Close(usize),
    /// All connections are closed: look at the database files alone.
    BaseFile,
    /// Compare what is committed with what would be recovered now.
    Crash,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Sql(slot, sql) => write!(f, "{slot}> {sql}"),
            Step::Open(slot) => write!(f, "{slot}: open"),
            Step::Close(slot) => write!(f, "{slot}: close"),
            Step::BaseFile => write!(f, "base files"),
            Step::Crash => write!(f, "crash"),
        }
    }
}

const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/// The steps of a seed.
pub struct Program {
    random: Random,
    /// What is fixed for this run.
    pub settings: Settings,
    open: Vec<bool>,
    in_transaction: Vec<bool>,
    /// The names of the savepoints that are open, per connection.
    savepoints: Vec<Vec<String>>,
    /// Steps that must follow, the next one last.
    planned: Vec<Step>,
    /// A connection that asked for the database to itself, until it is closed.
    exclusive: bool,
    files: u32,
}

impl Program {
    /// The program of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let page_size = *random.pick(&PAGE_SIZES);
        let connections = 1 + random.below(4) as usize;
        let cache = random.pick(&[5, 8, 20, 100, 2000]).to_string();
        let synchronous = random.pick(&["OFF", "NORMAL", "NORMAL", "FULL", "EXTRA"]).to_string();
        let autocheckpoint = random.pick(&[0, 1, 5, 50, 1000]).to_string();
        // Waiting costs time and changes no answer.
        let mut params = vec![format!("vwal_queue_ms={}", random.pick(&[0, 0, 0, 1]))];
        params.push(format!("vwal_swap=frames%3E%3D{}", random.pick(&[1, 3, 20, 200, 5000])));
        // A background checkpoint during the copy of a crash would make an image that no crash leaves.
        let checkpoint_size = *random.pick(&["8KiB", "64KiB", "64MiB"]);
        params.push(format!("vwal_checkpoint_size={checkpoint_size}"));
        params.push(format!("vwal_group_commit={}", random.pick(&["on", "off"])));
        let settings = Settings {
            page_size,
            aux_page_size: *random.pick(&PAGE_SIZES),
            auto_vacuum: random.below(3),
            connections,
            attach: random.below(3) == 0,
            crashes: checkpoint_size == "64MiB",
            on_open: format!(
                "PRAGMA cache_size={cache}; PRAGMA synchronous={synchronous}; \
                 PRAGMA wal_autocheckpoint={autocheckpoint}"
            ),
            params: params.join("&"),
        };
        let mut open = vec![false; connections];
        open[0] = true;
        let (in_transaction, savepoints) = (vec![false; connections], vec![Vec::new(); connections]);
        let planned = Vec::new();
        Program { random, settings, open, in_transaction, savepoints, planned, exclusive: false, files: 0 }
    }

    /// The next step.
    pub fn next_step(&mut self) -> Step {
        if let Some(step) = self.planned.pop() {
            return step;
        }
        let slot = self.random.below(self.open.len() as u64) as usize;
        if !self.open[slot] {
            // Whether a database that is locked can be opened is not the subject.
            return if self.exclusive { Step::Close(slot) } else { Step::Open(slot) };
        }
        let slot = match (0..self.open.len()).find(|&slot| self.in_transaction[slot]) {
            // A transaction gets more than one statement, most of the time.
            Some(writer) if self.random.below(2) == 0 => writer,
            _ => slot,
        };
        match self.random.below(1000) {
            0..510 => Step::Sql(slot, self.change()),
            510..520 => self.rolled_back_spill(slot),
            520..600 => Step::Sql(slot, self.select()),
            600..720 => Step::Sql(slot, self.transaction(slot)),
            720..820 => Step::Sql(slot, self.savepoint(slot)),
            820..870 => Step::Sql(slot, self.checkpoint()),
            870..895 => Step::Sql(slot, self.definition()),
            895..930 => Step::Sql(slot, self.pragma()),
            930..945 => Step::Sql(slot, self.vacuum()),
            945..970 => Step::Close(slot),
            970..980 => self.close_all(Step::BaseFile),
            980..985 => self.rollback_mode(slot),
            985..990 => self.own_database(slot),
            _ if self.settings.crashes => Step::Crash,
            _ => Step::Sql(slot, "PRAGMA integrity_check".to_owned()),
        }
    }

    /// Takes note of what a step did.
    pub fn learn(&mut self, step: &Step, result: &str) {
        match step {
            Step::Open(slot) => self.open[*slot] = true,
            Step::Close(slot) => {
                self.open[*slot] = false;
                self.in_transaction[*slot] = false;
                self.savepoints[*slot].clear();
                self.exclusive &= self.open.iter().any(|&open| open);
            }
            Step::Sql(_, sql) if sql.contains("locking_mode=EXCLUSIVE") => {
                self.exclusive |= !result.starts_with('!');
            }
            _ => {}
        }
        if let Step::Sql(slot, sql) = step {
            self.in_transaction[*slot] = result.ends_with(IN_TRANSACTION);
            let stack = &mut self.savepoints[*slot];
            if !self.in_transaction[*slot] {
                stack.clear();
            } else if !result.starts_with('!') {
                if let Some(name) = sql.strip_prefix("SAVEPOINT ") {
                    stack.push(name.to_owned());
                } else if let Some(name) = sql.strip_prefix("ROLLBACK TO ") {
                    let at = stack.iter().rposition(|each| each == name).expect("the savepoint is open");
                    stack.truncate(at + 1);
                } else if let Some(name) = sql.strip_prefix("RELEASE ") {
                    let at = stack.iter().rposition(|each| each == name).expect("the savepoint is open");
                    stack.truncate(at);
                }
            }
        }
    }

    fn table(&mut self) -> String {
        let schema = if self.settings.attach && self.random.below(3) == 0 { "aux." } else { "" };
        format!("{schema}t{}", self.random.below(2))
    }

    /// The size of a value: mostly small, sometimes several pages.
    fn length(&mut self) -> u64 {
        let page = u64::from(self.settings.page_size).min(8192);
        match self.random.below(10) {
            0..6 => self.random.below(40),
            6..9 => self.random.below(page),
            _ => self.random.below(page * 4),
        }
    }

    fn change(&mut self) -> String {
        let table = self.table();
        let (length, key, salt) = (self.length(), self.random.below(400), self.random.below(1000));
        let value = format!("CAST(printf('%.*c', {length}, 'v') || {salt} AS BLOB)");
        match self.random.below(12) {
            0..4 => format!("INSERT INTO {table}(a, b) VALUES ({key}, {value})"),
            4 => {
                let rows = 1 + self.random.below(60);
                format!(
                    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
                     INSERT INTO {table}(a, b) SELECT i * {key} % 97, CAST(printf('%.*c', i % 200, 'w') AS BLOB) FROM n"
                )
            }
            5 => format!("INSERT OR REPLACE INTO {table} VALUES ({key}, {salt}, {value})"),
            6 => format!("INSERT INTO {table} VALUES ({}, {salt}, {value})", self.random.below(30)),
            7 => format!("UPDATE {table} SET b = {value} WHERE id % 13 = {}", key % 13),
            8 => format!("UPDATE {table} SET a = a + 1 WHERE a < {key}"),
            9 => {
                let from = self.table();
                format!(
                    "INSERT INTO {table}(a, b) SELECT a, b FROM {from} WHERE id % 7 = {} LIMIT 25",
                    key % 7
                )
            }
            10 => format!("DELETE FROM {table} WHERE id % 5 = {}", key % 5),
            _ => format!(
                "DELETE FROM {table} WHERE id > (SELECT max(id) - 30 FROM {table}) OR length(b) > 20000"
            ),
        }
    }

    fn select(&mut self) -> String {
        let table = self.table();
        match self.random.below(4) {
            0 => format!("SELECT count(*), sum(a), sum(length(b)), max(id) FROM {table}"),
            1 => format!("SELECT id, a, length(b) FROM {table} ORDER BY a, b, id LIMIT 20"),
            2 => format!("SELECT count(*) FROM {table} WHERE a = {}", self.random.below(100)),
            _ => "SELECT type, name, sql FROM sqlite_schema ORDER BY name; PRAGMA user_version".to_owned(),
        }
    }

    fn transaction(&mut self, slot: usize) -> String {
        let fitting: &[&str] = if self.in_transaction[slot] {
            &["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]
        } else {
            &["BEGIN", "BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"]
        };
        let any = ["BEGIN", "COMMIT", "ROLLBACK"];
        (*if self.random.below(20) == 0 { self.random.pick(&any) } else { self.random.pick(fitting) })
            .to_owned()
    }

    fn savepoint(&mut self, slot: usize) -> String {
        let open = self.savepoints[slot].clone();
        match self.random.below(8) {
            0..3 if open.len() < 6 => format!("SAVEPOINT s{}", self.random.below(4)),
            3..6 if !open.is_empty() => format!("ROLLBACK TO {}", self.random.pick(&open)),
            6 if !open.is_empty() => format!("RELEASE {}", self.random.pick(&open)),
            7 => format!("{} s{}", self.random.pick(&["RELEASE", "ROLLBACK TO"]), self.random.below(4)),
            _ => self.change(),
        }
    }

    fn checkpoint(&mut self) -> String {
        let schema = if self.settings.attach && self.random.below(2) == 0 { "aux." } else { "" };
        let mode = *self.random.pick(&["PASSIVE", "PASSIVE", "FULL", "RESTART", "TRUNCATE", "NOOP"]);
        format!("PRAGMA {schema}wal_checkpoint({mode})")
    }

    fn definition(&mut self) -> String {
        let name = self.random.below(3);
        match self.random.below(7) {
            0 => format!("CREATE TABLE x{name}(k TEXT PRIMARY KEY, v) WITHOUT ROWID"),
            1 => format!("INSERT OR IGNORE INTO x{name} SELECT id || 'k', b FROM t0 LIMIT 50"),
            2 => format!("DROP TABLE x{name}"),
            3 => format!("CREATE INDEX j{name} ON t0(b, a)"),
            4 => format!("DROP INDEX j{name}"),
            5 => format!("ALTER TABLE x{name} ADD COLUMN w DEFAULT {name}"),
            _ => format!(
                "CREATE TEMP TABLE IF NOT EXISTS y AS SELECT * FROM t0; INSERT INTO y SELECT {name}, 1, b FROM t1"
            ),
        }
    }

    fn pragma(&mut self) -> String {
        let value = self.random.below(40);
        match self.random.below(10) {
            0 => format!("PRAGMA cache_size={}", 5 + value),
            1 => format!("PRAGMA wal_autocheckpoint={value}"),
            2 => format!("PRAGMA user_version={value}"),
            3 => "PRAGMA page_count; PRAGMA freelist_count; PRAGMA page_size; PRAGMA journal_mode".to_owned(),
            4 => format!("PRAGMA synchronous={}", value % 4),
            5 => format!("PRAGMA incremental_vacuum({value}); PRAGMA page_count"),
            6 => format!("PRAGMA journal_size_limit={}", value * 1000),
            7 => "PRAGMA integrity_check".to_owned(),
            8 => format!("PRAGMA cache_spill={}", value % 2),
            _ => format!("PRAGMA secure_delete={}", value % 2),
        }
    }

    fn vacuum(&mut self) -> String {
        self.files += 1;
        match self.random.below(3) {
            0 => format!("VACUUM INTO '{{home}}/into{}.db'", self.files),
            _ => "VACUUM".to_owned(),
        }
    }

    /// Closes every connection, then does `last`.
    fn close_all(&mut self, last: Step) -> Step {
        self.planned.push(last);
        self.planned.extend((0..self.open.len()).filter(|&slot| self.open[slot]).map(Step::Close));
        self.planned.pop().expect("at least one step")
    }

    /// Pages that leave the cache, change again, and are rolled back, all but the first of them; then a small commit.
    fn rolled_back_spill(&mut self, slot: usize) -> Step {
        let length = u64::from(self.settings.page_size) * 3 / 5;
        let (rows, kept) = (100 + self.random.below(300), self.random.below(60));
        let insert = |from: u64, rows: u64| {
            format!(
                "WITH RECURSIVE n(i) AS (VALUES({from}) UNION ALL SELECT i + 1 FROM n WHERE i < {from} + {rows}) \
                 INSERT OR REPLACE INTO t0 SELECT 5000 + i, 9999, zeroblob({length}) FROM n"
            )
        };
        let steps = [
            format!("PRAGMA cache_size={}", 10 + self.random.below(rows)),
            "BEGIN IMMEDIATE".to_owned(),
            if kept > 20 { insert(0, kept) } else { self.select() },
            "SAVEPOINT s0".to_owned(),
            insert(100, rows),
            format!("UPDATE t0 SET b = zeroblob({length} - 1) WHERE id > 5100 + {}", self.random.below(rows)),
            "ROLLBACK TO s0".to_owned(),
            self.change(),
            "COMMIT".to_owned(),
            "DELETE FROM t0 WHERE a = 9999".to_owned(),
        ];
        self.planned.extend(steps.into_iter().rev().map(|sql| Step::Sql(slot, sql)));
        // Not within a transaction that is open already.
        Step::Sql(slot, "COMMIT".to_owned())
    }

    /// Leaves WAL mode and comes back. Alone with the database that works, otherwise it is refused.
    fn rollback_mode(&mut self, slot: usize) -> Step {
        let mode = *self.random.pick(&["DELETE", "TRUNCATE", "PERSIST", "MEMORY"]);
        let alone = self.random.below(4) > 0;
        if !alone {
            let others = (0..self.open.len()).any(|other| other != slot && self.open[other]);
            if others {
                return Step::Sql(
                    slot,
                    format!("SELECT count(*) FROM t0; PRAGMA main.journal_mode={mode}; PRAGMA journal_mode"),
                );
            }
        }
        let mut steps = vec![];
        if self.in_transaction[slot] {
            steps.push(Step::Sql(slot, "COMMIT".to_owned()));
        }
        // The read comes first because stock SQLite leaves WAL mode with the cache that it has, and loses what other connections
        // have committed since (tests/features/journal_modes.rs).
        steps.push(Step::Sql(
            slot,
            format!("SELECT count(*) FROM t0; PRAGMA main.journal_mode={mode}; PRAGMA journal_mode"),
        ));
        if self.random.below(3) == 0 {
            let size = self.random.pick(&PAGE_SIZES).to_string();
            steps.push(Step::Sql(slot, format!("PRAGMA page_size={size}; VACUUM; PRAGMA page_size")));
        }
        for _ in 0..self.random.below(6) {
            let sql = match self.random.below(3) {
                0 => self.transaction(slot),
                1 => self.select(),
                _ => self.change(),
            };
            steps.push(Step::Sql(slot, sql));
        }
        steps.push(Step::Sql(slot, "COMMIT".to_owned()));
        // With the read it holds the lock by which others see that the database is in use.
        steps.push(Step::Sql(
            slot,
            "PRAGMA journal_mode=WAL; SELECT count(*) FROM t0; PRAGMA journal_mode".to_owned(),
        ));
        let others = (0..self.open.len()).filter(|&other| other != slot && self.open[other]).map(Step::Close);
        self.planned = others.chain(steps).collect();
        self.planned.reverse();
        self.planned.pop().expect("at least one step")
    }

    /// A connection takes the database for itself for a while, and is closed in the end.
    fn own_database(&mut self, slot: usize) -> Step {
        let mut steps = vec![Step::Sql(slot, "PRAGMA locking_mode=EXCLUSIVE".to_owned())];
        for _ in 0..6 {
            let other = self.random.below(self.open.len() as u64) as usize;
            let on = if self.open[other] && self.random.below(3) == 0 { other } else { slot };
            let sql = match self.random.below(4) {
                0 => self.transaction(on),
                1 => self.checkpoint(),
                2 => self.select(),
                _ => self.change(),
            };
            steps.push(Step::Sql(on, sql));
        }
        if self.random.below(2) == 0 {
            steps.push(Step::Sql(slot, "PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t0".to_owned()));
        }
        // Nobody is opened before everybody is closed: see `next_step`.
        steps.extend((0..self.open.len()).filter(|&each| self.open[each]).map(Step::Close));
        self.planned = steps;
        self.planned.reverse();
        self.planned.pop().expect("at least one step")
    }
}
