//! A forked child: every call of its connections is an error, and the parent does not notice.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::lab::{Engine, Lab, open_uri};
use crate::remote::Process;
use crate::text::{assert_intact, query, run};

/// Requests that only this file makes of a child process.
pub fn in_child(request: &str, connections: &mut HashMap<String, Connection>) -> String {
    match request.split_once(' ') {
        Some(("fork", name)) => fork_and_try(&connections[name]),
        Some(("fork-and-open", uri)) => fork_and_open(uri),
        _ => format!("!unknown request {request}"),
    }
}

/// Forks. The forked process opens a connection of its own and writes through it. Returns what came of that.
fn fork_and_open(uri: &str) -> String {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for the two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: as in `fork_and_try`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "a child is forked");
    if pid == 0 {
        let text = match open_uri(uri) {
            Ok(db) => run(&db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES (99) RETURNING x"),
            Err(error) => format!("!{error}"),
        };
        // SAFETY: the descriptor is open and the buffer is as long as said; then the child leaves without running
        // destructors that belong to the parent.
        unsafe {
            libc::write(pipe[1], text.as_ptr().cast(), text.len());
            libc::_exit(0);
        }
    }
    // SAFETY: the descriptor is this process's own.
    unsafe { libc::close(pipe[1]) };
    let mut text = Vec::new();
    // SAFETY: the descriptor is open, and this is its only owner from here on.
    let mut reader: std::fs::File = unsafe { std::os::fd::FromRawFd::from_raw_fd(pipe[0]) };
    std::io::Read::read_to_end(&mut reader, &mut text).expect("the child answers");
    // SAFETY: it is the child that was forked above.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn invariant_12_a_forked_child_opens_nothing_while_its_parent_has_something_open() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let mut parent = Process::start();
    assert_eq!(parent.open("x", &uri), "");
    assert_eq!(parent.sql("x", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"), "");
    for uri in [uri.clone(), Engine::Vwal.uri(&lab.path("b.db"), "")] {
        let answer = parent.ask(&format!("fork-and-open {uri}"));
        assert!(answer.starts_with('!') && answer.contains("was forked"), "{answer}");
    }
    assert_eq!(parent.sql("x", "INSERT INTO t VALUES (2); SELECT * FROM t"), "1\n2");
    // Later it may.
    parent.close("x");
    assert_eq!(parent.ask(&format!("fork-and-open {uri}")), "99");
    assert_eq!(parent.open("x", &uri), "");
    assert_eq!(parent.sql("x", "SELECT * FROM t"), "1\n2\n99");
}

/// Forks. The forked process tries everything on `db`, reports what succeeded, and then lives on, with all that it has
/// inherited, until its parent kills it. Returns its process id, a space, and what it managed to do.
fn fork_and_try(db: &Connection) -> String {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for the two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: this process has no other thread that could hold a lock of the allocator or of the standard library: the
    // harness runs its single test on the main thread; the threads of vwal are what the test is about.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "a child is forked");
    if pid == 0 {
        let attempts = [
            "SELECT count(*) FROM t",
            "INSERT INTO t VALUES (99)",
            "BEGIN IMMEDIATE",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA journal_mode=DELETE",
            "SELECT vwal_sync()",
            "SELECT vwal_checkpoint()",
            "VACUUM",
        ];
        // An error, or the first column of `wal_checkpoint` that says busy.
        let refused = |result: &str| result.contains('!') || result.starts_with("1|");
        let done: Vec<&str> = attempts.into_iter().filter(|sql| !refused(&run(db, sql))).collect();
        let text = if done.is_empty() { "nothing".to_owned() } else { done.join("; ") };
        // SAFETY: the descriptor is open and the buffer is as long as said; then the child only sleeps, and leaves
        // without running destructors that belong to the parent.
        unsafe {
            libc::write(pipe[1], text.as_ptr().cast(), text.len());
            libc::close(pipe[1]);
            libc::close(pipe[0]);
            libc::sleep(60);
            libc::_exit(0);
        }
    }
    // SAFETY: the descriptor is this process's own.
    unsafe { libc::close(pipe[1]) };
    let mut text = [0_u8; 1000];
    let mut length = 0;
    loop {
        // SAFETY: the buffer has that much room left.
        let count = unsafe { libc::read(pipe[0], text[length..].as_mut_ptr().cast(), text.len() - length) };
        if count <= 0 {
            break;
        }
        length += count as usize;
    }
    // SAFETY: the descriptor is this process's own.
    unsafe { libc::close(pipe[0]) };
    format!("{pid} {}", String::from_utf8_lossy(&text[..length]))
}

#[test]
fn invariant_12_a_forked_child_can_do_nothing_and_does_no_harm() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let mut parent = Process::start();
    assert_eq!(parent.open("x", &uri), "");
    assert_eq!(parent.sql("x", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"), "");
    let answer = parent.ask("fork x");
    let (pid, done) = answer.split_once(' ').expect("a process id and a word");
    assert_eq!(done, "nothing", "the forked child may do nothing");

    // The parent is unharmed, with the child alive.
    assert_eq!(parent.sql("x", "INSERT INTO t VALUES (2); SELECT * FROM t"), "1\n2");
    assert_eq!(parent.sql("x", "PRAGMA wal_checkpoint(TRUNCATE)"), "0|0|0");
    let beside = lab.open("a.db");
    let both = format!("{}\n{}", parent.id(), std::process::id());
    assert_eq!(query(&beside, "SELECT pid FROM vwal_processes ORDER BY slot"), both, "and not the child");
    drop(beside);
    parent.close("x");

    // The child lives on with what it inherited, and is not in the way.
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    query(&db, "INSERT INTO t VALUES (3)");
    assert_intact(&db, "main");
    // SAFETY: it is the child that was forked for this test, and still asleep.
    assert_eq!(unsafe { libc::kill(pid.parse().expect("a process id"), libc::SIGKILL) }, 0);
}

#[test]
fn does_not_hold_the_database_of_a_parent_that_died() {
    let lab = Lab::new(Engine::Vwal);
    let mut parent = Process::start();
    assert_eq!(parent.open("x", &Engine::Vwal.uri(&lab.path("a.db"), "")), "");
    assert_eq!(parent.sql("x", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"), "");
    let answer = parent.ask("fork x");
    let (pid, _) = answer.split_once(' ').expect("a process id and a word");
    parent.kill();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1");
    assert_intact(&db, "main");
    // SAFETY: it is the child that was forked for this test, and still asleep.
    assert_eq!(unsafe { libc::kill(pid.parse().expect("a process id"), libc::SIGKILL) }, 0);
}
