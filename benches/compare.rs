//! A quick comparison of vwal with stock WAL: the workloads of the design, on both, in turns.
//!
//!     cargo bench --bench compare -- --pairs 5 --only insert1,bulk
//!
//! Options: `--pairs N` (3), `--seconds S` for each run (1.5), `--rows N` in the big table (500000), `--dir DIR` for the
//! databases (the system's temporary directory), `--only NAME,NAME`, `--engine stock|vwal` (to profile one of them),
//! `--list`. Absolute figures depend on the machine and on what else it does; the ratio of medians is what counts, and
//! its spread over the pairs tells how far.

#[path = "compare/engine.rs"]
mod engine;
#[path = "compare/stats.rs"]
mod stats;
#[path = "compare/threads.rs"]
mod threads;
#[path = "compare/workloads.rs"]
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use engine::{Engine, Setting};
use stats::{Comparison, Series};

struct Arguments {
    pairs: usize,
    setting: Setting,
    only: Vec<String>,
    engine: Option<Engine>,
    list: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        pairs: 3,
        setting: Setting { dir: std::env::temp_dir(), length: Duration::from_millis(1500), rows: 500_000 },
        only: Vec::new(),
        engine: None,
        list: false,
    };
    let mut rest = std::env::args().skip(1);
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
        let number = |text: String| text.parse::<f64>().map_err(|error| format!("{flag} {text}: {error}"));
        match flag.as_str() {
            "--pairs" => parsed.pairs = (number(value()?)? as usize).max(1),
            "--seconds" => parsed.setting.length = Duration::from_secs_f64(number(value()?)?),
            "--rows" => parsed.setting.rows = (number(value()?)? as i64).max(1),
            "--dir" => parsed.setting.dir = PathBuf::from(value()?),
            "--only" => parsed.only = value()?.split(',').map(str::to_owned).collect(),
            "--engine" => {
                parsed.engine = Some(match value()?.as_str() {
                    "stock" => Engine::Stock,
                    "vwal" => Engine::Vwal,
                    other => return Err(format!("--engine {other}: stock or vwal")),
                });
            }
            "--list" => parsed.list = true,
            // What cargo passes to every benchmark.
            "--bench" => {}
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("compare: {message}");
            return ExitCode::FAILURE;
        }
    };
    let all = workloads::all();
    if arguments.list {
        for workload in &all {
            println!("{:<12} {}", workload.name, workload.title);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(name) = arguments.only.iter().find(|name| all.iter().all(|workload| workload.name != **name))
    {
        eprintln!("compare: there is no workload {name}; --list shows them");
        return ExitCode::FAILURE;
    }
    engine::register();
    println!(
        "SQLite {}, {} pairs of runs in {}",
        rusqlite::version(),
        arguments.pairs,
        arguments.setting.dir.display()
    );
    println!("{}", Comparison::HEAD);
    for workload in &all {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|name| name == workload.name) {
            continue;
        }
        let mut runs: [Vec<Vec<Series>>; 2] = [Vec::new(), Vec::new()];
        for pair in 0..arguments.pairs {
            // Each goes first in every other pair, so that neither always finds the disk as the other one left it.
            let mut order = [Engine::Stock, Engine::Vwal];
            order.rotate_left(pair % 2);
            for engine in
                order.into_iter().filter(|&engine| arguments.engine.is_none_or(|only| only == engine))
            {
                runs[engine as usize].push((workload.run)(engine, &arguments.setting));
            }
        }
        for line in stats::compare(workload.title, &runs[0], &runs[1]) {
            println!("{line}");
        }
    }
    ExitCode::SUCCESS
}
