//! The ledger: what the demonstration writes, and how it is held against what was acknowledged.
//!
//! Transaction k moves an amount from one account to another, adds some rows of noise, and adds row k of the ledger,
//! which hashes all of that together with the hash of row k-1. So the ledger alone tells whether each transaction is
//! there whole: its rows are hashed again, the transfers are done again, and both must come out as they are stored.

use std::hash::{DefaultHasher, Hasher};

use rusqlite::{Connection, TransactionBehavior, params};

use super::super::Failure;
use super::tables::Touch;

const ACCOUNTS: i64 = 200;
const BALANCE: i64 = 1000;

/// Names of the demonstration's own tables begin so.
pub const PREFIX: &str = "vwal_demo_";

/// A transaction: its number, and the hash that its ledger row must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Row of the ledger, from 1.
    pub k: i64,
    /// Hash of it and of all before.
    pub hash: i64,
}

/// Random numbers (splitmix64). What is written need not be unpredictable, only varied.
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Other numbers in each run.
    pub fn from_clock() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Random((now.as_nanos() as u64) ^ (u64::from(std::process::id()) << 40))
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Make the tables. A copy of a database that a demonstration kept has them already; they are made anew.
pub fn create(conn: &Connection) -> Result<(), Failure> {
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         DROP TABLE IF EXISTS {PREFIX}account;
         DROP TABLE IF EXISTS {PREFIX}noise;
         DROP TABLE IF EXISTS {PREFIX}ledger;
         CREATE TABLE {PREFIX}account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
         CREATE TABLE {PREFIX}noise (k INTEGER, i INTEGER, data BLOB, PRIMARY KEY (k, i)) WITHOUT ROWID;
         CREATE TABLE {PREFIX}ledger (
             k INTEGER PRIMARY KEY, writer INTEGER, debit INTEGER, credit INTEGER, amount INTEGER,
             noise INTEGER, previous INTEGER, hash INTEGER
         );
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS} - 1)
         INSERT INTO {PREFIX}account SELECT i, {BALANCE} FROM n;
         COMMIT;"
    ))?;
    Ok(())
}

/// The sum that the accounts have at every commit.
pub const TOTAL: i64 = ACCOUNTS * BALANCE;

/// One transaction. `None`: it was rolled back, which is what one in sixteen is for.
pub fn append(
    conn: &mut Connection,
    writer: u32,
    random: &mut Random,
    touches: &[Touch],
) -> rusqlite::Result<Option<Commit>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last = format!(
        "SELECT ifnull(max(k), 0), ifnull((SELECT hash FROM {PREFIX}ledger ORDER BY k DESC LIMIT 1), 0)
                        FROM {PREFIX}ledger"
    );
    let (previous_k, previous): (i64, i64) =
        tx.prepare_cached(&last)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let k = previous_k + 1;
    let debit = random.below(ACCOUNTS as u64) as i64;
    let credit = random.below(ACCOUNTS as u64) as i64;
    let amount = random.below(100) as i64;
    // Mostly small; now and then more than a small page cache holds, so that pages spill before the commit.
    let rows = if random.below(150) == 0 { 60 } else { random.below(5) as i64 };
    let longest = if rows > 5 { 1500 } else { 200 };

    let mut update =
        tx.prepare_cached(&format!("UPDATE {PREFIX}account SET balance = balance + ?2 WHERE id = ?1"))?;
    update.execute([debit, -amount])?;
    let mut insert = tx.prepare_cached(&format!("INSERT INTO {PREFIX}noise VALUES (?, ?, ?)"))?;
    let mut chain = Chain::new(previous, k, writer, [debit, credit, amount, rows]);
    for i in 0..rows {
        let len = 1 + random.below(longest);
        let data = random.bytes(len);
        insert.execute(params![k, i, data])?;
        chain.noise(i, &data);
        if random.below(64) == 0 {
            // A savepoint that is taken back must leave nothing.
            tx.execute_batch("SAVEPOINT away")?;
            insert.execute(params![k, -1 - i, random.bytes(2000)])?;
            tx.execute_batch("ROLLBACK TO away; RELEASE away")?;
        }
    }
    update.execute([credit, amount])?;
    for touch in touches {
        if random.below(4) == 0 {
            touch.rewrite(&tx, random)?;
        }
    }
    let hash = chain.finish();
    tx.prepare_cached(&format!("INSERT INTO {PREFIX}ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)"))?
        .execute(params![k, writer, debit, credit, amount, rows, previous, hash])?;
    drop((update, insert));
    if random.below(16) == 0 {
        tx.rollback()?;
        return Ok(None);
    }
    tx.commit()?;
    Ok(Some(Commit { k, hash }))
}

/// The hash of a ledger row. It has to notice accidents, not forgers: std's hash serves.
struct Chain(DefaultHasher);

impl Chain {
    fn new(previous: i64, k: i64, writer: u32, numbers: [i64; 4]) -> Chain {
        let mut hasher = DefaultHasher::new();
        for number in [previous, k, i64::from(writer)].into_iter().chain(numbers) {
            hasher.write_i64(number);
        }
        Chain(hasher)
    }

    fn noise(&mut self, i: i64, data: &[u8]) {
        self.0.write_i64(i);
        self.0.write_usize(data.len());
        self.0.write(data);
    }

    fn finish(&self) -> i64 {
        self.0.finish().cast_signed()
    }
}

/// What the ledger in the database says, held against what was acknowledged.
#[derive(Debug, Default)]
pub struct Audit {
    /// Transactions in the ledger.
    pub found: u64,
    /// Acknowledged transactions that are not there, or not as they were acknowledged.
    pub lost: u64,
    /// Transactions of which only some of what they wrote is there.
    pub half_written: u64,
    /// Each of these in words (not more than a few).
    pub problems: Vec<String>,
}

const PROBLEMS_MAX: usize = 20;

impl Audit {
    fn problem(&mut self, text: String) {
        match self.problems.len() {
            0..PROBLEMS_MAX => self.problems.push(text),
            PROBLEMS_MAX => self.problems.push("and more".to_owned()),
            _ => {}
        }
    }

    fn half(&mut self, k: i64, what: &str) {
        self.half_written += 1;
        self.problem(format!("transaction {k} is half-written: {what}"));
    }
}

/// Read the ledger and all that it speaks of, in one transaction.
pub fn audit(conn: &Connection, acknowledged: &[Commit]) -> rusqlite::Result<Audit> {
    let tx = conn.unchecked_transaction()?;
    let mut audit = Audit::default();
    let mut hashes: Vec<i64> = Vec::new();
    let mut balances = vec![BALANCE; ACCOUNTS as usize];
    let mut ledger = tx.prepare(&format!(
        "SELECT k, writer, debit, credit, amount, noise, previous, hash FROM {PREFIX}ledger ORDER BY k"
    ))?;
    let mut noise = tx.prepare(&format!("SELECT k, i, data FROM {PREFIX}noise ORDER BY k, i"))?;
    let mut noise = noise.query([])?;
    let mut next_noise = noise.next()?.map(Noise::read).transpose()?;
    let mut rows = ledger.query([])?;
    let mut previous = 0;
    while let Some(row) = rows.next()? {
        let k: i64 = row.get(0)?;
        let expected_k = hashes.len() as i64 + 1;
        if k != expected_k {
            audit.problem(format!("the ledger has transaction {k} where {expected_k} belongs"));
            // Each number that is left out keeps its place, so that what follows is compared with its own.
            hashes.extend((expected_k..k).map(|_| 0));
        }
        let numbers = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
        let mut chain = Chain::new(row.get(6)?, k, row.get(1)?, numbers);
        let mut found = 0;
        while let Some(this) = next_noise.take_if(|this| this.k <= k) {
            if this.k < k {
                audit.half(this.k, "it has rows, but is not in the ledger");
            } else {
                chain.noise(this.i, &this.data);
                found += 1;
            }
            next_noise = noise.next()?.map(Noise::read).transpose()?;
        }
        let [debit, credit, amount, noise_rows] = numbers;
        let hash: i64 = row.get(7)?;
        if found != noise_rows {
            audit.half(k, &format!("it has {found} of {noise_rows} rows"));
        } else if chain.finish() != hash {
            audit.half(k, "its rows do not have the hash that the ledger has");
        } else if row.get::<_, i64>(6)? != previous {
            audit.half(k, "it does not continue the transaction before it");
        }
        for (account, change) in [(debit, -amount), (credit, amount)] {
            if let Some(balance) = usize::try_from(account).ok().and_then(|at| balances.get_mut(at)) {
                *balance += change;
            }
        }
        previous = hash;
        hashes.push(hash);
        audit.found += 1;
    }
    while let Some(this) = next_noise {
        audit.half(this.k, "it has rows, but is not in the ledger");
        next_noise = noise.next()?.map(Noise::read).transpose()?;
    }

    let mut accounts = tx.prepare(&format!("SELECT id, balance FROM {PREFIX}account ORDER BY id"))?;
    let stored = accounts.query_map([], |row| row.get(1))?.collect::<rusqlite::Result<Vec<i64>>>()?;
    if stored != balances {
        audit.half_written += 1;
        audit.problem("the accounts are not what the transfers in the ledger make of them".to_owned());
    }
    for commit in acknowledged {
        let there = usize::try_from(commit.k - 1).ok().and_then(|at| hashes.get(at));
        if there != Some(&commit.hash) {
            audit.lost += 1;
            audit.problem(match there {
                None | Some(0) => format!("transaction {} was acknowledged and is not there", commit.k),
                Some(_) => {
                    format!("transaction {} was acknowledged, and another stands in its place", commit.k)
                }
            });
        }
    }
    Ok(audit)
}

struct Noise {
    k: i64,
    i: i64,
    data: Vec<u8>,
}

impl Noise {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Noise> {
        Ok(Noise { k: row.get(0)?, i: row.get(1)?, data: row.get(2)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger of some transactions, in memory: what the audit notices does not depend on vwal.
    fn ledger() -> (Connection, Vec<Commit>) {
        let mut conn = Connection::open_in_memory().unwrap();
        create(&conn).unwrap();
        let mut random = Random::new(7);
        let commits = (0..200).filter_map(|_| append(&mut conn, 3, &mut random, &[]).unwrap()).collect();
        (conn, commits)
    }

    fn counts(conn: &Connection, commits: &[Commit]) -> (u64, u64, u64) {
        let audit = audit(conn, commits).unwrap();
        assert_eq!(audit.problems.is_empty(), audit.lost + audit.half_written == 0, "{audit:?}");
        (audit.found, audit.lost, audit.half_written)
    }

    #[test]
    fn a_whole_ledger_has_no_problems_and_rolled_back_transactions_leave_nothing() {
        let (conn, commits) = ledger();
        assert!(commits.len() < 200 && commits.len() > 100);
        assert_eq!(counts(&conn, &commits), (commits.len() as u64, 0, 0));
        // More is there than was acknowledged: as good.
        assert_eq!(counts(&conn, &commits[..50]), (commits.len() as u64, 0, 0));
    }

    #[test]
    fn whatever_is_taken_away_or_changed_is_noticed() {
        let (_, commits) = ledger();
        let total = commits.len() as u64;
        let with_noise = "(SELECT k FROM vwal_demo_ledger WHERE noise > 1 AND k > 20 LIMIT 1)";
        for (sql, found, lost, half) in [
            ("DELETE FROM vwal_demo_ledger WHERE k > 100".to_owned(), 100, total - 100, 1),
            ("DELETE FROM vwal_demo_ledger WHERE k = 50".to_owned(), total - 1, 1, 1),
            (format!("DELETE FROM vwal_demo_noise WHERE k = {with_noise} AND i = 1"), total, 0, 1),
            (
                format!("UPDATE vwal_demo_noise SET data = x'00' WHERE k = {with_noise} AND i = 1"),
                total,
                0,
                1,
            ),
            ("INSERT INTO vwal_demo_noise VALUES (9999, 0, x'00')".to_owned(), total, 0, 1),
            ("UPDATE vwal_demo_account SET balance = balance + 1 WHERE id = 5".to_owned(), total, 0, 1),
            ("UPDATE vwal_demo_ledger SET amount = amount + 1 WHERE k = 30".to_owned(), total, 0, 2),
            ("UPDATE vwal_demo_ledger SET hash = hash + 1 WHERE k = 30".to_owned(), total, 1, 2),
        ] {
            let (conn, _) = ledger();
            conn.execute_batch(&sql).unwrap();
            let counted = counts(&conn, &commits);
            assert_eq!((counted.0, counted.1), (found, lost), "{sql}");
            assert!(counted.2 >= half, "{sql}: {counted:?}");
        }
    }
}
