//! The system has no memory: an error of SQLite, never the end of the process that vwal is loaded into.
//!
//! Each child process runs the same work, and in the n-th of them the n-th request for memory beyond [`LARGE`] bytes is refused.
//! Such requests are those that grow with data; what is smaller is left out (docs/reliability.md).

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, ErrorCode};

/// Records of a fixed size that vwal reads and writes have 4096 bytes.
const LARGE: usize = 4096;
const TRANSACTIONS: i64 = 12;
const N: &str = "VWAL_TEST_REFUSED_REQUEST";
const PLACE: &str = "VWAL_TEST_PLACE";

/// Large requests until the one that is refused; below zero it has been, or none is to be.
static UNTIL: AtomicI64 = AtomicI64::new(-1);

struct Refusing;

fn refused(size: usize) -> bool {
    size > LARGE
        && UNTIL.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left >= 0).then(|| left - 1))
            == Ok(0)
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

// SAFETY: all memory is the system allocator's; null is the answer that GlobalAlloc has for "no".
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is that of the system's allocator.
        if refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        if refused(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        if refused(size) { std::ptr::null_mut() } else { unsafe { System.realloc(memory, layout, size) } }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(format!("file:{}?vfs=vwal&vwal_swap=frames%3E%3D60", path.display()))?;
    db.execute_batch("CREATE TABLE IF NOT EXISTS t(k, body)")?;
    Ok(db)
}

/// A commit of some pages.
fn commit(db: &mut Connection, k: i64) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    for _ in 0..10 {
        transaction.execute("INSERT INTO t VALUES (?1, randomblob(3000))", [k])?;
    }
    transaction.commit()
}

/// Open, write, checkpoint, read and close. A line for each acknowledged commit, and one for each error.
fn work(path: &Path) {
    let mut db = open(path).or_else(|error| {
        println!("error {:?}", error.sqlite_error_code());
        open(path)
    });
    let db = db.as_mut().expect("the second time there is memory");
    let mut failed = 0;
    for k in 1..=TRANSACTIONS {
        match commit(db, k) {
            Ok(()) => println!("acknowledged {k}"),
            Err(error) => {
                failed += 1;
                println!("error {:?}", error.sqlite_error_code());
            }
        }
    }
    assert!(failed <= 1, "one request was refused, and {failed} commits failed");
    for sql in
        ["PRAGMA wal_checkpoint(TRUNCATE)", "SELECT sum(length(body)) FROM t", "SELECT vwal_checkpoint()"]
    {
        if let Err(error) = db.query_row(sql, [], |_| Ok(())) {
            println!("error {:?}", error.sqlite_error_code());
        }
    }
}

#[test]
#[ignore = "the work of a child process"]
fn child() {
    let (Ok(n), Some(place)) = (std::env::var(N), std::env::var_os(PLACE)) else { return };
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    UNTIL.store(n.parse().expect("a number"), Ordering::SeqCst);
    work(&PathBuf::from(place));
    // The requests of the test harness, which follow, are not vwal's.
    if UNTIL.swap(-1, Ordering::SeqCst) >= 0 {
        println!("all requests granted");
    }
}

/// Each acknowledged commit is there as a whole, and no other one in part.
fn check(path: &Path, said: &str, n: i64) {
    let db = open(path).unwrap_or_else(|error| panic!("request {n}: {error}"));
    let intact: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(intact, "ok", "request {n}");
    for k in 1..=TRANSACTIONS {
        let rows: i64 =
            db.query_row("SELECT count(*) FROM t WHERE k = ?1", [k], |row| row.get(0)).expect("rows");
        let acknowledged = said.lines().any(|line| line.ends_with(&format!("acknowledged {k}")));
        assert!(rows == 10 || (rows == 0 && !acknowledged), "request {n}: {rows} rows of commit {k}");
    }
}

#[test]
fn each_refused_request_is_an_error_and_the_next_commit_works() {
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    let mut errors = 0;
    for n in 0.. {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .envs([(N, n.to_string().as_str())])
            .env(PLACE, &path)
            .output()
            .expect("the child runs");
        let said = String::from_utf8_lossy(&child.stdout);
        let complained = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "request {n}: {}\n{said}{complained}", child.status);
        check(&path, &said, n);
        for error in said.lines().filter(|line| line.contains("error ")) {
            assert!(error.ends_with(&format!("{:?}", Some(ErrorCode::OutOfMemory))), "request {n}: {error}");
            errors += 1;
        }
        if said.contains("all requests granted") {
            assert!(n > 10 && errors > 3, "{n} requests, {errors} errors: too few for this work");
            return;
        }
    }
}
