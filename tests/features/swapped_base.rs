//! The database file of a killed process is replaced or changed while commits are only in its log: refused, and nothing is
//! touched. Each row of the second table of "Which log" in `docs/design.md`, by the words in which it is refused.

use std::fs;

use rusqlite::Connection;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

/// What any program begins its databases with.
const SCHEMA: &str = "BEGIN; CREATE TABLE t(id INTEGER PRIMARY KEY, body); CREATE TABLE u(x); COMMIT";
const FOOTER_SIZE: u64 = 86;

/// The files of a killed process, "killed.db"; the database itself stays open. `checkpointed`: a pass came before the commits
/// that are only in the log.
struct Killed {
    lab: Lab,
    db: Connection,
    checkpointed: bool,
    rows: String,
}

const ROWS: &str = "SELECT count(*), sum(id) FROM t";

impl Killed {
    fn new(checkpointed: bool) -> Killed {
        let lab = Lab::new(Engine::Vwal);
        // The first transaction goes to the base file.
        let db = lab.create("a.db", SCHEMA);
        query(&db, "INSERT INTO u VALUES (1)");
        if checkpointed {
            query(&db, "INSERT INTO t VALUES (100, zeroblob(20000)); SELECT vwal_checkpoint()");
            lab.copy("a.db", "older.db");
            fs::remove_dir_all(lab.wal("older.db")).unwrap();
            query(&db, "INSERT INTO u VALUES (2); SELECT vwal_checkpoint()");
        }
        query(&db, "INSERT INTO t SELECT value, 'A' FROM (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3)");
        lab.copy("a.db", "killed.db");
        let rows = query(&db, ROWS);
        Killed { lab, db, checkpointed, rows }
    }

    /// Put the file "other.db" in the place of the database: refused with `words`, and with the right one put back all is there.
    fn refuses(&self, what: &str, words: &str) {
        let (path, own) = (self.lab.path("killed.db"), self.lab.path("own.db"));
        fs::rename(&path, &own).unwrap();
        fs::copy(self.lab.path("other.db"), &path).unwrap();
        let foreign = fs::read(&path).unwrap();
        let error = self
            .lab
            .open_with("killed.db", "")
            .and_then(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)))
            .expect_err(what)
            .to_string();
        assert!(error.contains(words), "{what}, checkpointed: {}: {error}", self.checkpointed);
        assert_eq!(fs::read(&path).unwrap(), foreign, "{what}: the file is not touched");
        fs::rename(&own, &path).unwrap();
        fs::remove_file(self.lab.path("other.db")).unwrap();
        self.lab.copy("killed.db", "again.db");
        let db = self.lab.open("again.db");
        assert_eq!(query(&db, ROWS), self.rows, "{what}");
        assert_intact(&db, "main");
        drop(db);
        fs::remove_file(self.lab.path("again.db")).unwrap();
        fs::remove_dir_all(self.lab.wal("again.db")).unwrap();
    }

    /// A copy of the base file, opened by SQLite without vwal.
    fn changed_by_stock(&self, sql: &str) {
        fs::copy(self.lab.path("killed.db"), self.lab.path("other.db")).unwrap();
        let stock = self.lab.open_stock("other.db").unwrap();
        query(&stock, sql);
    }

    /// A copy of the base file with other bytes.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.lab.path("killed.db")).unwrap();
        change(&mut bytes);
        fs::write(self.lab.path("other.db"), bytes).unwrap();
    }
}

fn both(test: impl Fn(Killed)) {
    [false, true].into_iter().for_each(|checkpointed| test(Killed::new(checkpointed)));
}

#[test]
fn made_anew_by_the_same_program() {
    both(|killed| {
        let stock = killed.lab.open_stock("other.db").unwrap();
        query(&stock, &format!("PRAGMA journal_mode=WAL; {SCHEMA}"));
        drop(stock);
        // Byte for byte the header that the log left, but for the footer.
        let header = fs::read(killed.lab.path("killed.db")).unwrap()[..100].to_vec();
        let mut other = fs::read(killed.lab.path("other.db")).unwrap();
        other[..100].copy_from_slice(&header);
        let pages = u32::from_be_bytes(header[28..32].try_into().unwrap());
        other.resize(pages as usize * 4096, 0);
        fs::write(killed.lab.path("other.db"), other).unwrap();
        killed.refuses("made anew", "its footer is gone");
    });
}

#[test]
fn the_output_of_vacuum_into() {
    both(|killed| {
        let path = killed.lab.path("other.db");
        query(&killed.db, &format!("VACUUM INTO '{}'", path.display()));
        let mut bytes = fs::read(&path).unwrap();
        // In WAL mode, as the database that it was made of.
        bytes[18..20].fill(2);
        fs::write(&path, bytes).unwrap();
        killed.refuses("VACUUM INTO", "something other than vwal changed or replaced it");
    });
}

#[test]
fn another_database_of_vwal() {
    both(|killed| {
        let other = Killed::new(killed.checkpointed);
        fs::copy(other.lab.path("killed.db"), killed.lab.path("other.db")).unwrap();
        killed.refuses("another vwal database", "its footer says frame");
    });
}

#[test]
fn an_older_and_a_newer_state_of_the_same_database() {
    let killed = Killed::new(true);
    fs::copy(killed.lab.path("older.db"), killed.lab.path("other.db")).unwrap();
    killed.refuses("an older copy", "its footer says frame");
    query(&killed.db, "UPDATE u SET x = 3; SELECT vwal_checkpoint()");
    fs::copy(killed.lab.path("a.db"), killed.lab.path("other.db")).unwrap();
    killed.refuses("a newer copy", "its footer says frame");
}

#[test]
fn a_copy_that_went_another_way() {
    both(|killed| {
        // The same log id and the same number of frames, and another commit at the last one.
        let lab = &killed.lab;
        for name in ["one.db", "two.db"] {
            lab.copy("killed.db", name);
            let db = lab.open(name);
            query(&db, &format!("INSERT INTO u VALUES ('{name}'); SELECT vwal_checkpoint()"));
            query(&db, "INSERT INTO u VALUES (0)");
            lab.copy(name, &format!("killed-{name}"));
        }
        fs::copy(lab.path("killed-two.db"), lab.path("killed-one.db")).unwrap();
        let refused = lab.open_with("killed-one.db", "").unwrap_err().to_string();
        assert!(refused.contains("its footer says frame"), "{refused}");
    });
}

#[test]
fn changed_by_sqlite_without_vwal() {
    both(|killed| {
        killed.changed_by_stock("INSERT INTO u VALUES (9)");
        killed.refuses("a row in WAL mode", "its footer is gone");
        killed.changed_by_stock("INSERT INTO t VALUES (9, zeroblob(100000))");
        killed.refuses("growth in WAL mode", "vwal changed or replaced it");
        killed.changed_by_stock("VACUUM");
        killed.refuses("VACUUM in WAL mode", "vwal changed or replaced it");
        killed.changed_by_stock("PRAGMA journal_mode=DELETE");
        killed.refuses("out of WAL mode", "not in WAL mode");
        killed.changed_by_stock("PRAGMA journal_mode=DELETE; UPDATE u SET x = 7; PRAGMA journal_mode=WAL");
        killed.refuses("out of WAL mode and back", "its change counter is");
        killed.changed_by_stock(
            "PRAGMA journal_mode=DELETE; PRAGMA page_size=512; VACUUM; PRAGMA journal_mode=WAL",
        );
        killed.refuses("another page size", "its page size is 512");
    });
}

#[test]
fn cut_or_made_longer() {
    both(|killed| {
        let pages = |bytes: &Vec<u8>| bytes.len() - FOOTER_SIZE as usize;
        killed.changed(|bytes| bytes.truncate(pages(bytes)));
        killed.refuses("without its footer", "its footer is gone");
        killed.changed(|bytes| bytes.truncate(pages(bytes) - 1));
        killed.refuses("a byte less than its pages", "it has");
        killed.changed(|bytes| bytes.truncate(4096));
        killed.refuses("of one page", "it has 1 pages");
        killed.changed(|bytes| bytes.resize(bytes.len() + 4096, 0));
        killed.refuses("longer", "its footer");
        killed.changed(|bytes| bytes.resize(pages(bytes) + 4096, 0));
        killed.refuses("longer by its footer", "its footer is gone");
    });
}

#[test]
fn a_damaged_footer_does_not_keep_commits_from_being_read() {
    both(|killed| {
        let lab = &killed.lab;
        let changes: [fn(&mut Vec<u8>); 3] = [
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes.truncate(bytes.len() - FOOTER_SIZE as usize + 1),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let name = format!("damaged-{number}.db");
            lab.copy("killed.db", &name);
            let mut bytes = fs::read(lab.path(&name)).unwrap();
            change(&mut bytes);
            fs::write(lab.path(&name), bytes).unwrap();
            let db = lab.open(&name);
            assert_eq!(query(&db, ROWS), killed.rows, "change {number}");
            assert_intact(&db, "main");
        }
    });
}

#[test]
fn a_new_log_that_was_given_up_at_its_beginning_goes_on() {
    // The metadata is what comes last when a log is made.
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", SCHEMA);
    query(&db, "INSERT INTO u VALUES (1)");
    let log_id = query(&db, "SELECT vwal_log_id()");
    fs::copy(lab.path("a.db"), lab.path("b.db")).unwrap();
    let db = lab.open("b.db");
    assert_eq!(query(&db, "SELECT count(*) FROM u"), "0", "the row is in the other log");
    assert_eq!(query(&db, "SELECT vwal_log_id()"), log_id);
}
