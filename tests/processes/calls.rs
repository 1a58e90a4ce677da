//! What a transaction asks of the kernel while another process has the database open: the same as alone. A read transaction nothing,
//! a commit with `synchronous=NORMAL` one write.
//!
//! The process runs under strace. Without strace the tests say so and pass; with `CI` in the environment they fail instead.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Child;
use crate::member::Member;
use crate::setting::{Engine, bare, python};

/// Transactions of a run.
const TIMES: u64 = 2000;
/// System calls that a read transaction may make, and a commit beside its write.
const MORE: u64 = 0;
/// Of all transactions: segments that are begun, and threads that meet.
const FEW: u64 = TIMES / 50;
/// How the memory of a process grows.
const MEMORY: [&str; 5] = ["brk", "mmap", "munmap", "madvise", "mremap"];
/// What writes.
const WRITES: [&str; 4] = ["pwrite64", "pwritev", "pwritev2", "write"];
/// The longest run.
const LIMIT: Duration = Duration::from_secs(120);

/// The system calls of the thread that works, by name. `None`: there is no strace.
fn counted(engine: Engine, home: &Path, what: &str) -> Option<BTreeMap<String, u64>> {
    let script = python("calls.py", engine, home);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "trace"]).arg(script.get_program()).args(script.get_args());
    strace.args([what, &TIMES.to_string()]).current_dir(home);
    bare(&mut strace);
    if let Err(error) = Command::new("strace").arg("-V").output() {
        assert!(std::env::var_os("CI").is_none(), "strace cannot be started: {error}");
        eprintln!("SKIPPED: strace cannot be started: {error}");
        return None;
    }
    let mut child = Child::start("the traced process", strace);
    match child.ended(LIMIT) {
        Some(status) => assert!(status.success(), "{status}: {}", child.portrait()),
        None => panic!("not in {LIMIT:?}: {}", child.portrait()),
    }
    let trace = std::fs::read_to_string(home.join("trace")).expect("a trace");
    let mut lines = trace.lines();
    let begin = lines.by_ref().find(|line| line.contains("the-work-begins")).expect("the work begins");
    let thread = begin.split_whitespace().next().expect("a thread");
    let mut calls = BTreeMap::new();
    for line in lines.take_while(|line| !line.contains("the-work-ends")) {
        let (pid, call) = line.split_once(' ').expect("a thread and a call");
        // "<... pwrite64 resumed>" is the end of a call that has been counted; "+++" and "---" are none.
        if pid == thread
            && let Some((name, _)) = call.trim_start().split_once('(')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    Some(calls)
}

/// Counts alone or beside another process that is idle, which has read and written before.
fn assert_calls(engine: Engine, is_beside: bool, what: &str, writes: u64) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut other = Member::start("other", engine, home.path());
    assert_eq!(other.open("mode=rwc", 60_000), "");
    other.rows(
        "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, n);
         WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i, 0 FROM n",
    );
    if !is_beside {
        assert!(other.ask(".close").lines.is_empty());
    }
    let Some(calls) = counted(engine, home.path(), what) else { return };
    println!("{engine:?}, {what}, {}: {calls:?}", if is_beside { "beside" } else { "alone" });
    if is_beside {
        let done = if what == "commit" { 1000 + TIMES } else { 0 };
        assert_eq!(other.rows("SELECT sum(n) FROM t"), [done.to_string()]);
    }
    if engine == Engine::Stock {
        return;
    }
    let of = |names: &[&str]| names.iter().filter_map(|&name| calls.get(name)).sum::<u64>();
    let written = of(&WRITES);
    let others = calls.values().sum::<u64>() - written - of(&MEMORY) - of(&["sched_yield"]);
    assert!(
        (writes * TIMES..=writes * TIMES + FEW).contains(&written),
        "{TIMES} times wrote {written} times: {calls:?}"
    );
    assert!(others <= MORE * TIMES + FEW, "{TIMES} times made {others} other system calls: {calls:?}");
}

#[test]
fn a_read_transaction() {
    assert_calls(Engine::Vwal, false, "read", 0);
    for engine in Engine::all() {
        assert_calls(engine, true, "read", 0);
    }
}

#[test]
fn a_commit() {
    assert_calls(Engine::Vwal, false, "commit", 1);
    for engine in Engine::all() {
        assert_calls(engine, true, "commit", 1);
    }
}
