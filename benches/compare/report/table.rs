//! The figures for a terminal: a summary, then the details of each line.

use super::{Line, Outcome, Report, Side};
use crate::engine::Contestant::{Stock, Vwal, VwalOff};

/// A number with three digits or so.
pub fn short(number: f64) -> String {
    match number.abs() {
        _ if number.is_nan() => "-".to_owned(),
        n if n >= 9.995e6 => format!("{:.1} M", number / 1e6),
        n if n >= 9.995e5 => format!("{:.2} M", number / 1e6),
        n if n >= 9.995e3 => format!("{:.1} k", number / 1e3),
        n if n >= 99.95 => format!("{number:.0}"),
        n if n >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

fn optional(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), short)
}

/// Everything.
pub fn print(report: &Report) {
    println!("{}", report.machine.in_short());
    println!(
        "{} of runs, each run a process of its own; {:.1} s each, {} rows.",
        count(report.pairs, "pair"),
        report.settings.seconds,
        report.settings.rows
    );
    if report.short {
        println!("--short: few pairs, short runs and a small table. These figures are for a first look.");
    }
    if !report.machine.release {
        println!("This is a debug build: its figures mean nothing.");
    }
    println!();
    summary(&report.lines);
    println!();
    println!(
        "Details. Latencies in µs, from all runs together. CPU per operation in µs, with background threads and, for"
    );
    println!(
        "what writes, the closing of the database. Memory: the peak of the process in MiB. Bytes per operation: written by"
    );
    println!(
        "calls, made dirty in the page cache, gone to the disk. The last column: commits per fsync of the log."
    );
    report.lines.iter().for_each(details);
    if let Some(scale) = &report.scale {
        println!();
        println!("Scale");
        scale.print();
    }
    println!();
    for note in NOTES {
        println!("- {note}");
    }
    for left_out in &report.left_out {
        println!("- Left out: {left_out}");
    }
    for failure in &report.failures {
        println!("- FAILED: {failure}");
    }
}

/// What is not the same for both, and what a figure does not say.
pub const NOTES: [&str; 8] = [
    "Both engines: the same SQLite, WAL mode, 2 MB page cache, SQLite's default checkpoint settings, a database from the same template; \
     a quarter of a run goes before it as warm-up, and `sync` before each measured part.",
    "vwal: its defaults. It fsyncs NORMAL commits in the background within a second; stock WAL leaves them to the next checkpoint.",
    "Between warm-up and run everything is brought into the base file: by `wal_checkpoint(RESTART)`, and by `vwal_checkpoint()`.",
    "In the log (also when reopening): `wal_autocheckpoint=0` for both, and for vwal no checkpoints by itself either.",
    "Bytes made dirty: where the page cache has large folios, a small overwrite counts as all of the folio. Bytes gone to the disk: \
     from the whole machine, until all is there, with what the file system's journal adds; right when nothing else writes.",
    "The goals for 4 and 16 threads under FULL are stated for disks on which stock WAL manages 2,000 commits a second.",
    "With a writer and a reader at once, CPU, memory and bytes are those of both together, per operation of either.",
    "`bare` overwrites one frame in a file that was written before and calls fdatasync, one frame behind the other.",
];

/// "1 pair", "2 pairs".
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn summary(lines: &[Line]) {
    println!(
        "{:<44} {:>9} {:>9}  {:<22} {:>7} {:>6}  goals",
        "", "stock/s", "vwal/s", "ratio (lowest..highest)", "p99.9 ×", "CPU ×"
    );
    for line in lines {
        let rate = |contestant| optional(line.side(contestant).and_then(|side| side.rate));
        let tail = line.times(|side| side.latency.map(|latency| latency.p999));
        let cpu = line.times(|side| Some(side.cpu_us));
        let ratio = |of| {
            line.ratio(of, Stock).map_or_else(
                || "-".to_owned(),
                |ratio| format!("{} ({}..{})", short(ratio.ratio), short(ratio.low), short(ratio.high)),
            )
        };
        println!(
            "{:<44} {:>9} {:>9}  {:<22}  {:>7} {:>6}  {}",
            line.title,
            rate(Stock),
            rate(Vwal),
            ratio(Vwal),
            optional(tail),
            optional(cpu),
            verdict(&line.goals)
        );
        if line.ratio(VwalOff, Stock).is_some() {
            let off = "  with vwal_group_commit=off";
            println!("{off:<44} {:>9} {:>9}  {:<22}", rate(Stock), rate(VwalOff), ratio(VwalOff));
        }
    }
    let all: Vec<&Outcome> = lines.iter().flat_map(|line| &line.goals).collect();
    let met = all.iter().filter(|goal| goal.met).count();
    println!("{met} of {} are met.", count(all.len(), "goal"));
    if let Some(cpu) = cpu(lines) {
        println!("{cpu}");
    }
}

/// CPU per operation over all rows: what a row takes on average, and the row that takes most.
pub fn cpu(lines: &[Line]) -> Option<String> {
    let times = |line| Line::times(line, |side| Some(side.cpu_us)).map(|times| (times, line));
    // The lines of a row share one figure.
    let first = |at: &usize| *at == 0 || lines[*at].row != lines[at - 1].row;
    let all: Vec<(f64, &Line)> = (0..lines.len()).filter(first).filter_map(|at| times(&lines[at])).collect();
    let (most, line) = all.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let mean = (all.iter().map(|(times, _)| times.ln()).sum::<f64>() / all.len() as f64).exp();
    Some(format!(
        "CPU per operation, of stock's: geometric mean of {} {} ×, at most {} × ({}).",
        count(all.len(), "row"),
        short(mean),
        short(most),
        line.title
    ))
}

/// A ratio near its goal wants more digits than a table has room for.
pub fn exact(number: f64) -> String {
    if number.abs() < 9.995 { format!("{number:.3}") } else { short(number) }
}

/// In short: "met", or what is not.
fn verdict(goals: &[Outcome]) -> String {
    let missed: Vec<String> = goals
        .iter()
        .filter(|goal| !goal.met)
        .map(|goal| format!("{} ({})", goal.wanted, exact(goal.got)))
        .collect();
    match (goals.is_empty(), missed.is_empty()) {
        (true, _) => "-".to_owned(),
        (_, true) => "met".to_owned(),
        _ => format!("NOT MET: {}", missed.join(", ")),
    }
}

fn details(line: &Line) {
    println!();
    println!("{} [{}], {}", line.title, line.row, line.unit);
    println!(
        "  {:<9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "/s", "p50", "p99", "p99.9", "max", "CPU", "memory", "written", "dirty", "to disk", "/fsync"
    );
    line.sides.iter().for_each(side);
    for ratio in &line.ratios {
        println!(
            "  {} / {}: {} ({}..{})",
            ratio.of.name(),
            ratio.to.name(),
            short(ratio.ratio),
            short(ratio.low),
            short(ratio.high)
        );
    }
    for goal in &line.goals {
        println!("  {} {}: {}", if goal.met { "met    " } else { "NOT MET" }, goal.wanted, exact(goal.got));
    }
}

fn side(side: &Side) {
    let latency = |of: fn(&super::Latency) -> f64| optional(side.latency.as_ref().map(of));
    println!(
        "  {:<9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        side.contestant.name(),
        optional(side.rate),
        latency(|latency| latency.p50),
        latency(|latency| latency.p99),
        latency(|latency| latency.p999),
        latency(|latency| latency.max),
        short(side.cpu_us),
        short(side.peak_memory / f64::from(1 << 20)),
        short(side.write_bytes),
        short(side.dirty_bytes),
        optional(side.disk_bytes),
        optional(side.commits_per_fsync),
    );
    for (name, value) in &side.values {
        println!("            {name}: {}", short(*value));
    }
}
