//! `vwal demo`.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::Value;

use crate::run::{command, log_dir, ran, run};

#[test]
fn the_demonstration_proves_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--json", "demo", "--rounds", "2", "--seconds", "0.6", "--dir"];
    let run = ran(command().args(args).arg(dir.path()).output().unwrap());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["verdict"], "proved", "{report:#}");
    assert_eq!((&report["lost"], &report["half_written"]), (&0.into(), &0.into()));
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("acknowledged") > 200, "200 are from after the last kill: {report:#}");
    assert!(number("found") >= number("acknowledged"));
    assert!(number("rows") > 40_000 && number("tables") >= 5);
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
    assert!(
        report["rounds"].as_array().unwrap().iter().all(|round| round["acknowledged"].as_u64().unwrap() > 0)
    );
    assert!(!report["segments"].as_array().unwrap().is_empty());
    assert_eq!(report["footer"]["log_id"], report["log_id"]);
    let points = report["points"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    assert!(points.iter().all(|point| point["equal"] == true), "{report:#}");
    assert!(points.windows(2).all(|pair| pair[0]["frame_no"].as_u64() < pair[1]["frame_no"].as_u64()));
    assert_eq!(report["kept"], Value::Null);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    assert!(run.stderr.contains("killed after"), "{}", run.stderr);
}

#[test]
fn the_demonstration_takes_a_database_that_is_in_use_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("my app.db");
    let conn = Connection::open(&db).unwrap();
    conn.execute_batch(
        "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE t (x PRIMARY KEY, y) WITHOUT ROWID;
         CREATE TABLE changed (what); CREATE TABLE r (a, b AS (a || 'x')); INSERT INTO r VALUES (1), (NULL), (x'00');
         CREATE TRIGGER spoil AFTER UPDATE ON r BEGIN INSERT INTO changed VALUES (new.a); END;
         INSERT INTO t VALUES (1, 'one'), (2, zeroblob(5000));",
    )
    .unwrap();
    let work = tempfile::tempdir().unwrap();
    let args =
        ["demo", "--keep", "--rounds", "1", "--seconds", "0.5", "--synchronous", "normal", "--json", "--dir"];
    let run = ran(command().args(args).arg(work.path()).arg(&db).output().unwrap());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!((&report["verdict"], &report["footer"]["page_size"]), (&"proved".into(), &1024.into()));
    assert!(!log_dir(&db).is_dir(), "the database itself is not touched");
    let rows: i64 = conn.query_row("SELECT count(*) FROM changed", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    // The copy is kept, and an ordinary database.
    let kept = PathBuf::from(report["kept"].as_str().unwrap());
    assert!(run.stderr.contains("kept: "), "{}", run.stderr);
    let copy = Connection::open(&kept).unwrap();
    let ledger: i64 = copy.query_row("SELECT count(*) FROM vwal_demo_ledger", [], |row| row.get(0)).unwrap();
    assert_eq!(Some(ledger), report["found"].as_i64());
    let y: String = copy.query_row("SELECT y FROM t WHERE x = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(y, "one");
}

#[test]
fn the_demonstration_says_where_it_cannot_work() {
    let run = run(["demo", "--dir", "/nonexistent/directory"]);
    assert!(run.failed().contains("/nonexistent/directory"), "{}", run.stderr);
}
