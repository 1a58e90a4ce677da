//! Opening databases through stock SQLite or through vwal, with the same settings, and filling them.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

/// Who serves the databases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite's own WAL.
    Stock,
    /// The VFS `vwal`.
    Vwal,
}

/// How a run is made.
pub struct Setting {
    /// Where the databases are made.
    pub dir: PathBuf,
    /// For how long each run measures.
    pub length: Duration,
    /// Rows of the big table.
    pub rows: i64,
}

/// Have vwal on the SQLite in this program.
pub fn register() {
    vwal::register(vwal::Options::new()).expect("vwal is registered");
}

/// A database of one run; its files go with it.
pub struct Lab {
    engine: Engine,
    directory: tempfile::TempDir,
}

/// Bytes of the payload of a row: with it 500,000 rows make about 60 MB.
pub const PAYLOAD: usize = 100;

impl Lab {
    /// A database with the empty table `t`.
    pub fn new(engine: Engine, setting: &Setting) -> Lab {
        let directory =
            tempfile::Builder::new().prefix("compare").tempdir_in(&setting.dir).expect("a directory");
        let lab = Lab { engine, directory };
        let conn = lab.open("NORMAL");
        conn.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, payload BLOB)")
            .expect("a table");
        lab
    }

    /// A connection: WAL mode, 2 MB page cache, the checkpoint settings of SQLite's defaults.
    pub fn open(&self, synchronous: &str) -> Connection {
        let path = self.directory.path().join("bench.db");
        let vfs = if self.engine == Engine::Vwal { "?vfs=vwal" } else { "" };
        let uri = format!("file:{}{vfs}", path.display());
        let conn = Connection::open_with_flags(uri, OpenFlags::default()).expect("the database is opened");
        conn.busy_timeout(Duration::from_secs(60)).expect("a timeout is set");
        conn.execute_batch(&format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA cache_size=-2000;"
        ))
        .expect("the settings are taken");
        conn.set_prepared_statement_cache_capacity(32);
        conn
    }

    /// Bring everything into the base file. Stock SQLite does so with any checkpoint.
    pub fn drain(&self, conn: &Connection) {
        let sql = match self.engine {
            Engine::Stock => "PRAGMA wal_checkpoint(TRUNCATE)",
            Engine::Vwal => "SELECT vwal_checkpoint()",
        };
        conn.query_row(sql, [], |_| Ok(())).expect("a checkpoint");
    }
}

/// Insert rows 1 to `rows` in one transaction.
pub fn fill(conn: &Connection, rows: i64) {
    let payload = [b'p'; PAYLOAD];
    conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
    {
        let mut insert = conn.prepare("INSERT INTO t VALUES (?1, 0, ?2)").expect("an insert");
        for id in 1..=rows {
            insert.execute(params![id, payload]).expect("a row");
        }
    }
    conn.execute_batch("COMMIT").expect("commit");
}

/// Pseudo-random row numbers from 1 to `rows`: SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn row(&mut self, rows: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % rows.unsigned_abs()) as i64 + 1
    }
}
