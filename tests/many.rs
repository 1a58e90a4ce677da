//! Many databases in one process: threads, descriptors and CPU time are of the process, not of each database, and none waits for
//! another.
//!
//! `MANY=1000 cargo test --test many` opens so many.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rusqlite::Connection;
use vwal::restore::Restore;
use vwal::{Database, Options};

/// So many threads one process may have for all of its databases.
const THREADS: usize = 16;
/// So many descriptors an open database may hold while it is idle: the base file three times (of SQLite, of the checkpointer, and one
/// that only tells whether it has a name), the log directory, the lock, the metadata, the wal-index and the current segment.
const DESCRIPTORS: usize = 8;

/// Threads and descriptors are counted: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    vwal::register(Options::new()).expect("vwal can be registered");
    // SAFETY: both calls are given a limit to write to, or to read from.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    guard
}

/// The names of the threads of vwal.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    // A thread may end meanwhile.
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks
        .filter_map(name)
        .map(|name| name.trim().to_owned())
        .filter(|name| name.starts_with("vwal"))
        .collect()
}

/// What the descriptors of this process are.
fn descriptors() -> Vec<String> {
    let all = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let target = |fd: std::io::Result<std::fs::DirEntry>| std::fs::read_link(fd.ok()?.path()).ok();
    all.filter_map(target).map(|target| target.display().to_string()).collect()
}

/// CPU time that this process has used.
fn cpu() -> Duration {
    // SAFETY: it is given a struct to write to, of which all bytes may be zero.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn open(path: &Path, url: &str, params: &str) -> Connection {
    let uri = format!("file:{}?vfs=vwal&vwal_storage={url}&vwal_ship_interval_ms=50{params}", path.display());
    let db = Connection::open(uri).expect("it opens");
    db.execute_batch("CREATE TABLE IF NOT EXISTS t(x)").expect("a table");
    db
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn databases_share_threads_and_hold_few_descriptors_and_use_no_cpu_while_they_are_idle() {
    let _alone = alone();
    let count: usize = std::env::var("MANY").map_or(200, |count| count.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let before = descriptors();
    assert_eq!(threads(), [""; 0], "nothing is open");
    let most = std::cell::Cell::new(0);
    let count_threads = || most.set(most.get().max(threads().len()));
    let dbs: Vec<Connection> = (0..count)
        .map(|at| {
            count_threads();
            open(&dir.path().join(format!("{at}.db")), "memory://many/{name}", "")
        })
        .collect();
    for round in 0..3 {
        for db in &dbs {
            db.execute("INSERT INTO t VALUES (?1)", [round]).expect("a commit");
        }
        count_threads();
    }
    let handles: Vec<Database> =
        dbs.iter().map(|db| Database::of(db, "main").expect("a virtual database")).collect();
    wait_for("all is shipped", || {
        count_threads();
        handles.iter().all(|db| db.durable_frame_no() == db.frame_no())
    });
    assert!(most.get() <= THREADS, "{} threads for {count} databases: {:?}", most.get(), threads());
    // What is left to do after that: an fsync, a look for snapshots.
    std::thread::sleep(Duration::from_secs(2));
    let held = descriptors();
    assert!(
        held.len() - before.len() <= count * DESCRIPTORS + 16,
        "{} descriptors for {count} databases, of one of them: {:?}",
        held.len() - before.len(),
        held.iter().filter(|path| path.contains("/7.db")).collect::<Vec<_>>()
    );
    let began = cpu();
    std::thread::sleep(Duration::from_secs(2));
    let used = cpu() - began;
    assert!(used < Duration::from_millis(20), "{used:?} of CPU time in 2 s of idleness");
    // What they have in the end goes to storage too.
    for db in &dbs {
        db.execute("INSERT INTO t VALUES (99)", []).expect("a commit");
    }
    drop((handles, dbs));
    assert_eq!(threads(), [""; 0], "nothing is open");
    for at in [0, count / 2, count - 1] {
        let back = dir.path().join(format!("back-{at}.db"));
        let url = format!("memory://many/{at}.db").parse().expect("a URL");
        Restore::new(&url).run(&back, |_| {}).expect("it is restored");
        let rows: u32 = Connection::open(back)
            .and_then(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)))
            .expect("a count");
        assert_eq!(rows, 4, "database {at}");
    }
}

/// A store that does not answer, or only by and by.
#[derive(Debug)]
struct Silent(InMemory);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that does not answer")
    }
}

#[async_trait]
impl ObjectStore for Silent {
    async fn put_opts(&self, _: &Key, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        std::future::pending().await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.0.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[test]
fn stores_that_do_not_answer_hold_up_nobody_else() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    vwal::storage::provide("silent", Arc::new(Silent(InMemory::new())));
    let path = |name: &str, at: usize| dir.path().join(format!("{name}{at}.db"));
    // More than there are threads.
    let silent: Vec<Connection> = (0..2 * THREADS)
        .map(|at| {
            let db = open(&path("silent", at), "memory://silent/{name}", "&vwal_close_timeout_ms=0");
            db.execute("INSERT INTO t VALUES (1)", []).expect("a commit");
            db
        })
        .collect();
    for ack in ["local", "remote"] {
        let params = format!("&vwal_ack={ack}");
        let db = open(&path(ack, 0), "memory://answers/{name}", &params);
        let started = Instant::now();
        for at in 0..20 {
            db.execute("INSERT INTO t VALUES (?1)", [at]).expect("a commit");
            db.query_row("SELECT vwal_sync()", [], |_| Ok(())).expect("it is stored");
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{ack}: {:?}", started.elapsed());
    }
    assert!(threads().len() <= THREADS, "{:?}", threads());
    let started = Instant::now();
    drop(silent);
    assert!(started.elapsed() < Duration::from_secs(10), "closing: {:?}", started.elapsed());
    assert_eq!(threads(), [""; 0], "nothing is open");
}

/// Whatever thread opens and closes it, also one on which no other runtime can be started.
#[test]
fn an_application_with_a_runtime_of_its_own_opens_and_closes_databases_in_it() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for url in ["memory://own/{name}".to_owned(), format!("file://{}", dir.path().join("store").display())] {
        runtime.block_on(async {
            let db = open(&dir.path().join(format!("{}.db", url.len())), &url, "");
            db.execute("INSERT INTO t VALUES (1)", []).expect("a commit");
            let database = Database::of(&db, "main").expect("a virtual database");
            database.sync().expect("it is stored");
            database.snapshot().expect("a snapshot");
            assert_ne!(threads(), [""; 0]);
            drop(db);
            assert_eq!(threads(), [""; 0], "nothing is open");
        });
    }
}

/// What a child does: its database `slow.db` has to wait for an fsync, and the others do not wait for that.
#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    vwal::register(Options::new()).expect("vwal can be registered");
    let dir = std::env::var("VWAL_TEST_DIR").expect("the parent sets it");
    let open = |name: &str| {
        let uri = format!("file:{dir}/{name}.db?vfs=vwal&vwal_sync_interval_ms=50");
        let db = Connection::open(uri).expect("it opens");
        db.execute_batch("CREATE TABLE t(x); PRAGMA synchronous=NORMAL").expect("a table");
        let handle = Database::of(&db, "main").expect("a virtual database");
        (db, handle)
    };
    let insert = |db: &Connection| assert_eq!(db.execute("INSERT INTO t VALUES (1)", []), Ok(1));
    let others: Vec<_> = (0..20).map(|at| open(&at.to_string())).collect();
    let (slow, slow_handle) = open("slow");
    insert(&slow);
    std::thread::sleep(Duration::from_millis(200));
    others.iter().for_each(|(db, _)| insert(db));
    wait_for("their fsyncs", || others.iter().all(|(_, db)| db.durable_frame_no() == db.frame_no()));
    let is_waiting = slow_handle.durable_frame_no() < slow_handle.frame_no();
    println!("\nthe others are durable, and the slow one {}", if is_waiting { "waits" } else { "too" });
}

#[test]
fn a_slow_fsync_of_one_database_holds_up_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let segment = dir.path().join("slow.db-wal/00000000000000000001.seg");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-P"])
        .arg(segment)
        .args(["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_enter=10000000"])
        .arg("--")
        .arg(std::env::current_exe().expect("the path of this program"))
        .args(["--ignored", "--exact", "child_process", "--nocapture", "--test-threads=1"])
        .env("VWAL_TEST_DIR", dir.path())
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        other => {
            assert!(std::env::var_os("CI").is_none(), "strace is needed: {other:?}");
            eprintln!("not tested: strace cannot trace here ({other:?})");
            return;
        }
    };
    assert!(output.contains("the others are durable, and the slow one waits"), "{output}");
}
