//! A second process on the same database is told who holds it, and changes nothing.

use crate::lab::{Engine, Lab};
use crate::remote::Process;
use crate::text::{assert_intact, query};

#[test]
fn invariant_12_a_second_process_is_told_who_holds_it_and_changes_nothing() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    let mut other = Process::start();
    for params in ["", "&mode=ro"] {
        let answer = other.open("x", &format!("{uri}{params}"));
        assert!(answer.starts_with("!5"), "SQLITE_BUSY, not {answer}");
        let me = std::process::id().to_string();
        assert!(answer.contains(&format!("process {me}")), "{answer:?} names process {me}");
    }
    query(&db, "INSERT INTO t VALUES (2)");
    drop(db);
    assert_eq!(other.open("x", &uri), "");
    assert_eq!(other.sql("x", "INSERT INTO t VALUES (3); SELECT * FROM t"), "1\n2\n3");
}

#[test]
fn finds_the_database_free_when_the_first_is_killed() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("a.db"), "");
    let mut first = Process::start();
    assert_eq!(first.open("x", &uri), "");
    assert_eq!(first.sql("x", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"), "");
    let error = lab.open_with("a.db", "").expect_err("the first process holds it").to_string();
    assert!(error.contains(&format!("process {}", first.id())), "{error}");
    assert_eq!(first.sql("x", "INSERT INTO t VALUES (2)"), "");
    first.kill();
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM t"), "1\n2");
    assert_intact(&db, "main");
}

#[test]
fn is_kept_out_by_an_attached_database_too() {
    let lab = Lab::new(Engine::Vwal);
    let uri = Engine::Vwal.uri(&lab.path("b.db"), "");
    query(&lab.create("b.db", ""), "CREATE TABLE t(x)");
    let db = lab.create("a.db", "");
    query(&db, &format!("ATTACH '{uri}' AS b; INSERT INTO b.t VALUES (1)"));
    let mut other = Process::start();
    let answer = other.open("x", &uri);
    assert!(answer.starts_with("!5"), "SQLITE_BUSY, not {answer}");
    query(&db, "DETACH b");
    assert_eq!(other.open("x", &uri), "");
    let refused = crate::text::run(&db, &format!("ATTACH '{uri}' AS b; SELECT * FROM b.t"));
    assert!(refused.starts_with("!5"), "SQLITE_BUSY, not {refused}");
}
