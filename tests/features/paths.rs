//! Paths: symbolic links, and names that need care in a URI.

use std::os::unix::fs::symlink;

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

#[test]
fn unusual_names() {
    for name in [
        "with space.db",
        "per%cent%41.db",
        "what?.db",
        "hash#tag.db",
        "Ümläut-日本.db",
        "a&b=c;d.db",
        "it's.db",
    ] {
        same_as_stock(|lab, record| {
            let db = lab.create(name, "");
            record.ok(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
            record.note("the -wal is beside it", lab.wal(name).exists());
            drop(db);
            record.note("the file", lab.path(name).is_file());
            record.content(&lab.open(name), "main");
        });
    }
}

#[test]
fn a_directory_with_an_unusual_name() {
    same_as_stock(|lab, record| {
        std::fs::create_dir(lab.path("ein Verzeichnis %20 ?ß")).unwrap();
        let name = "ein Verzeichnis %20 ?ß/a.db";
        record.ok(&lab.create(name, ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        record.content(&lab.open(name), "main");
    });
}

#[test]
fn the_status_row_shows_the_path() {
    let lab = Lab::new(Engine::Vwal);
    let name = "Ümläut ?%.db";
    let db = lab.create(name, "");
    query(&db, "CREATE TABLE t(x)");
    let path = std::fs::canonicalize(lab.path(name)).unwrap();
    assert_eq!(query(&db, "SELECT path FROM vwal_status"), path.to_str().unwrap());
}

#[test]
fn a_symbolic_link_is_the_file_that_it_names() {
    for first in ["real/a.db", "link.db"] {
        let lab = Lab::new(Engine::Vwal);
        std::fs::create_dir(lab.path("real")).unwrap();
        symlink(lab.path("real/a.db"), lab.path("link.db")).unwrap();
        if first == "link.db" {
            // A link to nothing yet: made by stock SQLite through the link as well.
            query(&lab.open_stock("link.db").unwrap(), "PRAGMA user_version=1");
        }
        let one = lab.create(first, "");
        query(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        let other = lab.open(if first == "link.db" { "real/a.db" } else { "link.db" });
        assert_eq!(query(&other, "SELECT * FROM t"), "1");
        query(&other, "INSERT INTO t VALUES (2)");
        assert_eq!(query(&one, "SELECT * FROM t"), "1\n2");
        assert_eq!(query(&one, "SELECT vwal_log_id()"), query(&other, "SELECT vwal_log_id()"));
        assert!(lab.wal("real/a.db").is_dir(), "the log lies beside the real file");
        assert!(!lab.wal("link.db").exists(), "and not beside the link");
        drop((one, other));
        assert_intact(&lab.open("link.db"), "main");
        assert!(lab.path("link.db").is_symlink());
    }
}

#[test]
fn a_relative_path_and_an_absolute_one_are_the_same_database() {
    let lab = Lab::new(Engine::Vwal);
    std::fs::create_dir(lab.path("sub")).unwrap();
    let one = lab.create("a.db", "");
    query(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    let other = lab.open("sub/../a.db");
    assert_eq!(query(&other, "SELECT * FROM t"), "1");
    assert_eq!(query(&one, "SELECT vwal_log_id()"), query(&other, "SELECT vwal_log_id()"));
}

#[test]
fn a_hard_link_is_the_same_file_but_has_another_log() {
    // Stock SQLite has no answer to this (https://sqlite.org/howtocorrupt.html#_multiple_links_to_the_same_file).
    // One process can tell, and must not let two logs feed one file.
    let lab = Lab::new(Engine::Vwal);
    let one = lab.create("a.db", "");
    query(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    std::fs::hard_link(lab.path("a.db"), lab.path("hard.db")).unwrap();
    match lab.open_with("hard.db", "") {
        Err(_) => {}
        Ok(other) => {
            let seen = crate::text::run(&other, "SELECT * FROM t; INSERT INTO t VALUES (2)");
            assert!(seen == "1\n" || seen.starts_with('!'), "one log, or a refusal, not {seen:?}");
        }
    }
    assert!(query(&one, "SELECT * FROM t").starts_with('1'));
    assert_intact(&one, "main");
}
