//! The system has no memory: an error of SQLite, never the end of the process that vwal is loaded into.
//!
//! Each child process runs the same work, and in the n-th of them the n-th request for memory beyond a limit is refused. Such
//! requests are those that grow with data; what is smaller is left out (docs/reliability.md).

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use rusqlite::{Connection, ErrorCode};

/// Records of a fixed size that vwal reads and writes have 4096 bytes.
const LARGE: usize = 4096;
/// What the libraries for storage take for themselves is smaller: the stack of no thread comes from the allocator.
const LARGE_WITH_STORAGE: usize = 64 << 10;
const TRANSACTIONS: i64 = 12;
const N: &str = "VWAL_TEST_REFUSED_REQUEST";
const KIND: &str = "VWAL_TEST_WORK";
const PLACE: &str = "VWAL_TEST_PLACE";

/// Requests for more bytes than this are counted.
static LIMIT: AtomicUsize = AtomicUsize::new(LARGE);
/// Large requests until the one that is refused; below zero it has been, or none is to be.
static UNTIL: AtomicI64 = AtomicI64::new(-1);

struct Refusing;

fn refused(size: usize) -> bool {
    size > LIMIT.load(Ordering::Relaxed)
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
        // No system refuses to take memory back.
        if size > layout.size() && refused(size) {
            std::ptr::null_mut()
        } else {
            // SAFETY: as above.
            unsafe { System.realloc(memory, layout, size) }
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn open(path: &Path, storage: Option<&Path>) -> rusqlite::Result<Connection> {
    let storage = storage.map_or(String::new(), |at| format!("&vwal_storage=file://{}", at.display()));
    let swap = "vwal_swap=frames%3E%3D60";
    let db = Connection::open(format!("file:{}?vfs=vwal&{swap}{storage}", path.display()))?;
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

/// What is asked of the database after the commits.
const AFTERWARDS: [&str; 3] =
    ["PRAGMA wal_checkpoint(TRUNCATE)", "SELECT sum(length(body)) FROM t", "SELECT vwal_checkpoint()"];

/// Open, write, then `afterwards`, and close. A line for each acknowledged commit, and one for each error.
fn work(path: &Path, storage: Option<&Path>, afterwards: &[&str]) -> Connection {
    let tell = |error: rusqlite::Error| println!("error {:?}", error.sqlite_error_code());
    let db = open(path, storage).or_else(|error| {
        tell(error);
        open(path, storage)
    });
    let mut db = db.expect("the second time there is memory");
    let mut failed = 0;
    for k in 1..=TRANSACTIONS {
        match commit(&mut db, k) {
            Ok(()) => println!("acknowledged {k}"),
            Err(error) => {
                failed += 1;
                tell(error);
            }
        }
    }
    assert!(failed <= 1, "one request was refused, and {failed} commits failed");
    for sql in afterwards {
        let _ = db.query_row(sql, [], |_| Ok(())).map_err(tell);
    }
    db
}

/// Bundles, merges of them and a snapshot, which threads write: they try again when there was no memory.
fn ship(path: &Path) {
    let storage = path.with_extension("storage");
    let db = work(path, Some(&storage), &["SELECT vwal_sync()"]);
    let database = vwal::Database::of(&db, "main").expect("it is virtual");
    let shipped = || database.sync().and_then(|_| database.snapshot());
    // What a thread could not do is told by the calls that wait for it, and the thread tries again.
    let shipped = shipped().or_else(|error| {
        println!("told: {error}");
        shipped()
    });
    shipped.expect("the second time there is memory");
}

/// Recovery, of a log whose process was killed. The first time it may fail for want of memory.
fn recover(path: &Path) {
    let rows = || {
        let db = Connection::open(format!("file:{}?vfs=vwal", path.display()))?;
        db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
    };
    let found = rows().or_else(|error| {
        println!("error {:?}", error.sqlite_error_code());
        rows()
    });
    assert_eq!(found.expect("the second time there is memory"), 10 * TRANSACTIONS);
    (1..=TRANSACTIONS).for_each(|k| println!("acknowledged {k}"));
}

#[test]
#[ignore = "the work of a child process"]
fn child() {
    let (Ok(n), Some(place)) = (std::env::var(N), std::env::var_os(PLACE)) else { return };
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    let kind = std::env::var(KIND).expect("what to do");
    if kind == "ship" {
        LIMIT.store(LARGE_WITH_STORAGE, Ordering::SeqCst);
    }
    UNTIL.store(n.parse().expect("a number"), Ordering::SeqCst);
    let path = PathBuf::from(place);
    match kind.as_str() {
        "write" => drop(work(&path, None, &AFTERWARDS)),
        "ship" => ship(&path),
        "recover" => recover(&path),
        "die" => {
            let _killed = work(&path, None, &[]);
            println!("dies");
            std::process::abort();
        }
        kind => panic!("no work is called {kind}"),
    }
    // The requests of the test harness, which follow, are not vwal's.
    if UNTIL.swap(-1, Ordering::SeqCst) >= 0 {
        println!("all requests granted");
    }
}

/// Each acknowledged commit is there as a whole, and no other one in part.
fn check(path: &Path, said: &str, n: i64) {
    let db = open(path, None).unwrap_or_else(|error| panic!("request {n}: {error}"));
    let intact: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(intact, "ok", "request {n}");
    for k in 1..=TRANSACTIONS {
        let rows: i64 =
            db.query_row("SELECT count(*) FROM t WHERE k = ?1", [k], |row| row.get(0)).expect("rows");
        let acknowledged = said.lines().any(|line| line.ends_with(&format!("acknowledged {k}")));
        assert!(rows == 10 || (rows == 0 && !acknowledged), "request {n}: {rows} rows of commit {k}");
    }
}

fn run(kind: &str, n: i64, path: &Path) -> (bool, String) {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .envs([(N, n.to_string().as_str()), (KIND, kind)])
        .env(PLACE, path)
        .output()
        .expect("the child runs");
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let all =
        format!("{kind}, request {n}: {}\n{said}{}", child.status, String::from_utf8_lossy(&child.stderr));
    (child.status.success(), if child.status.success() { said } else { all })
}

/// Refuses one request after the other in `kind` of work, which begins with what `prepare` makes. Returns how many there were,
/// and how many were told as errors.
fn sweep(kind: &str, prepare: impl Fn(&Path)) -> (i64, i64) {
    let mut errors = 0;
    for n in 0.. {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.db");
        prepare(&path);
        let (succeeded, said) = run(kind, n, &path);
        assert!(succeeded, "{said}");
        check(&path, &said, n);
        for error in said.lines().filter(|line| line.contains("error ")) {
            assert!(
                error.ends_with(&format!("{:?}", Some(ErrorCode::OutOfMemory))),
                "{kind}, request {n}: {error}"
            );
            errors += 1;
        }
        if said.contains("all requests granted") {
            return (n, errors);
        }
    }
    unreachable!("the numbers do not end")
}

#[test]
fn each_refused_request_is_an_error_and_the_next_commit_works() {
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    let (requests, errors) = sweep("write", |_| {});
    assert!(requests > 10 && errors > 3, "{requests} requests, {errors} errors: too few for this work");
}

#[test]
fn what_is_shipped_without_memory_is_shipped_later() {
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    let (requests, _) = sweep("ship", |_| {});
    assert!(requests > 3, "{requests} requests: too few for this work");
}

#[test]
fn a_log_that_is_recovered_without_memory_is_recovered_later() {
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    let (requests, errors) = sweep("recover", |path| {
        let (_, said) = run("die", -1, path);
        assert!(said.contains("dies"), "{said}");
    });
    assert!(requests > 3 && errors > 3, "{requests} requests, {errors} errors: too few for this work");
}
