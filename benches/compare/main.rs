//! vwal against stock SQLite WAL: every workload of the goals, on both, in turns. `docs/performance.md` says what is
//! measured.
//!
//!     cargo bench                                  all of it
//!     cargo bench -- --short                       about a minute
//!     cargo bench -- --help
//!
//! Absolute figures depend on the machine and on what else it does; the ratio of the medians is what counts, and its spread over
//! the pairs tells how far. The charts are made from the JSON that a run writes, and from nothing else.

mod args;
mod bench;
mod child;
mod disk;
mod engine;
mod goal;
mod measure;
mod report;
mod rows;
mod samples;
mod scale;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::{Arguments, Asked};
use bench::{Bench, DROP_CACHES};
use report::{Report, machine::Machine};
use rows::Row;
use scale::Scale;

/// For `--only`, beside the names of the rows.
const SCALE: &str = "scale";

/// What went wrong.
enum Failure {
    /// The arguments are not right.
    Usage(String),
    /// Something could not be done.
    Failed(String),
}

fn main() -> ExitCode {
    match args::parse(std::env::args().skip(1)).map_err(Failure::Usage).and_then(carry_out) {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            eprintln!("compare: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            eprintln!("compare: {message}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(asked: Asked) -> Result<ExitCode, Failure> {
    let arguments = match asked {
        Asked::Help => {
            print!("{}", args::HELP);
            return Ok(ExitCode::SUCCESS);
        }
        Asked::List => {
            for row in rows::all() {
                println!("{:<15} {}", row.name, row.title);
            }
            println!("{SCALE:<15} cost per commit, opening and memory against size");
            return Ok(ExitCode::SUCCESS);
        }
        Asked::Child(job) => return Ok(child::serve(&job)),
        Asked::Run(arguments) => *arguments,
    };
    let report = match &arguments.from {
        Some(from) => read(from)?,
        None => measure(&arguments)?,
    };
    report::table::print(&report);
    if arguments.markdown {
        println!();
        report::markdown::print(&report);
    }
    // One contestant alone is for a profile: there is nothing to keep.
    if arguments.engine.is_none() {
        println!();
        save(&arguments, &report)?;
    }
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(from: &Path) -> Result<Report, Failure> {
    let text = fs::read_to_string(from).map_err(|error| format!("{}: {error}", from.display()));
    let report = text.and_then(|text| {
        serde_json::from_str(&text)
            .map_err(|error| format!("{}: not figures of this version: {error}", from.display()))
    });
    report.map_err(Failure::Failed)
}

/// Whether `--only` asks for a row: by its name, or by what stands before the hyphen.
fn asked_for(only: &[String], name: &str) -> bool {
    only.iter().any(|only| {
        only == name || name.strip_prefix(only.as_str()).is_some_and(|rest| rest.starts_with('-'))
    })
}

fn measure(arguments: &Arguments) -> Result<Report, Failure> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::Failed(
            "the figures come from /proc, so this measures on Linux only".to_owned(),
        ));
    }
    let all = rows::all();
    let only = &arguments.only;
    let known = |only: &&String| {
        *only == SCALE || all.iter().any(|row| asked_for(std::slice::from_ref(only), row.name))
    };
    if let Some(name) = only.iter().find(|only| !known(only)) {
        return Err(Failure::Usage(format!("--only {name}: there is no such row; --list shows them")));
    }
    let bench = Bench::new(&arguments.dir, arguments.settings.clone()).map_err(Failure::Failed)?;
    let mut report = Report {
        machine: Machine::here(&arguments.dir),
        short: arguments.short,
        nightly: arguments.nightly,
        pairs: arguments.pairs,
        settings: arguments.settings.clone(),
        lines: Vec::new(),
        scale: None,
        failures: Vec::new(),
        left_out: Vec::new(),
    };
    let wanted: Vec<&Row> = all.iter().filter(|row| only.is_empty() || asked_for(only, row.name)).collect();
    for (at, row) in wanted.iter().enumerate() {
        if row.name == "memory" && arguments.short && only.is_empty() {
            report.left_out.push(
                "memory: its databases are too large for --short; --only memory measures it".to_owned(),
            );
            continue;
        }
        if row.name == "reopen-cold" && fs::File::options().write(true).open(DROP_CACHES).is_err() {
            let why = format!(
                "{DROP_CACHES} cannot be written, so only opening with a warm page cache is measured"
            );
            report.left_out.push(format!("{}: {why}", row.name));
            continue;
        }
        let progress =
            |round| eprintln!("[{}/{}] {} {round}/{}", at + 1, wanted.len(), row.name, arguments.pairs);
        let contestants = Bench::contestants(row, arguments.engine);
        let once = |contestant| (row.drive)(&bench, row, contestant, &bench.settings);
        match Bench::rounds(&contestants, arguments.pairs, progress, once) {
            Ok(runs) => report.lines.extend(report::lines(row, &runs)),
            Err(why) => report.failures.push(why),
        }
    }
    // Not a part of the short form, but of what is asked for.
    let scale = if only.is_empty() { !arguments.short } else { only.iter().any(|only| only == SCALE) };
    if scale && arguments.engine.is_none() {
        let progress = |what: &str, round| eprintln!("{what} {round}/{}", arguments.pairs);
        match Scale::measure(&bench, arguments.pairs, progress) {
            Ok(scale) => report.scale = Some(scale),
            Err(why) => report.failures.push(why),
        }
    } else if only.is_empty() {
        report.left_out.push(format!("{SCALE}: cargo bench -- --only {SCALE} measures it"));
    }
    Ok(report)
}

fn save(arguments: &Arguments, report: &Report) -> Result<(), Failure> {
    let json = match (&arguments.from, &arguments.json) {
        (Some(_), _) => None,
        (None, Some(json)) => Some(json.clone()),
        (None, None) => Some(target().join("bench/compare.json")),
    };
    let beside = |name: &str| json.as_ref().map(|json| json.with_file_name(name));
    if let Some(json) = &json {
        let text = serde_json::to_string_pretty(report);
        write(json, &text.map_err(|error| Failure::Failed(error.to_string()))?)?;
    }
    if let Some(chart) = arguments.chart.clone().or_else(|| beside("performance.svg")) {
        write(&chart, &report::chart::draw(report))?;
    }
    match (&report.scale, &arguments.scale_chart) {
        (Some(scale), chart) => {
            if let Some(chart) = chart.clone().or_else(|| beside("scale.svg")) {
                write(&chart, &report::scale_chart::draw(report, scale))?;
            }
        }
        (None, Some(_)) => return Err(Failure::Failed("--scale-chart: scale was not measured".to_owned())),
        (None, None) => {}
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::Failed(format!("{}: {error}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Cargo's target directory: this program is in `release/deps` of it.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_owned)
}
