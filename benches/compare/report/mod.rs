//! What the benchmark has to say, as data: written as JSON, and read again to draw the charts.

pub mod chart;
mod lines;
pub mod machine;
pub mod markdown;
pub mod scale_chart;
pub mod svg;
pub mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::args::Settings;
use crate::engine::Contestant;
use crate::measure::Usage;
use crate::scale::Scale;

pub use lines::{lines, median};

/// The one data set.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub machine: machine::Machine,
    pub short: bool,
    pub nightly: bool,
    pub pairs: usize,
    pub settings: Settings,
    pub lines: Vec<Line>,
    pub scale: Option<Scale>,
    /// Rows that failed, and what was left out, and why.
    pub failures: Vec<String>,
    pub left_out: Vec<String>,
}

impl Report {
    /// Whether a run failed.
    pub fn failed(&self) -> bool {
        !self.failures.is_empty()
    }
}

/// A line of the table.
#[derive(Serialize, Deserialize)]
pub struct Line {
    pub row: String,
    pub title: String,
    pub unit: String,
    pub sides: Vec<Side>,
    pub ratios: Vec<Ratio>,
    pub goals: Vec<Outcome>,
}

/// A contestant's figures.
#[derive(Serialize, Deserialize)]
pub struct Side {
    pub contestant: Contestant,
    /// Operations per second of each run; none, when the row is about something else.
    pub rates: Vec<f64>,
    /// Their median.
    pub rate: Option<f64>,
    /// Of all runs together.
    pub latency: Option<Latency>,
    /// The rest are medians over the runs.
    pub cpu_us: f64,
    pub peak_memory: f64,
    pub memory_before: f64,
    /// Bytes per operation; what each of them is stands in `measure::Usage`.
    pub write_bytes: f64,
    pub dirty_bytes: f64,
    pub disk_bytes: Option<f64>,
    pub commits_per_fsync: Option<f64>,
    pub values: BTreeMap<String, f64>,
    /// Of each run.
    pub runs: Vec<Measured>,
}

/// What one run gave.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    /// Of what the line is about; none, when the row is about something else.
    pub seconds: Option<f64>,
    pub count: Option<u64>,
    /// The cost of `operations` operations.
    pub usage: Usage,
    pub operations: u64,
    pub values: BTreeMap<String, f64>,
}

/// Microseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// How many operations were timed.
    pub count: u64,
}

/// The rate of one as a multiple of another's.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Ratio {
    pub of: Contestant,
    pub to: Contestant,
    /// Of the medians.
    pub ratio: f64,
    /// Lowest and highest within a pair.
    pub low: f64,
    pub high: f64,
}

/// What became of a goal.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    /// What is wanted, in short: "3 ×", "p99.9 at most 0.2 ×".
    pub wanted: String,
    /// The bound, when the goal is about the ratio to stock SQLite that the chart shows.
    pub least: Option<f64>,
    pub got: f64,
    pub met: bool,
}

impl Line {
    pub fn side(&self, contestant: Contestant) -> Option<&Side> {
        self.sides.iter().find(|side| side.contestant == contestant)
    }

    pub fn ratio(&self, of: Contestant, to: Contestant) -> Option<Ratio> {
        self.ratios.iter().copied().find(|ratio| ratio.of == of && ratio.to == to)
    }

    /// vwal's figure as a multiple of stock SQLite's.
    pub fn times(&self, figure: impl Fn(&Side) -> Option<f64>) -> Option<f64> {
        let of = |contestant| self.side(contestant).and_then(&figure);
        Some(of(Contestant::Vwal)? / of(Contestant::Stock)?)
    }
}
