//! What each commit leaves: the ledger, kept by a stock SQLite in memory.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// The hash of everything that a database holds.
pub type Hashed = u64;

/// See the module. Commit 0 is the empty database.
pub struct Golden {
    db: Connection,
    /// By commit.
    pub hashes: BTreeMap<u32, Hashed>,
}

impl Golden {
    pub fn new() -> Golden {
        let db = Connection::open_with_flags(":memory:", OpenFlags::default()).expect("a database in memory");
        let empty = hash(&db).expect("it can be read");
        Golden { db, hashes: BTreeMap::from([(0, empty)]) }
    }

    /// Commit `k`, whose statements are `sql`, is tried.
    pub fn attempt(&mut self, k: u32, sql: &str) {
        let run = |sql: &str| self.db.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        run("SAVEPOINT attempt");
        run(sql);
        self.hashes.insert(k, hash(&self.db).expect("it can be read"));
    }

    /// It stands, or it does not.
    pub fn settle(&mut self, stands: bool) {
        let sql = if stands { "RELEASE attempt" } else { "ROLLBACK TO attempt; RELEASE attempt" };
        self.db.execute_batch(sql).expect("it is in memory");
    }
}

/// The statement that notes commit `k` in the ledger, behind a commit that left `before`.
pub fn ledger(k: u32, before: Hashed) -> String {
    format!("INSERT INTO ledger VALUES({k}, {});", before.cast_signed())
}

/// Everything that a database holds, in one number.
pub fn hash(db: &Connection) -> rusqlite::Result<Hashed> {
    let mut hasher = DefaultHasher::new();
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema WHERE name IN ('ledger', 't')", [], |row| {
            row.get(0)
        })?;
    tables.hash(&mut hasher);
    if tables == 2 {
        for sql in ["SELECT k, prev, 0 FROM ledger ORDER BY k", "SELECT id, a, b FROM t ORDER BY id"] {
            let mut statement = db.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for at in 0..3 {
                    match row.get_ref(at)? {
                        ValueRef::Integer(value) => value.hash(&mut hasher),
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.hash(&mut hasher),
                        other => format!("{other:?}").hash(&mut hasher),
                    }
                }
            }
        }
    }
    Ok(hasher.finish())
}

/// The last commit that a database holds; all of it must be that one's. The inner error: it is not.
pub fn find(db: &Connection, hashes: &BTreeMap<u32, Hashed>) -> rusqlite::Result<Result<u32, String>> {
    let found = hash(db)?;
    let k: u32 = if found == hashes[&0] {
        0
    } else {
        db.query_row("SELECT max(k) FROM ledger", [], |row| row.get(0))?
    };
    Ok(match hashes.get(&k) {
        None => Err(format!("there never was a commit {k}")),
        Some(&expected) if expected != found => Err(format!("it is not what commit {k} left")),
        Some(_) => Ok(k),
    })
}

/// The same; that it cannot be read is an error like any other.
pub fn check(db: &Connection, hashes: &BTreeMap<u32, Hashed>) -> Result<u32, String> {
    find(db, hashes).map_err(|error| format!("it cannot be read: {error}"))?
}

/// What SQLite finds wrong with the database.
pub fn check_integrity(db: &Connection) -> Result<(), String> {
    let told: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|error| format!("integrity_check: {error}"))?;
    if told == "ok" { Ok(()) } else { Err(format!("integrity_check: {told}")) }
}
