//! From the runs of a row to its lines.

use std::collections::BTreeMap;

use super::{Latency, Line, Measured, Outcome, Ratio, Side};
use crate::bench::Runs;
use crate::child::Run;
use crate::engine::Contestant::{self, Bare, Stock, Vwal, VwalOff};
use crate::goal::Goal;
use crate::rows::Row;
use crate::samples::{Series, histogram};

/// The median; not a number when there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The lines of a row.
pub fn lines(row: &Row, runs: &Runs) -> Vec<Line> {
    row.lines.iter().map(|(label, goals)| line(row, label, goals, runs)).collect()
}

fn line(row: &Row, label: &str, goals: &[Goal], runs: &Runs) -> Line {
    let title = if label.is_empty() { row.title.to_owned() } else { format!("{}: {label}", row.title) };
    let sides: Vec<Side> = runs.iter().map(|(&contestant, runs)| side(contestant, label, runs)).collect();
    let pairs = [(Vwal, Stock), (VwalOff, Stock), (Vwal, Bare)];
    let mut line = Line {
        row: row.name.to_owned(),
        title,
        unit: row.unit.to_owned(),
        ratios: pairs.into_iter().filter_map(|(of, to)| ratio(&sides, of, to)).collect(),
        sides,
        goals: Vec::new(),
    };
    line.goals = goals.iter().filter_map(|goal| outcome(goal, &line)).collect();
    line
}

fn side(contestant: Contestant, label: &str, runs: &[Run]) -> Side {
    let series: Vec<&Series> =
        runs.iter().filter_map(|run| run.series.iter().find(|series| series.label == label)).collect();
    let rates: Vec<f64> = series.iter().map(|series| series.per_second()).collect();
    let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
    let per_operation = |figure: &dyn Fn(&Run) -> f64| of(&|run| figure(run) / run.operations as f64);
    let some = |figure: &dyn Fn(&Run) -> Option<f64>| {
        let figures: Vec<f64> = runs.iter().filter_map(figure).collect();
        (!figures.is_empty()).then(|| median(figures))
    };
    let mut values = BTreeMap::new();
    for name in runs.iter().flat_map(|run| run.values.keys()) {
        let all = runs.iter().filter_map(|run| run.values.get(name).copied()).collect();
        values.insert(name.clone(), median(all));
    }
    Side {
        contestant,
        rate: (!rates.is_empty()).then(|| median(rates.clone())),
        rates,
        latency: latency(&series),
        cpu_us: per_operation(&|run| run.usage.cpu_seconds * 1e6),
        peak_memory: of(&|run| run.usage.peak_memory as f64),
        memory_before: of(&|run| run.usage.memory_before as f64),
        write_bytes: per_operation(&|run| run.usage.write_bytes as f64),
        dirty_bytes: per_operation(&|run| run.usage.dirty_bytes as f64),
        disk_bytes: some(&|run| Some(run.usage.disk_bytes? as f64 / run.operations as f64)),
        commits_per_fsync: some(&|run| {
            let [commits, fsyncs] = run.usage.grouped?;
            (fsyncs > 0).then(|| commits as f64 / fsyncs as f64)
        }),
        values,
        runs: runs.iter().map(|run| measured(run, label)).collect(),
    }
}

fn measured(run: &Run, label: &str) -> Measured {
    let series = run.series.iter().find(|series| series.label == label);
    Measured {
        seconds: series.map(|series| series.seconds),
        count: series.map(|series| series.count),
        usage: run.usage.clone(),
        operations: run.operations,
        values: run.values.clone(),
    }
}

fn latency(series: &[&Series]) -> Option<Latency> {
    let mut all = histogram();
    for series in series {
        series.add_to(&mut all);
    }
    let at = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    (!all.is_empty()).then(|| Latency {
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: all.max() as f64 / 1e3,
        count: all.len(),
    })
}

fn ratio(sides: &[Side], of: Contestant, to: Contestant) -> Option<Ratio> {
    let side = |wanted| sides.iter().find(|side| side.contestant == wanted);
    let (upper, lower) = (side(of)?, side(to)?);
    let ratio = upper.rate? / lower.rate?;
    let each = || upper.rates.iter().zip(&lower.rates).map(|(upper, lower)| upper / lower);
    let (low, high) = (each().fold(f64::INFINITY, f64::min), each().fold(0.0, f64::max));
    Some(Ratio { of, to, ratio, low, high })
}

/// `None`: what the goal is about was not measured.
fn outcome(goal: &Goal, line: &Line) -> Option<Outcome> {
    let value = |name: &str| line.side(Vwal)?.values.get(name).copied();
    let outcome =
        |wanted: String, least: Option<f64>, got: f64, met: bool| Some(Outcome { wanted, least, got, met });
    match *goal {
        Goal::Rate { to, least } => {
            let got = line.ratio(Vwal, to)?.ratio;
            let wanted =
                if to == Stock { format!("{least} ×") } else { format!("{least} × {}", to.name()) };
            outcome(wanted, (to == Stock).then_some(least), got, got >= least)
        }
        Goal::Tail { most } => {
            let got = line.times(|side| side.latency.map(|latency| latency.p999))?;
            outcome(format!("p99.9 at most {most} ×"), None, got, got <= most)
        }
        Goal::Cpu { most } => {
            let got = line.times(|side| Some(side.cpu_us))?;
            outcome(format!("CPU at most {most} ×"), None, got, got <= most)
        }
        Goal::AtLeast { value: name, least } => {
            let got = value(name)?;
            outcome(format!("{name} at least {least}"), None, got, got >= least)
        }
        Goal::AtMost { value: name, most } => {
            let got = value(name)?;
            outcome(format!("{name} at most {most}"), None, got, got <= most)
        }
    }
}
