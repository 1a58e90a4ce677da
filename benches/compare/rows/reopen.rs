//! Opening a database whose process was killed with a long log.
//!
//! A first process makes the log, of transactions of 20 updates, with automatic checkpoints off in both engines, and is killed.
//! A second one opens the database, reads a row, and then all rows, which tell whether every transaction is there. Each run makes a log
//! of its own, so that none finds what the opening before it has put in order.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use vwal::Options;

use crate::args::Settings;
use crate::bench::{Bench, DROP_CACHES};
use crate::child::{Ending, Job, Run, run, say_and_wait_for_death};
use crate::engine::{Contestant, Lab, Random, read, update_some, without_checkpoints};
use crate::goal::Goal;
use crate::measure::Mark;
use crate::rows::Row;
use crate::samples::Series;

/// Updates of a transaction.
const UPDATES: usize = 20;

pub const fn row(
    name: &'static str,
    title: &'static str,
    lines: &'static [(&'static str, &'static [Goal])],
) -> Row {
    Row { name, title, unit: "opens", contestants: super::TWO, lines, drive, work }
}

fn drive(bench: &Bench, row: &Row, contestant: Contestant, settings: &Settings) -> Result<Run, String> {
    let dir = bench.lab()?;
    let mut job = bench.job(row.name, contestant, dir.path(), settings)?;
    job.part = "write".to_owned();
    let written = run(&job, Ending::Kill)?;
    job.part = "open".to_owned();
    job.values = written.values;
    rustix::fs::sync();
    if row.name == "reopen-cold" {
        std::fs::write(DROP_CACHES, "3").map_err(|error| format!("{DROP_CACHES}: {error}"))?;
    }
    run(&job, Ending::Kill)
}

fn work(job: &Job) -> Run {
    match job.part.as_str() {
        "write" => write(job),
        "open" => open(job),
        other => panic!("there is no part '{other}'"),
    }
}

fn options() -> Options {
    without_checkpoints(Options::new())
}

fn connect(lab: &Lab) -> Connection {
    let conn = lab.open("NORMAL");
    conn.execute_batch("PRAGMA wal_autocheckpoint=0").expect("no automatic checkpoints");
    conn
}

fn write(job: &Job) -> Run {
    let lab = Lab::loaded(job, options());
    let conn = connect(&lab);
    let log_size = lab.log_size(&conn);
    let mut random = Random(7);
    // The same transactions for both engines: nearly each update changes a page that no other one of its transaction does.
    let transactions = job.settings.crash_log / (UPDATES as u64 * 4096);
    for _ in 0..transactions {
        update_some(&conn, &mut random, job.settings.rows, UPDATES);
    }
    let run = Run::default()
        .value("updates", (transactions * UPDATES as u64) as f64)
        .value("log, MiB", log_size() as f64 / f64::from(1 << 20));
    say_and_wait_for_death(&run)
}

fn open(job: &Job) -> Run {
    let lab = Lab::existing(job, options());
    assert!(Path::new(lab.path()).exists(), "the database is there");
    let mark = Mark::set(job, None);
    let start = Instant::now();
    let conn = connect(&lab);
    read(&conn, job.settings.rows / 2);
    let first = start.elapsed().as_secs_f64();
    let sum: i64 = conn.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).expect("a sum");
    let all = start.elapsed().as_secs_f64();
    let usage = mark.end();
    assert_eq!(sum as f64, job.values["updates"], "every update is there");
    let series =
        |label: &str, seconds| Series { label: label.to_owned(), seconds, count: 1, latencies: vec![] };
    let mut run = Run {
        series: vec![series("first read", first), series("full scan", all)],
        usage,
        operations: 1,
        values: job.values.clone(),
    };
    run.values.insert("open and first read, ms".to_owned(), first * 1e3);
    run.values.insert("with a full scan, ms".to_owned(), all * 1e3);
    say_and_wait_for_death(&run)
}
