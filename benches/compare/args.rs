//! The arguments.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::Contestant;

pub const HELP: &str = "\
Compares vwal with stock SQLite WAL: the same work on both, in turns.

    cargo bench -- [OPTIONS]

What is measured
  --short                 About a minute: 2 pairs, short runs, a small table, without memory and
                          scale. For a first look
  --only NAME,NAME        These rows only; `reads` means all that begin with `reads-`
  --list                  Shows the rows
  --pairs N               Runs of each engine, in alternating order (5)
  --seconds S             Length of a run, where a row is not measured by other means (2)
  --sustained-seconds S   Length of the run of sustained updates (180)
  --rows N                Rows of the table (500000)
  --nightly               Scale goes up to 10 GB; needs 25 GB of disk
  --dir DIR               Where the databases are made (the system's temporary directory)
  --engine NAME           Only one of stock, vwal, vwal-off, bare: to profile it. There is no comparison then

What comes of it
  --json FILE             All figures (bench/compare.json in cargo's target directory)
  --chart FILE            The ratios as an SVG (performance.svg beside the JSON)
  --scale-chart FILE      Scale as an SVG (scale.svg beside the JSON)
  --markdown              The goals as a table in Markdown, too
  --from FILE             Measure nothing: show the figures of a JSON, and draw the charts that are asked for
  --help                  Shows this

Exit codes: 0 done, whether goals are met or not; 1 a run failed; 2 wrong arguments.
";

/// How the runs are made.
#[derive(Clone, Serialize, Deserialize)]
pub struct Settings {
    pub seconds: f64,
    /// Rows of the table.
    pub rows: i64,
    /// Updates while a read transaction is held open.
    pub held_updates: u64,
    /// Bytes of the log that a crash leaves.
    pub crash_log: u64,
    pub sustained_seconds: f64,
    /// Bytes of the two databases between which memory per page is told.
    pub memory_sizes: [u64; 2],
    /// Scale: bytes of the databases, bytes of the logs.
    pub scale_sizes: Vec<u64>,
    pub scale_logs: Vec<u64>,
}

/// What is asked for.
pub struct Arguments {
    pub short: bool,
    pub nightly: bool,
    pub pairs: usize,
    pub settings: Settings,
    pub only: Vec<String>,
    pub engine: Option<Contestant>,
    pub dir: PathBuf,
    pub json: Option<PathBuf>,
    pub chart: Option<PathBuf>,
    pub scale_chart: Option<PathBuf>,
    pub markdown: bool,
    pub from: Option<PathBuf>,
}

/// What the program is to do.
pub enum Asked {
    Help,
    List,
    /// The job of a child.
    Child(String),
    Run(Box<Arguments>),
}

const MB: u64 = 1_000_000;

fn settings(short: bool, nightly: bool) -> Settings {
    let scale_logs = vec![16 << 20, 64 << 20, 256 << 20, 1 << 30];
    let mut scale_sizes = vec![10 * MB, 100 * MB, 1000 * MB];
    if nightly {
        scale_sizes.push(10_000 * MB);
    }
    let full = Settings {
        seconds: 2.0,
        rows: 500_000,
        held_updates: 200_000,
        crash_log: 1 << 30,
        sustained_seconds: 180.0,
        memory_sizes: [100 * MB, 1000 * MB],
        scale_sizes,
        scale_logs,
    };
    if !short {
        return full;
    }
    Settings {
        seconds: 0.3,
        rows: 100_000,
        held_updates: 20_000,
        crash_log: 64 << 20,
        sustained_seconds: 1.5,
        scale_sizes: vec![10 * MB, 100 * MB],
        scale_logs: vec![16 << 20, 64 << 20],
        ..full
    }
}

/// Read the arguments, without the program's name.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let words: Vec<String> = words.collect();
    let given = |name: &str| words.iter().any(|word| word == name);
    let (short, nightly) = (given("--short"), given("--nightly"));
    if short && nightly {
        return Err("--short and --nightly do not go together".to_owned());
    }
    let mut parsed = Arguments {
        short,
        nightly,
        pairs: if short { 2 } else { 5 },
        settings: settings(short, nightly),
        only: Vec::new(),
        engine: None,
        dir: std::env::temp_dir(),
        json: None,
        chart: None,
        scale_chart: None,
        markdown: false,
        from: None,
    };
    let mut rest = words.into_iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--list" => return Ok(Asked::List),
            "--child" => return Ok(Asked::Child(value()?)),
            // The last one is what cargo passes to every benchmark.
            "--short" | "--nightly" | "--bench" => {}
            "--pairs" => parsed.pairs = whole(&flag, &value()?, 1)?,
            "--seconds" => parsed.settings.seconds = seconds(&flag, &value()?)?,
            "--sustained-seconds" => parsed.settings.sustained_seconds = seconds(&flag, &value()?)?,
            "--rows" => parsed.settings.rows = whole(&flag, &value()?, 1000)? as i64,
            "--only" => parsed.only = value()?.split(',').map(str::to_owned).collect(),
            "--engine" => {
                let name = value()?;
                let engine = Contestant::parse(&name);
                let right = || format!("{flag} {name}: it is one of stock, vwal, vwal-off, bare");
                parsed.engine = Some(engine.ok_or_else(right)?);
            }
            "--dir" => parsed.dir = PathBuf::from(value()?),
            "--json" => parsed.json = Some(PathBuf::from(value()?)),
            "--chart" => parsed.chart = Some(PathBuf::from(value()?)),
            "--scale-chart" => parsed.scale_chart = Some(PathBuf::from(value()?)),
            "--markdown" => parsed.markdown = true,
            "--from" => parsed.from = Some(PathBuf::from(value()?)),
            other => return Err(format!("unknown argument {other}; --help shows what there is")),
        }
    }
    if parsed.from.is_some() && parsed.json.is_some() {
        return Err("--from measures nothing, so there is nothing to write with --json".to_owned());
    }
    Ok(Asked::Run(Box::new(parsed)))
}

fn whole(flag: &str, text: &str, least: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number >= least);
    number.ok_or_else(|| format!("{flag} {text}: a whole number from {least} on is wanted"))
}

fn seconds(flag: &str, text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.001..=86_400.0).contains(number));
    number.ok_or_else(|| format!("{flag} {text}: seconds are wanted, from 0.001 to 86400"))
}
