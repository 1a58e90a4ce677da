//! How cost grows: per commit with the size of the database, of opening after a crash with the length of the log, memory with
//! the size of the database. The work is that of the rows `update1`, `reopen` and `memory`.

use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Runs};
use crate::child::Run;
use crate::engine::BYTES_PER_ROW;
use crate::engine::Contestant::{self, Stock, Vwal};
use crate::report::table::short;
use crate::rows::{self, Row};

/// The three charts.
#[derive(Default, Serialize, Deserialize)]
pub struct Scale {
    /// Microseconds per commit, by bytes of the database.
    pub commit: Vec<Point>,
    /// Milliseconds until the first read, by bytes of the log.
    pub reopen: Vec<Point>,
    /// MiB beyond what the process had before, by bytes of the database.
    pub memory: Vec<Point>,
}

/// The median of the runs and their spread, at one size.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    pub contestant: Contestant,
    pub bytes: u64,
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Scale {
    /// Measure. `progress` hears of every round.
    pub fn measure(
        bench: &Bench,
        pairs: usize,
        mut progress: impl FnMut(&str, usize),
    ) -> Result<Scale, String> {
        let all = rows::all();
        let row = |name: &str| all.iter().find(|row| row.name == name).ok_or(format!("no row {name}"));
        let (update, reopen, memory) = (row("update1")?, row("reopen")?, row("memory")?);
        let mut scale = Scale::default();
        let mut runs = |what: &str, once: &dyn Fn(Contestant) -> Result<Run, String>| {
            Bench::rounds(&[Stock, Vwal], pairs, |round| progress(what, round), once)
        };
        for &bytes in &bench.settings.scale_sizes {
            let rows = (bytes / BYTES_PER_ROW) as i64;
            let what = format!("scale: database of {} MB", bytes / 1_000_000);
            let done =
                runs(&what, &|contestant| with(bench, update, contestant, |settings| settings.rows = rows))?;
            let cost = |run: &Run| run.series.first().map(|series| 1e6 / series.per_second());
            scale.commit.extend(points(&done, bytes, cost));
            let done =
                runs(&what, &|contestant| rows::memory::of_size(bench, memory, contestant, bytes, ""))?;
            let grown =
                |run: &Run| run.values.get(rows::memory::PEAK).map(|bytes| bytes / f64::from(1 << 20));
            scale.memory.extend(points(&done, bytes, grown));
        }
        for &bytes in &bench.settings.scale_logs {
            let what = format!("scale: log of {} MiB", bytes >> 20);
            let done = runs(&what, &|contestant| {
                with(bench, reopen, contestant, |settings| settings.crash_log = bytes)
            })?;
            let time = |run: &Run| run.series.first().map(|series| 1e3 * series.seconds);
            scale.reopen.extend(points(&done, bytes, time));
        }
        Ok(scale)
    }

    pub fn print(&self) {
        for (what, points) in [
            ("µs per commit of 1-row random updates, by the size of the database", &self.commit),
            ("ms until the first read after a crash, by the size of the log", &self.reopen),
            (
                "MiB of memory that changing every page takes at most (row memory), by the size of the database",
                &self.memory,
            ),
        ] {
            println!("  {what}");
            for point in points {
                println!(
                    "    {:>8} {:<6} {:>9} ({}..{})",
                    size(point.bytes),
                    point.contestant.name(),
                    short(point.median),
                    short(point.low),
                    short(point.high)
                );
            }
        }
    }
}

/// One run of a row with other settings.
fn with(
    bench: &Bench,
    row: &Row,
    contestant: Contestant,
    change: impl Fn(&mut crate::args::Settings),
) -> Result<Run, String> {
    let mut settings = bench.settings.clone();
    change(&mut settings);
    (row.drive)(bench, row, contestant, &settings)
}

fn points(runs: &Runs, bytes: u64, figure: impl Fn(&Run) -> Option<f64>) -> Vec<Point> {
    let point = |(&contestant, runs): (&Contestant, &Vec<Run>)| {
        let figures: Vec<f64> = runs.iter().filter_map(&figure).collect();
        let low = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figures.iter().copied().fold(0.0, f64::max);
        Point { contestant, bytes, median: crate::report::median(figures), low, high }
    };
    runs.iter().map(point).collect()
}

/// Bytes in short: whole powers of two in MiB and GiB, others in MB and GB.
pub fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1_000_000_000 => format!("{} GB", bytes / 1_000_000_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
