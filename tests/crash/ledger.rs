//! The ledger: commit `k` leaves a state of the database that depends on `k` alone, so that any state can be recognized.
//!
//! Entry `k` carries a hash that is chained to the one before it, and a body made from it. The last [`KEPT`] entries stay.
//! Besides, commit `k` writes itself into cell `k % CELLS`, so that old pages change as well.

use rusqlite::Connection;

use crate::random::Random;

/// How many entries the ledger keeps.
const KEPT: u32 = 300;
/// How many cells there are.
const CELLS: u32 = 40;

/// The tables, for a new database.
pub const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS ledger(k INTEGER PRIMARY KEY, hash TEXT NOT NULL, body BLOB);
    CREATE TABLE IF NOT EXISTS cell(id INTEGER PRIMARY KEY, k INTEGER NOT NULL, filler BLOB)";

/// The hash of entry `k`, given that of the entry before it.
fn chained(previous: &str, k: u32) -> String {
    let seed = u64::from_str_radix(previous, 16).expect("hashes are hexadecimal");
    format!("{:016x}", Random::new(seed ^ (u64::from(k) << 32)).next())
}

/// The body of the entry with that hash: mostly short, sometimes several pages long.
fn body(hash: &str) -> Vec<u8> {
    let seed = u64::from_str_radix(hash, 16).expect("hashes are hexadecimal");
    let length = if seed.is_multiple_of(16) { seed / 16 % 9000 } else { seed / 16 % 200 };
    hash.bytes().cycle().take(length as usize).collect()
}

fn filler(k: u32) -> Vec<u8> {
    vec![k as u8; (k * 37 % 500) as usize]
}

type Outcome<T> = Result<T, String>;

fn one<T: rusqlite::types::FromSql>(db: &Connection, sql: &str) -> Outcome<T> {
    db.query_row(sql, [], |row| row.get(0)).map_err(|error| format!("{sql}: {error}"))
}

fn last(db: &Connection) -> Outcome<(u32, String)> {
    let sql = "SELECT k, hash FROM ledger ORDER BY k DESC LIMIT 1";
    match db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))) {
        Ok(found) => Ok(found),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok((0, format!("{:016x}", 0))),
        Err(error) => Err(format!("{sql}: {error}")),
    }
}

/// Writes the next entry, inside a write transaction that is open. Returns its number.
pub fn write_next(db: &Connection) -> Outcome<u32> {
    let (k, previous) = last(db)?;
    let k = k + 1;
    let hash = chained(&previous, k);
    db.execute("INSERT INTO ledger VALUES (?1, ?2, ?3)", (k, &hash, body(&hash)))
        .and_then(|_| db.execute("DELETE FROM ledger WHERE k <= ?1", [k.saturating_sub(KEPT)]))
        .and_then(|_| {
            db.execute("INSERT OR REPLACE INTO cell VALUES (?1, ?2, ?3)", (k % CELLS, k, filler(k)))
        })
        .map_err(|error| format!("entry {k}: {error}"))?;
    Ok(k)
}

/// Commits the next entry in a transaction of its own.
pub fn commit_next(db: &Connection) -> Outcome<u32> {
    db.execute_batch("BEGIN IMMEDIATE").map_err(|error| format!("begin: {error}"))?;
    let k = write_next(db)?;
    db.execute_batch("COMMIT").map_err(|error| format!("commit {k}: {error}"))?;
    Ok(k)
}

/// The state that an open read transaction sees, by a few statements that look at different tables.
pub fn check_quickly(db: &Connection, between: impl Fn()) -> Outcome<u32> {
    let (k, hash) = last(db)?;
    between();
    let count: u32 = one(db, "SELECT count(*) FROM ledger")?;
    if count != k.min(KEPT) {
        return Err(format!("entry {k} is the last of {count}"));
    }
    between();
    let cells: u32 = one(db, "SELECT coalesce(sum(k), 0) FROM cell")?;
    let expected: u32 = (k.saturating_sub(CELLS - 1)..=k).sum();
    if cells != expected {
        return Err(format!("at entry {k} the cells sum up to {cells}, not {expected}"));
    }
    let previous: Option<String> =
        one(db, &format!("SELECT (SELECT hash FROM ledger WHERE k = {})", k.saturating_sub(1)))?;
    if let Some(previous) = previous
        && chained(&previous, k) != hash
    {
        return Err(format!("entry {k} does not follow the one before it"));
    }
    Ok(k)
}

/// Every row of the database: which state it is, or what is wrong with it.
pub fn check_all(db: &Connection) -> Outcome<u32> {
    db.execute_batch("BEGIN").map_err(|error| format!("begin: {error}"))?;
    let result = check_rows(db);
    db.execute_batch("COMMIT").map_err(|error| format!("end of a read transaction: {error}"))?;
    result
}

fn check_rows(db: &Connection) -> Outcome<u32> {
    let k = check_quickly(db, || ())?;
    let rows = |sql: &str| -> rusqlite::Result<Vec<(u32, String, Vec<u8>)>> {
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    };
    let entries = rows("SELECT k, hash, body FROM ledger ORDER BY k").map_err(|error| error.to_string())?;
    let mut before: Option<&(u32, String, Vec<u8>)> = None;
    for entry in &entries {
        let (at, hash, content) = entry;
        match before {
            Some((previous, previous_hash, _))
                if *at == previous + 1 && *hash == chained(previous_hash, *at) => {}
            Some((previous, _, _)) => return Err(format!("entry {at} does not follow entry {previous}")),
            // The first of all can be computed; the first that is kept is vouched for by those behind it.
            None if *at == 1 && *hash != chained("0", 1) => return Err("entry 1 has another hash".to_owned()),
            None => {}
        }
        if *content != body(hash) {
            return Err(format!("entry {at} has another body"));
        }
        before = Some(entry);
    }
    let cells =
        rows("SELECT id, k || '', filler FROM cell ORDER BY id").map_err(|error| error.to_string())?;
    for (id, at, content) in &cells {
        let expected = k - (k + CELLS - id) % CELLS;
        if *at != expected.to_string() || *content != filler(expected) {
            return Err(format!("at entry {k} cell {id} holds {at}, not {expected}"));
        }
    }
    if cells.len() != k.min(CELLS) as usize {
        return Err(format!("at entry {k} there are {} cells", cells.len()));
    }
    Ok(k)
}
