//! Each run is a process of its own: this program again, so that CPU, memory and bytes written are that run's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::Settings;
use crate::engine::Contestant;
use crate::measure::Usage;
use crate::rows;
use crate::samples::Series;

/// What a child is to do.
#[derive(Clone, Serialize, Deserialize)]
pub struct Job {
    /// The row whose work it is.
    pub row: String,
    pub contestant: Contestant,
    /// Which part of the work, where several processes share it.
    pub part: String,
    /// For the database of the run.
    pub dir: PathBuf,
    /// A database with the rows that [`Settings`] says.
    pub template: PathBuf,
    pub settings: Settings,
    /// What an earlier part gave.
    pub values: BTreeMap<String, f64>,
}

impl Job {
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64(self.settings.seconds)
    }

    /// How long a run goes on before it is measured.
    pub fn warm_up(&self) -> Duration {
        self.length() / 4
    }
}

/// What a child has to say.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Run {
    pub series: Vec<Series>,
    /// The cost of `operations` operations.
    pub usage: Usage,
    pub operations: u64,
    /// What is peculiar to a row, by name.
    pub values: BTreeMap<String, f64>,
}

impl Run {
    /// A run whose series lie in the measured part.
    pub fn new(series: Vec<Series>, usage: Usage) -> Run {
        let operations = series.iter().map(|series| series.count).sum();
        Run { series, usage, operations, values: BTreeMap::new() }
    }

    pub fn value(mut self, name: &str, value: f64) -> Run {
        self.values.insert(name.to_owned(), value);
        self
    }
}

/// How a child ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exit,
    /// By SIGKILL, with its database open.
    Kill,
}

/// Have a child do a job.
pub fn run(job: &Job, ending: Ending) -> Result<Run, String> {
    let what = || format!("{} of {}", job.row, job.contestant.name());
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let text = serde_json::to_string(job).map_err(|error| format!("{}: {error}", what()))?;
    let mut child = Command::new(program)
        .args(["--child", &text])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", what()))?;
    let mut line = String::new();
    let said = child.stdout.as_mut().map_or(Ok(0), |stdout| BufReader::new(stdout).read_line(&mut line));
    // A child waits to be killed only after it has said what it has to say.
    if ending == Ending::Kill || said.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("{}: {error}", what()))?;
    said.map_err(|error| format!("{}: {error}", what()))?;
    if ending == Ending::Exit && !status.success() {
        return Err(format!("{}: {status}", what()));
    }
    serde_json::from_str(&line).map_err(|error| format!("{}: no figures ({status}): {error}", what()))
}

/// The child's side of [`run`].
pub fn serve(text: &str) -> ExitCode {
    let job: Job = serde_json::from_str(text).expect("a job");
    let row = rows::all().into_iter().find(|row| row.name == job.row).expect("a row");
    let done = (row.work)(&job);
    say(&done);
    ExitCode::SUCCESS
}

/// Tell the parent. It reads one line.
pub fn say(run: &Run) {
    let mut stdout = std::io::stdout();
    let text = serde_json::to_string(run).expect("figures as text");
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).expect("the parent listens");
}

/// The end of a job whose process is to be killed: everything that is open stays open.
pub fn say_and_wait_for_death(run: &Run) -> ! {
    say(run);
    loop {
        std::thread::park();
    }
}
