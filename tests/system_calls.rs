//! What a commit asks of the kernel: one write under `synchronous=NORMAL`, and under `FULL` one fsync more, with a look
//! whether the segment still has its name.
//!
//! The committing process (this test binary again) runs under strace. Without strace the tests say so and pass; with `CI`
//! in the environment they fail instead.

#[path = "common/lab.rs"]
mod lab;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::Engine;

/// Commits of a run.
const COMMITS: u64 = 5000;
/// Files that nobody has: trying to remove them marks where the commits begin and end.
const BEGIN: &str = "/vwal-test-the-commits-begin";
const END: &str = "/vwal-test-the-commits-end";
/// How the memory of a process grows.
const MEMORY: [&str; 5] = ["brk", "mmap", "munmap", "madvise", "mremap"];

#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    let variable = |name| std::env::var(name).expect("the parent sets it");
    let path = variable("VWAL_TEST_DATABASE");
    let conn = Engine::Vwal.open(Path::new(&path), &variable("VWAL_TEST_PARAMS")).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous={}; CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);
         WITH RECURSIVE c(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM c WHERE i < 20000)
         INSERT INTO t SELECT i, 0 FROM c;",
        variable("VWAL_TEST_SYNCHRONOUS")
    ))
    .unwrap();
    if variable("VWAL_TEST_SQL").is_empty() {
        std::thread::sleep(Duration::from_secs(1));
        let _ = std::fs::remove_file(BEGIN);
        std::thread::sleep(Duration::from_secs(3));
        let _ = std::fs::remove_file(END);
        return;
    }
    let mut statement = conn.prepare(&variable("VWAL_TEST_SQL")).unwrap();
    let mut commit = |at: u64| {
        let changed = statement.execute([(at * 7919 % 20000 + 1) as i64]).unwrap();
        assert_eq!(changed, 1);
    };
    (0..100).for_each(&mut commit);
    let _ = std::fs::remove_file(BEGIN);
    (0..COMMITS).for_each(&mut commit);
    let _ = std::fs::remove_file(END);
}

/// The trace of a process. `None`: there is no strace.
fn traced(params: &str, synchronous: &str, sql: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_process", "--test-threads=1"])
        .env("VWAL_TEST_DATABASE", dir.path().join("app.db"))
        .env("VWAL_TEST_PARAMS", params)
        .env("VWAL_TEST_SYNCHRONOUS", synchronous)
        .env("VWAL_TEST_SQL", sql)
        .stdout(std::process::Stdio::null())
        .status();
    match status {
        Ok(status) => assert!(status.success(), "strace cannot trace: {status}"),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "strace cannot be started: {error}");
            eprintln!("SKIPPED: strace cannot be started: {error}");
            return None;
        }
    }
    Some(std::fs::read_to_string(trace).unwrap())
}

/// The system calls between the marks, by name: of the thread that makes the marks, or of all.
fn between_the_marks(trace: &str, of_all: bool) -> BTreeMap<String, u64> {
    let mut lines = trace.lines();
    let begin = lines.by_ref().find(|line| line.contains(BEGIN)).expect("the commits begin");
    let thread = begin.split_whitespace().next().unwrap();
    let mut calls = BTreeMap::new();
    for line in lines {
        if line.contains(END) {
            return calls;
        }
        let (pid, call) = line.split_once(' ').unwrap();
        // "<... pwrite64 resumed>" is the end of a call that has been counted; "+++" and "---" are none.
        if (of_all || pid == thread)
            && let Some((name, _)) = call.trim_start().split_once('(')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    panic!("the commits do not end");
}

/// `writes` and `syncs` for each commit, and next to nothing else.
fn assert_calls(synchronous: &str, sql: &str, syncs: u64) {
    let Some(trace) = traced("", synchronous, sql) else { return };
    let calls = between_the_marks(&trace, false);
    let of = |names: &[&str]| names.iter().filter_map(|&name| calls.get(name)).sum::<u64>();
    let writes = of(&["pwrite64", "pwritev", "pwritev2", "write"]);
    let fsyncs = of(&["fdatasync", "fsync"]);
    let all: u64 = calls.values().sum();
    // A new segment is begun each 1000 commits.
    let few = COMMITS / 50;
    assert!((COMMITS..=COMMITS + few).contains(&writes), "{COMMITS} commits wrote {writes} times: {calls:?}");
    assert!(
        (COMMITS * syncs..=COMMITS * syncs + few).contains(&fsyncs),
        "{COMMITS} commits made {fsyncs} fsyncs: {calls:?}"
    );
    // On a busy machine, threads that wait for each other for a moment yield instead.
    let looks = of(&["statx", "lstat", "newfstatat"]);
    assert!(looks <= fsyncs + few, "{COMMITS} commits looked for a name {looks} times: {calls:?}");
    let others = all - writes - fsyncs - looks - of(&MEMORY) - of(&["sched_yield"]);
    assert!(others <= few, "{COMMITS} commits made {others} other system calls: {calls:?}");
}

#[test]
fn a_commit_of_one_row_is_one_write() {
    assert_calls("NORMAL", "UPDATE t SET n = n + 1 WHERE id = ?1", 0);
    assert_calls("NORMAL", "INSERT INTO t (n) VALUES (?1)", 0);
}

#[test]
fn a_durable_commit_of_one_row_is_one_write_and_one_fsync() {
    assert_calls("FULL", "UPDATE t SET n = n + 1 WHERE id = ?1", 1);
}

/// While storage is away, frames pile up that no pass may bring to the database file. The threads try again from time to time, and
/// do not run in circles.
#[test]
fn a_database_that_waits_for_storage_does_next_to_nothing() {
    let params = "vwal_storage=file:///nothing/is/here&vwal_checkpoint_size=4096&vwal_checkpoint_age_ms=50";
    let Some(trace) = traced(params, "NORMAL", "") else { return };
    let calls = between_the_marks(&trace, true);
    let all: u64 = calls.values().sum();
    assert!(all < 2000, "in 3 s it made {all} system calls: {calls:?}");
}
