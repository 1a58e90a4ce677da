//! Who is measured, and databases that both engines get in the same state and with the same settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};
use vwal::{Database, Options};

use crate::child::Job;

/// Who does the work of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// SQLite's own WAL.
    Stock,
    /// The VFS `vwal` with its defaults.
    Vwal,
    /// The same with `vwal_group_commit=off`.
    VwalOff,
    /// No database at all: what the disk gives.
    Bare,
}

impl Contestant {
    /// For `--engine` and for the tables.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Stock => "stock",
            Contestant::Vwal => "vwal",
            Contestant::VwalOff => "vwal-off",
            Contestant::Bare => "bare",
        }
    }

    pub fn parse(name: &str) -> Option<Contestant> {
        [Contestant::Stock, Contestant::Vwal, Contestant::VwalOff, Contestant::Bare]
            .into_iter()
            .find(|contestant| contestant.name() == name)
    }

    fn is_vwal(self) -> bool {
        matches!(self, Contestant::Vwal | Contestant::VwalOff)
    }
}

/// Bytes of the payload of a row: with it 500,000 rows make about 60 MB.
pub const PAYLOAD: usize = 100;

/// Bytes of the database file per row, roughly: to choose a number of rows for a size.
pub const BYTES_PER_ROW: u64 = 113;

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, payload BLOB)";

/// vwal without checkpoints of its own, as `wal_autocheckpoint=0` has stock SQLite without.
pub fn without_checkpoints(options: Options) -> Options {
    options.checkpoint_size(1 << 40).checkpoint_age(Duration::ZERO)
}

/// A database of a run, in a directory of its own.
pub struct Lab {
    contestant: Contestant,
    path: PathBuf,
}

impl Lab {
    /// A database with the empty table `t`.
    pub fn empty(job: &Job, options: Options) -> Lab {
        let lab = Lab::existing(job, options);
        lab.open("NORMAL").execute_batch(TABLE).expect("a table");
        lab
    }

    /// A copy of the template: the table `t` with its rows, all of them in the base file.
    pub fn loaded(job: &Job, options: Options) -> Lab {
        let lab = Lab::existing(job, options);
        std::fs::copy(&job.template, &lab.path).expect("a copy of the template");
        lab
    }

    /// What a process before this one left. `options` are those of vwal; stock SQLite has none.
    pub fn existing(job: &Job, options: Options) -> Lab {
        if job.contestant.is_vwal() {
            let options = options.group_commit(job.contestant != Contestant::VwalOff);
            vwal::register(options).expect("vwal is registered");
        }
        Lab { contestant: job.contestant, path: job.dir.join("bench.db") }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A connection: WAL mode, 2 MB page cache, the checkpoint settings of SQLite's defaults.
    pub fn open(&self, synchronous: &str) -> Connection {
        let vfs = if self.contestant.is_vwal() { "?vfs=vwal" } else { "" };
        let uri = format!("file:{}{vfs}", self.path.display());
        let conn = Connection::open_with_flags(uri, OpenFlags::default()).expect("the database is opened");
        conn.busy_timeout(Duration::from_secs(60)).expect("a timeout is set");
        conn.execute_batch(&format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA cache_size=-2000;"
        ))
        .expect("the settings are taken");
        conn.set_prepared_statement_cache_capacity(32);
        conn
    }

    /// Bring everything into the base file, with the log's files kept for what follows. For stock SQLite that is
    /// RESTART: TRUNCATE would take the blocks of the WAL away, which a database in use has.
    pub fn drain(&self, conn: &Connection) {
        let sql = match self.contestant {
            Contestant::Vwal | Contestant::VwalOff => "SELECT vwal_checkpoint()",
            Contestant::Stock | Contestant::Bare => "PRAGMA wal_checkpoint(RESTART)",
        };
        conn.query_row(sql, [], |_| Ok(())).expect("a checkpoint");
    }

    /// The `-wal` file of stock SQLite, the log directory of vwal.
    fn log(&self) -> PathBuf {
        PathBuf::from(format!("{}-wal", self.path.display()))
    }

    /// Bytes of the files of the log, those of vwal that hold nothing included.
    pub fn log_files(&self) -> u64 {
        let log = self.log();
        match std::fs::read_dir(&log) {
            // A file that is renamed or removed meanwhile is not counted.
            Ok(files) => files.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum(),
            Err(_) => std::fs::metadata(&log).map_or(0, |wal| wal.len()),
        }
    }

    /// Bytes of the log: of stock SQLite the size of its `-wal` file, of vwal that of the segments which hold frames.
    pub fn log_size(&self, conn: &Connection) -> impl Fn() -> u64 + Send + 'static {
        let wal = self.log();
        let database =
            self.contestant.is_vwal().then(|| Database::of(conn, "main").expect("a virtual database"));
        move || match &database {
            Some(database) => database.status().log_bytes,
            None => std::fs::metadata(&wal).map_or(0, |wal| wal.len()),
        }
    }

    /// The commits that vwal counts, and the fsyncs that made them durable. `None`: nobody counts them.
    pub fn commits_and_fsyncs(&self, conn: &Connection) -> Option<[u64; 2]> {
        if !self.contestant.is_vwal() {
            return None;
        }
        let metrics = Database::of(conn, "main").expect("a virtual database").metrics();
        let count = |name: &str| {
            let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            let line = metrics.lines().find(of_name).unwrap_or_else(|| panic!("no metric {name}"));
            let number = line.rsplit(' ').next().and_then(|number| number.parse().ok());
            number.unwrap_or_else(|| panic!("no number: {line}"))
        };
        Some([count("vwal_commits_total"), count("vwal_commit_fsyncs_total")])
    }
}

/// Make the template with `rows` rows at `path`, with stock SQLite: an ordinary database in WAL mode.
pub fn make_template(path: &Path, rows: i64) -> rusqlite::Result<()> {
    let conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
    conn.execute_batch(TABLE)?;
    fill(&conn, rows)?;
    conn.execute_batch("PRAGMA journal_mode=WAL")?;
    conn.close().map_err(|(_, error)| error)
}

/// Insert rows 1 to `rows` in one transaction.
pub fn fill(conn: &Connection, rows: i64) -> rusqlite::Result<()> {
    let payload = [b'p'; PAYLOAD];
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let mut insert = conn.prepare("INSERT INTO t VALUES (?1, 0, ?2)")?;
    for id in 1..=rows {
        insert.execute(params![id, payload])?;
    }
    conn.execute_batch("COMMIT")
}

/// Insert one row in a transaction of its own.
pub fn insert(conn: &Connection) {
    conn.prepare_cached("INSERT INTO t (n, payload) VALUES (0, ?1)")
        .and_then(|mut statement| statement.execute([[b'p'; PAYLOAD]]))
        .expect("an insert");
}

/// Update the row `id`.
pub fn update(conn: &Connection, id: i64) {
    let changed = conn
        .prepare_cached("UPDATE t SET n = n + 1 WHERE id = ?1")
        .and_then(|mut statement| statement.execute([id]))
        .expect("an update");
    assert_eq!(changed, 1, "row {id} is there");
}

/// Update `count` random rows in one transaction.
pub fn update_some(conn: &Connection, random: &mut Random, rows: i64, count: usize) {
    conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
    for _ in 0..count {
        update(conn, random.row(rows));
    }
    conn.execute_batch("COMMIT").expect("commit");
}

/// Read the row `id`.
pub fn read(conn: &Connection, id: i64) -> i64 {
    conn.prepare_cached("SELECT n, payload FROM t WHERE id = ?1")
        .and_then(|mut statement| statement.query_row([id], |row| row.get(0)))
        .expect("a row")
}

/// Pseudo-random row numbers: SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// A row number from 1 to `rows`.
    pub fn row(&mut self, rows: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % rows.unsigned_abs()) as i64 + 1
    }
}
