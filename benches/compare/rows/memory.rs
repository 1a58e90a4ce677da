//! Memory beyond the caches, per page of the database.
//!
//! A process without a frame cache changes every page of its database and brings all of it into the base file. What that adds to
//! its memory is told for a small and a large database; the difference, by the difference in pages, is what a page takes.

use vwal::Options;

use crate::args::Settings;
use crate::bench::Bench;
use crate::child::{Ending, Job, Run, run};
use crate::engine::{BYTES_PER_ROW, Contestant, Lab, update};
use crate::goal::Goal;
use crate::measure::{Mark, memory};
use crate::rows::Row;

const AT_REST: &str = "at rest, bytes/page";
const AT_PEAK: &str = "at the peak, bytes/page";

/// Pages changed in a transaction.
const PAGES: i64 = 1000;

pub const fn row() -> Row {
    Row {
        name: "memory",
        title: "memory per page of the database",
        unit: "pages",
        contestants: super::TWO,
        // "About 4 bytes" of the goal, less than 5.
        lines: &[("", &[Goal::AtMost { value: AT_REST, most: 5.0 }])],
        drive,
        work,
    }
}

fn drive(bench: &Bench, row: &Row, contestant: Contestant, settings: &Settings) -> Result<Run, String> {
    let mut runs = Vec::new();
    for size in settings.memory_sizes {
        runs.push(of_size(bench, row, contestant, size)?);
    }
    let [small, mut large] = <[Run; 2]>::try_from(runs).map_err(|_| "two sizes are wanted".to_owned())?;
    let slope = |name: &str| {
        (large.values[name] - small.values[name]) / (large.values["pages"] - small.values["pages"])
    };
    let slopes = [slope("at rest"), slope("at the peak")];
    large.values.insert(AT_REST.to_owned(), slopes[0]);
    large.values.insert(AT_PEAK.to_owned(), slopes[1]);
    Ok(large)
}

/// One run with a database of `size` bytes. Its values are bytes "at rest" and "at the peak", beyond what there was before.
pub fn of_size(bench: &Bench, row: &Row, contestant: Contestant, size: u64) -> Result<Run, String> {
    let dir = bench.lab()?;
    let mut settings = bench.settings.clone();
    settings.rows = (size / BYTES_PER_ROW) as i64;
    run(&bench.job(row.name, contestant, dir.path(), &settings)?, Ending::Exit)
}

fn work(job: &Job) -> Run {
    let lab = Lab::loaded(job, Options::new().cache_size(0));
    let conn = lab.open("NORMAL");
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("pages");
    // The first row of a transaction takes the connection's own cache to its size.
    let mark = Mark::set(None);
    let before = memory("VmRSS:");
    let step = (job.settings.rows / pages).max(1);
    let mut id = 1;
    while id <= job.settings.rows {
        conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
        for id in (id..=job.settings.rows).step_by(step as usize).take(PAGES as usize) {
            update(&conn, id);
        }
        conn.execute_batch("COMMIT").expect("commit");
        id += PAGES * step;
    }
    lab.drain(&conn);
    let rest = memory("VmRSS:").saturating_sub(before);
    let usage = mark.close(&lab, vec![conn]);
    let peak = usage.peak_memory.saturating_sub(before);
    let run = Run { series: Vec::new(), usage, operations: pages.unsigned_abs(), values: Default::default() };
    run.value("pages", pages as f64).value("at rest", rest as f64).value("at the peak", peak as f64)
}
