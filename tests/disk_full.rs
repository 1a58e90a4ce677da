//! A disk that is really full: a tmpfs with a size limit, filled up with another file.
//!
//! SQLite is told `SQLITE_FULL`; what failed is rolled back; readers go on; nothing that was acknowledged is lost, also
//! when the power goes while the disk is full; and with space again everything goes on.
//!
//! Mounting takes root. Where it is not permitted, these tests say so on standard error and check nothing.

#[path = "common/lab.rs"]
mod lab;
#[path = "common/text.rs"]
mod text;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{Engine, copy_database};
use rusqlite::{Connection, ErrorCode};
use text::{assert_intact, query};

/// A small file system.
struct Disk {
    home: tempfile::TempDir,
}

impl Disk {
    /// `None`, with a message that cannot be overlooked, where this is not permitted.
    fn mount(mebibytes: usize) -> Option<Disk> {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(home.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk { home }),
            other => {
                // Not eprintln!, which the test harness keeps to itself.
                let why = other.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
                let text = format!(
                    "\n*** SKIPPED: a test of tests/disk_full.rs, a tmpfs cannot be mounted: {why:?} ***\n"
                );
                std::io::stderr().write_all(text.as_bytes()).expect("standard error is open");
                None
            }
        }
    }

    fn database(&self) -> PathBuf {
        self.home.path().join("a.db")
    }

    fn filler(&self) -> PathBuf {
        self.home.path().join("filler")
    }

    fn try_open(&self) -> rusqlite::Result<Connection> {
        Engine::Vwal.open(&self.database(), "")
    }

    fn open(&self) -> Connection {
        self.try_open().unwrap_or_else(|error| panic!("it opens: {error}"))
    }

    /// Take all space but `left` bytes.
    fn fill(&self, left: u64) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.filler()).unwrap();
        // The syncer may be making a spare file. On a full disk it gives that up, and then there is space again.
        let mut before = u64::MAX;
        loop {
            // Smaller and smaller pieces, so that it ends at the very last block.
            for size in [1 << 20, 1 << 16, 1 << 12] {
                while file.write_all(&vec![1; size]).is_ok() {}
            }
            let size = file.metadata().unwrap().len();
            if size == before {
                return file.set_len(size.saturating_sub(left)).unwrap();
            }
            before = size;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Give the space back. The kernel may take a moment to count it as free.
    fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
        let probe = self.home.path().join("probe");
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = fs::write(&probe, vec![1; 1 << 20]) {
            assert!(Instant::now() < deadline, "the space is not given back: {error}");
            std::thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(probe).unwrap();
    }

    /// The number of entries in a copy elsewhere: what a crash at this moment would leave.
    fn count_after_a_crash(&self) -> u32 {
        let elsewhere = tempfile::tempdir().unwrap();
        let copy = elsewhere.path().join("copy.db");
        copy_database(&self.database(), &copy);
        let db = Engine::Vwal.open(&copy, "").unwrap();
        assert_intact(&db, "main");
        count(&db)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.home.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the tmpfs is unmounted");
    }
}

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body)";

fn insert(db: &Connection, bytes: u32) -> rusqlite::Result<()> {
    db.execute("INSERT INTO t(body) VALUES (randomblob(?1))", [bytes]).map(drop)
}

fn count(db: &Connection) -> u32 {
    db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

fn assert_full(result: rusqlite::Result<()>, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull), "{what}: {error}");
}

/// Insert until the disk is full. Returns how many entries there are then.
fn insert_until_full(db: &Connection, bytes: u32) -> u32 {
    let mut acknowledged = count(db);
    for _ in 0..100_000 {
        match insert(db, bytes) {
            Ok(()) => acknowledged += 1,
            Err(error) => {
                assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull), "{error}");
                return acknowledged;
            }
        }
    }
    panic!("the disk does not become full");
}

#[test]
fn commits_on_a_full_disk_fail_one_by_one_and_lose_nothing() {
    for synchronous in ["FULL", "NORMAL"] {
        let Some(disk) = Disk::mount(12) else { return };
        let db = disk.open();
        query(&db, &format!("PRAGMA synchronous={synchronous}; {TABLE}"));
        insert(&db, 100).unwrap();
        let reader = disk.open();
        disk.fill(2 << 20);
        let acknowledged = insert_until_full(&db, 20_000);
        assert!(acknowledged > 10, "{acknowledged} commits before the disk was full");
        for _ in 0..3 {
            assert_full(insert(&db, 50_000), "there is no space yet");
            assert_eq!((count(&db), count(&reader)), (acknowledged, acknowledged));
        }
        assert_intact(&reader, "main");
        assert_eq!(disk.count_after_a_crash(), acknowledged);

        disk.empty();
        for _ in 0..3 {
            insert(&db, 50_000).unwrap();
        }
        assert_eq!(count(&reader), acknowledged + 3);
        assert_intact(&reader, "main");
        drop((db, reader));
        assert_eq!(count(&disk.open()), acknowledged + 3);
    }
}

#[test]
fn a_transaction_that_spills_its_cache_onto_a_full_disk_is_rolled_back() {
    let Some(disk) = Disk::mount(12) else { return };
    let db = disk.open();
    query(&db, &format!("PRAGMA cache_size=10; {TABLE}"));
    insert(&db, 100).unwrap();
    disk.fill(3 << 20);
    for round in 0..3 {
        query(&db, "BEGIN; SAVEPOINT one");
        let error = (0..1000).find_map(|_| insert(&db, 20_000).err()).expect("the disk is full");
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull), "round {round}: {error}");
        if !db.is_autocommit() {
            query(&db, "ROLLBACK");
        }
        assert_eq!(count(&db), 1, "round {round}");
        assert_intact(&db, "main");
    }
    assert_eq!(disk.count_after_a_crash(), 1);
    // What it wrote is rolled back, and its place is there for others.
    insert(&db, 20_000).unwrap();
    disk.empty();
    query(&db, "BEGIN");
    for _ in 0..100 {
        insert(&db, 20_000).unwrap();
    }
    query(&db, "COMMIT");
    assert_eq!(count(&db), 102);
    assert_intact(&db, "main");
    assert_eq!(disk.count_after_a_crash(), 102);
}

#[test]
fn a_checkpoint_on_a_full_disk_loses_nothing_and_can_be_repeated() {
    let Some(disk) = Disk::mount(12) else { return };
    let db = disk.open();
    query(&db, TABLE);
    for _ in 0..100 {
        insert(&db, 20_000).unwrap();
    }
    disk.fill(0);
    for sql in
        ["PRAGMA wal_checkpoint(TRUNCATE)", "SELECT vwal_checkpoint()", "PRAGMA wal_checkpoint(TRUNCATE)"]
    {
        assert_full(db.query_row(sql, [], |_| Ok(())), sql);
        assert_eq!(count(&db), 100, "{sql}");
        assert_intact(&db, "main");
        assert_eq!(disk.count_after_a_crash(), 100, "{sql}");
    }
    // A little space is not enough for all of it.
    disk.empty();
    disk.fill(500_000);
    assert_full(db.query_row("SELECT vwal_checkpoint()", [], |_| Ok(())), "a pass that gets somewhere");
    assert_eq!(count(&db), 100);
    assert_eq!(disk.count_after_a_crash(), 100);

    disk.empty();
    assert_eq!(query(&db, "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
    assert_eq!(query(&db, "SELECT last_error FROM vwal_status"), "NULL");
    insert(&db, 20_000).unwrap();
    query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
    // Now the base file alone has it all.
    let alone = tempfile::tempdir().unwrap();
    fs::copy(disk.database(), alone.path().join("a.db")).unwrap();
    let stock = Engine::Stock.open(&alone.path().join("a.db"), "").unwrap();
    assert_eq!(count(&stock), 101);
    assert_intact(&stock, "main");
}

#[test]
fn closing_and_opening_on_a_full_disk_loses_nothing() {
    let Some(disk) = Disk::mount(12) else { return };
    let db = disk.open();
    query(&db, TABLE);
    for _ in 0..100 {
        insert(&db, 20_000).unwrap();
    }
    disk.fill(0);
    drop(db);
    assert_eq!(disk.count_after_a_crash(), 100);
    for _ in 0..3 {
        // It may not open, since recovery wants to put things in order; but then it says why.
        match disk
            .try_open()
            .and_then(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0)))
        {
            Ok(count) => assert_eq!(count, 100),
            Err(error) => {
                let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    || error.to_string().contains("no space left");
                assert!(full, "{error}");
            }
        }
        assert_eq!(disk.count_after_a_crash(), 100);
    }
    disk.empty();
    let db = disk.open();
    assert_eq!(count(&db), 100);
    insert(&db, 20_000).unwrap();
    assert_intact(&db, "main");
}

#[test]
fn after_a_crash_a_full_disk_is_opened_and_commits_say_that_it_is_full() {
    for group_commit in ["on", "off"] {
        let Some(disk) = Disk::mount(24) else { return };
        {
            // Frames of which nothing shows that they are durable, more than there will be space for.
            let elsewhere = tempfile::tempdir().unwrap();
            let live = elsewhere.path().join("live.db");
            let db = Engine::Vwal.open(&live, "vwal_swap=frames%3E=100000").unwrap();
            query(&db, &format!("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; {TABLE}"));
            (0..200).for_each(|_| insert(&db, 20_000).unwrap());
            copy_database(&live, &disk.database());
        }
        disk.fill(1 << 20);
        let params = format!("vwal_group_commit={group_commit}");
        let db = Engine::Vwal.open(&disk.database(), &params).expect("nothing is missing");
        assert_eq!(count(&db), 200, "group commit {group_commit}");
        query(&db, "PRAGMA synchronous=FULL");
        for _ in 0..3 {
            assert_full(insert(&db, 100), "what it builds on cannot be made durable");
        }
        disk.empty();
        insert(&db, 100).expect("there is space again");
        assert_intact(&db, "main");
    }
}

#[test]
fn the_first_write_on_a_full_disk() {
    // None at all, and a little: for a few of the files that a new log needs.
    for left in [0, 4096, 3 * 4096, 6 * 4096, 10 * 4096, 20 * 4096] {
        let Some(disk) = Disk::mount(4) else { return };
        disk.fill(left);
        // An empty database is made with its first write, and all else is too.
        let made = disk.try_open().and_then(|db| {
            db.execute_batch(&format!("BEGIN; {TABLE}; INSERT INTO t VALUES (1, 'x'); COMMIT"))
        });
        if let Err(error) = &made {
            let text = error.to_string();
            let full =
                error.sqlite_error_code() == Some(ErrorCode::DiskFull) || text.contains("no space left");
            assert!(full || text.contains("disk I/O error"), "{left} bytes left: {text}");
        }
        disk.empty();
        let db = disk.open();
        match made {
            Ok(()) => assert_eq!(count(&db), 1, "{left} bytes left"),
            Err(_) => {
                query(&db, &format!("DROP TABLE IF EXISTS t; {TABLE}"));
                insert(&db, 100).unwrap();
            }
        }
        insert(&db, 20_000).unwrap();
        assert_eq!(count(&db), 2, "{left} bytes left");
        assert_intact(&db, "main");
        drop(db);
        assert_eq!(count(&disk.open()), 2, "{left} bytes left");
    }
}

#[test]
fn a_database_in_rollback_mode_that_is_opened_on_a_full_disk_stays_readable() {
    for left in [0, 4096, 3 * 4096, 6 * 4096, 10 * 4096, 20 * 4096] {
        let Some(disk) = Disk::mount(4) else { return };
        {
            let stock = Engine::Stock.open(&disk.database(), "").unwrap();
            query(&stock, TABLE);
            for _ in 0..5 {
                insert(&stock, 20_000).unwrap();
            }
        }
        disk.fill(left);
        let converted = disk
            .try_open()
            .and_then(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0)));
        match converted {
            Ok(count) => assert_eq!(count, 5_u32, "{left} bytes left"),
            Err(error) => assert!(
                error.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    || error.to_string().contains("no space left")
                    || error.to_string().contains("full"),
                "{left} bytes left: {error}"
            ),
        }
        disk.empty();
        let db = disk.open();
        assert_eq!(count(&db), 5, "{left} bytes left");
        insert(&db, 20_000).unwrap();
        assert_intact(&db, "main");
        assert!(is_log(&disk.database()), "{left} bytes left");
    }
}

fn is_log(database: &Path) -> bool {
    PathBuf::from(format!("{}-wal", database.display())).is_dir()
}
