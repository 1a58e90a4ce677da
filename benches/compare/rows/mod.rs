//! The rows of the table of goals.

mod bare;
mod beside;
mod held;
pub mod memory;
mod reads;
mod reopen;
mod sustained;
mod threads;
mod writes;

use crate::args::Settings;
use crate::bench::Bench;
use crate::child::{Ending, Job, Run};
use crate::engine::Contestant::{self, Bare, Stock, Vwal, VwalOff};
use crate::goal::{CPU, Goal};

/// A workload.
pub struct Row {
    /// For `--only`.
    pub name: &'static str,
    /// For the tables.
    pub title: &'static str,
    /// What is counted.
    pub unit: &'static str,
    pub contestants: &'static [Contestant],
    /// What stands in the tables: labels of series, and the goals of each.
    pub lines: &'static [(&'static str, &'static [Goal])],
    /// One run, seen from the parent. `Err`: it failed.
    pub drive: fn(&Bench, &Row, Contestant, &Settings) -> Result<Run, String>,
    /// The work of a child.
    pub work: fn(&Job) -> Run,
}

/// The usual way to make a run: one child.
pub fn one_child(
    bench: &Bench,
    row: &Row,
    contestant: Contestant,
    settings: &Settings,
) -> Result<Run, String> {
    let dir = bench.lab()?;
    let job = bench.job(row.name, contestant, dir.path(), settings)?;
    crate::child::run(&job, Ending::Exit)
}

const TWO: &[Contestant] = &[Stock, Vwal];
const THREE: &[Contestant] = &[Stock, Vwal, VwalOff];
const FOUR: &[Contestant] = &[Stock, Vwal, VwalOff, Bare];

/// The goals of a writer and a reader at once.
const BESIDE: &[(&str, &[Goal])] = &[
    ("writer", &[Goal::Rate { to: Stock, least: 2.0 }, CPU]),
    ("reader", &[Goal::Rate { to: Stock, least: 2.0 }]),
];

const fn row(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    lines: &'static [(&'static str, &'static [Goal])],
    work: fn(&Job) -> Run,
) -> Row {
    Row { name, title, unit, contestants: TWO, lines, drive: one_child, work }
}

const fn of(contestants: &'static [Contestant], row: Row) -> Row {
    Row { contestants, ..row }
}

/// A rate, and the CPU.
macro_rules! rate {
    ($least:literal) => {
        &[("", &[Goal::Rate { to: Stock, least: $least }, CPU])]
    };
}

/// All of them.
pub fn all() -> Vec<Row> {
    const TAIL: Goal = Goal::Tail { most: 0.2 };
    const BACK: Goal = Goal::AtLeast { value: "after / before", least: 0.9 };
    const THIRDS: Goal = Goal::AtLeast { value: "last third / first", least: 0.9 };
    vec![
        row(
            "insert1",
            "1-row inserts, NORMAL",
            "commits",
            &[("", &[Goal::Rate { to: Stock, least: 2.0 }, TAIL, CPU])],
            writes::insert1,
        ),
        row(
            "update1",
            "1-row random updates, NORMAL",
            "commits",
            &[("", &[Goal::Rate { to: Stock, least: 3.0 }, TAIL, CPU])],
            writes::update1,
        ),
        row("update20", "20-row random updates, NORMAL", "commits", rate!(3.0), writes::update20),
        row("bulk", "bulk insert in one transaction", "rows", rate!(1.5), writes::bulk),
        row("reads-log", "point reads, in the log", "reads", rate!(3.0), reads::in_log),
        row(
            "reads-small",
            "point reads, frame cache 1/8 of the data",
            "reads",
            rate!(1.3),
            reads::in_log_small,
        ),
        row(
            "reads-absorbed",
            "point reads, passively checkpointed",
            "reads",
            &[("", &[CPU])],
            reads::absorbed,
        ),
        row("reads-base", "point reads, in the base file", "reads", rate!(1.3), reads::in_base),
        row("scan-log", "full scan, in the log", "rows", rate!(1.0), reads::scan_log),
        row("scan-base", "full scan, in the base file", "rows", rate!(1.0), reads::scan_base),
        row("beside-base", "writer and reader, base file", "operations", BESIDE, beside::base),
        row("beside-loaded", "writer and reader, just loaded", "operations", BESIDE, beside::loaded),
        of(
            FOUR,
            row(
                "full1",
                "FULL, 1 thread",
                "commits",
                &[("", &[Goal::Rate { to: Stock, least: 1.1 }, Goal::Rate { to: Bare, least: 0.9 }, CPU])],
                |job| threads::commits(job, "FULL", 1),
            ),
        ),
        of(
            THREE,
            row("full4", "FULL, 4 threads", "commits", rate!(8.0), |job| threads::commits(job, "FULL", 4)),
        ),
        of(
            THREE,
            row("full16", "FULL, 16 threads", "commits", rate!(10.0), |job| {
                threads::commits(job, "FULL", 16)
            }),
        ),
        of(
            THREE,
            row("normal4", "NORMAL, 4 threads", "commits", rate!(1.5), |job| {
                threads::commits(job, "NORMAL", 4)
            }),
        ),
        of(
            THREE,
            row("normal16", "NORMAL, 16 threads", "commits", rate!(1.8), |job| {
                threads::commits(job, "NORMAL", 16)
            }),
        ),
        row(
            "held",
            "updates beside a held read transaction",
            "commits",
            &[("", &[Goal::Rate { to: Stock, least: 1.0 }, BACK, CPU])],
            held::work,
        ),
        reopen::row(
            "reopen",
            "reopening after a crash",
            &[("first read", &[Goal::Rate { to: Stock, least: 3.0 }, CPU]), ("full scan", &[])],
        ),
        reopen::row(
            "reopen-cold",
            "reopening, cold page cache",
            &[("first read", &[Goal::Rate { to: Stock, least: 3.0 }]), ("full scan", &[])],
        ),
        row(
            "sustained",
            "sustained 1-row updates",
            "commits",
            &[("", &[THIRDS, Goal::AtMost { value: "largest log / vwal_log_size", most: 1.0 }, CPU])],
            sustained::work,
        ),
        memory::row(),
    ]
}
