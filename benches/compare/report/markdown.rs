//! The goals as a table in Markdown, for docs/performance.md.

use super::Report;
use super::table::{count, exact, short};
use crate::engine::Contestant::{Stock, Vwal, VwalOff};

/// The table.
pub fn print(report: &Report) {
    println!(
        "| workload | stock, per s | vwal, per s | ratio (lowest to highest pair) | p99.9 | CPU | goals |"
    );
    println!("|---|---:|---:|---:|---:|---:|---|");
    let optional = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), short);
    for line in &report.lines {
        for of in [Vwal, VwalOff] {
            let Some(side) = line.side(of) else { continue };
            let ratio = line.ratio(of, Stock).map_or_else(
                || "-".to_owned(),
                |ratio| format!("{} ({} to {})", short(ratio.ratio), short(ratio.low), short(ratio.high)),
            );
            let stock = line.side(Stock);
            let times = |figure: &dyn Fn(&super::Side) -> Option<f64>| {
                optional(stock.and_then(|stock| Some(figure(side)? / figure(stock)?)))
            };
            let (title, goals) = match of {
                Vwal => (line.title.as_str(), goals(line)),
                _ => ("… with `vwal_group_commit=off`", "-".to_owned()),
            };
            println!(
                "| {title} | {} | {} | {ratio} | {} | {} | {goals} |",
                optional(stock.and_then(|stock| stock.rate)),
                optional(side.rate),
                times(&|side| side.latency.map(|latency| latency.p999)),
                times(&|side| Some(side.cpu_us)),
            );
        }
    }
    println!();
    if let Some(cpu) = super::table::cpu(&report.lines) {
        println!("{cpu}");
        println!();
    }
    println!("{} of runs; {}.", count(report.pairs, "pair"), report.machine.in_short());
}

/// The goals that a line has, and what became of them.
fn goals(line: &super::Line) -> String {
    let goals = line.goals.iter().map(|goal| {
        let met = if goal.met { "met" } else { "**not met**" };
        format!("{}: {met} ({})", goal.wanted, exact(goal.got))
    });
    let goals: Vec<String> = goals.collect();
    if goals.is_empty() { "-".to_owned() } else { goals.join("; ") }
}
