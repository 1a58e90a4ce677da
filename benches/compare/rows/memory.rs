//! Memory beyond the caches, per page of the database.
//!
//! A process without a frame cache changes every page of its database, and brings them into the base file whenever 64 MiB wait. What
//! that adds to its memory is told for a small and a large database; the difference, by the difference in pages, is what a page
//! takes. The same at once, with as long a log as that gives, is told as "in a burst": frames in the log take memory, too.

use vwal::Options;

use crate::args::Settings;
use crate::bench::Bench;
use crate::child::{Ending, Job, Run, run};
use crate::engine::{BYTES_PER_ROW, Contestant, Lab, update};
use crate::goal::Goal;
use crate::measure::{Mark, memory};
use crate::rows::Row;

/// What one run gives, beyond what there was before.
const REST: &str = "at rest, bytes";
pub const PEAK: &str = "at the peak, bytes";

const AT_REST: &str = "at rest, bytes/page";
const AT_PEAK: &str = "at the peak, bytes/page";

const IN_A_BURST: &str = "in a burst, at the peak, MiB";

/// Pages changed in a transaction, and transactions after which all is brought into the base file.
const PAGES: usize = 1024;
const TRANSACTIONS: i64 = 16;

/// The part of the work that does not do this before the end.
const BURST: &str = "burst";

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
        runs.push(of_size(bench, row, contestant, size, "")?);
    }
    let burst = of_size(bench, row, contestant, settings.memory_sizes[1], BURST)?;
    let [small, mut large] = <[Run; 2]>::try_from(runs).map_err(|_| "two sizes are wanted".to_owned())?;
    let slope = |name: &str| {
        (large.values[name] - small.values[name]) / (large.values["pages"] - small.values["pages"])
    };
    let slopes = [slope(REST), slope(PEAK)];
    large.values.insert(AT_REST.to_owned(), slopes[0]);
    large.values.insert(AT_PEAK.to_owned(), slopes[1]);
    large.values.insert(IN_A_BURST.to_owned(), burst.values[PEAK] / f64::from(1 << 20));
    Ok(large)
}

/// One run with a database of `size` bytes; `part`: nothing, or [`BURST`]. Its values are [`REST`] and [`PEAK`].
pub fn of_size(
    bench: &Bench,
    row: &Row,
    contestant: Contestant,
    size: u64,
    part: &str,
) -> Result<Run, String> {
    let dir = bench.lab()?;
    let mut settings = bench.settings.clone();
    settings.rows = (size / BYTES_PER_ROW) as i64;
    let mut job = bench.job(row.name, contestant, dir.path(), &settings)?;
    job.part = part.to_owned();
    run(&job, Ending::Exit)
}

fn work(job: &Job) -> Run {
    let lab = Lab::loaded(job, Options::new().cache_size(0));
    let conn = lab.open("NORMAL");
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("pages");
    let mark = Mark::set(job, None);
    let before = memory("VmRSS:");
    let step = usize::try_from((job.settings.rows / pages).max(1)).expect("a step");
    let mut ids = (1..=job.settings.rows).step_by(step).peekable();
    let mut transactions = 0;
    while ids.peek().is_some() {
        conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
        ids.by_ref().take(PAGES).for_each(|id| update(&conn, id));
        conn.execute_batch("COMMIT").expect("commit");
        transactions += 1;
        if job.part != BURST && transactions % TRANSACTIONS == 0 {
            lab.drain(&conn);
        }
    }
    lab.drain(&conn);
    let rest = memory("VmRSS:").saturating_sub(before);
    let usage = mark.close(&lab, vec![conn]);
    let peak = usage.peak_memory.saturating_sub(before);
    let run = Run { series: Vec::new(), usage, operations: pages.unsigned_abs(), values: Default::default() };
    run.value("pages", pages as f64).value(REST, rest as f64).value(PEAK, peak as f64)
}
