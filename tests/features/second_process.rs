//! A second process on the same database. What both see of each other is in `tests/processes`; here one of them is the test itself, with the library
//! linked.

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::text::{assert_intact, query};

#[test]
fn a_second_process_has_the_database_open_as_well() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    let mut other = Process::start();
    assert_eq!(other.open("x", &uri), "");
    assert_eq!(other.sql("x", "INSERT INTO t VALUES (2); SELECT * FROM t"), "1\n2");
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    let both = format!("{}\n{}", std::process::id(), other.id());
    assert_eq!(query(&db, "SELECT pid FROM vwal_processes ORDER BY slot"), both);
    drop(db);
    assert_eq!(other.sql("x", "INSERT INTO t VALUES (3); SELECT * FROM t"), "1\n2\n3");
}

#[test]
fn goes_on_when_the_first_is_killed() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let mut first = Process::start();
    assert_eq!(first.open("x", &uri), "");
    assert_eq!(first.sql("x", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"), "");
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1");
    assert_eq!(first.sql("x", "INSERT INTO t VALUES (2)"), "");
    // In a transaction, with the write lock.
    assert_eq!(first.sql("x", "BEGIN IMMEDIATE; INSERT INTO t VALUES (9)"), "");
    first.kill();
    assert_eq!(query(&db, "INSERT INTO t VALUES (3); SELECT * FROM t"), "1\n2\n3");
    assert_intact(&db, "main");
}

#[test]
fn an_attached_database_is_shared_too() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("b.db"), "");
    query(&lab.create("b.db", ""), "CREATE TABLE t(x)");
    let db = lab.create("a.db", "");
    query(&db, &format!("ATTACH '{uri}' AS b; INSERT INTO b.t VALUES (1)"));
    let mut other = Process::start();
    assert_eq!(other.open("x", &uri), "");
    assert_eq!(other.sql("x", "SELECT * FROM t; INSERT INTO t VALUES (2)"), "1");
    assert_eq!(query(&db, "SELECT * FROM b.t"), "1\n2");
}

/// A process that writes nothing to the log directory cannot tell the others that it reads.
#[test]
fn invariant_12_one_that_cannot_share_it_is_told_who_has_it_and_changes_nothing() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    let mut other = Process::start();
    let answer = other.open("x", &format!("{uri}&mode=ro&vwal_read_only=on"));
    assert!(answer.starts_with("!5"), "SQLITE_BUSY, not {answer}");
    assert!(answer.contains(&format!("process {}", std::process::id())), "{answer}");
    query(&db, "INSERT INTO t VALUES (2)");
    drop(db);
    assert_eq!(other.open("x", &format!("{uri}&mode=ro&vwal_read_only=on")), "");
    assert_eq!(other.sql("x", "SELECT * FROM t"), "1\n2");
    let error = lab.open_with("a.db", "").expect_err("the other process has it alone").to_string();
    assert!(error.contains("in use by another process, which cannot share it"), "{error}");
}
