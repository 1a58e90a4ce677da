//! The subcommands. Each returns a [`Report`]: data for standard output as text and as JSON, and how it went. Messages
//! go to standard error.

mod args;
mod attach;
mod demo;
mod log;
mod maintain;
mod open;
mod path;
mod plain;
mod remote;
mod ship;
mod status;
mod text;
mod times;
mod verify;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use vwal::StorageErrorKind;

use args::{Args, Command};

/// How a subcommand went, as its exit code (2 is clap's, for wrong arguments).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0
    Good,
    /// 3: what was verified is not right.
    Findings,
}

/// What a subcommand prints on standard output.
pub struct Report {
    text: String,
    json: serde_json::Result<serde_json::Value>,
    outcome: Outcome,
}

impl Report {
    /// The same as text and as data.
    fn new(text: impl Into<String>, data: &impl Serialize, outcome: Outcome) -> Self {
        Report { text: text.into(), json: serde_json::to_value(data), outcome }
    }
}

/// Why a subcommand could not do its work, in words for people, and its exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: 1 }
    }

    /// The arguments are wrong in a way that clap cannot see.
    fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: 2 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<vwal::Error> for Failure {
    fn from(error: vwal::Error) -> Self {
        Failure { code: exit_code(&error), message: error.to_string() }
    }
}

/// The exit codes of errors, as `args.rs` tells them.
fn exit_code(error: &vwal::Error) -> u8 {
    match error {
        vwal::Error::Usage(_) => 2,
        vwal::Error::NothingThere { .. } => 10,
        vwal::Error::Fenced { .. } => 11,
        vwal::Error::NotRestorable { .. } => 13,
        vwal::Error::Storage { kind, .. } => match kind {
            StorageErrorKind::NotFound => 10,
            StorageErrorKind::Denied => 12,
            StorageErrorKind::Unavailable | StorageErrorKind::Unsuitable | StorageErrorKind::Other => 1,
        },
        vwal::Error::Io { .. }
        | vwal::Error::Corrupt { .. }
        | vwal::Error::Busy { .. }
        | vwal::Error::InUse { .. }
        | vwal::Error::Full { .. }
        | vwal::Error::ReadOnly { .. }
        | vwal::Error::Poisoned { .. }
        | vwal::Error::Foreign { .. }
        | vwal::Error::NotVirtual(_)
        | vwal::Error::Forked
        | vwal::Error::Timeout(_)
        | vwal::Error::DamagedObject { .. }
        | vwal::Error::Target { .. }
        | vwal::Error::Backlog { .. }
        | vwal::Error::NotStored { .. }
        | vwal::Error::Register(_) => 1,
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::new(open::message(&error))
    }
}

/// Run the command line.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let report = match args.command {
        Command::Demo(demo) => demo::run(&demo),
        Command::Status { db } => status::run(&db),
        Command::Verify { db } => verify::run(&db),
        Command::Attach { db } => attach::attach(&db),
        Command::Detach { db } => attach::detach(&db),
        Command::Ship(ship) => ship::ship(&ship),
        Command::Log(log) => log::run(&log),
        Command::Snapshot(snapshot) => ship::snapshot(&snapshot),
        Command::Compact(compact) => maintain::compact(&compact),
        Command::Expire(expire) => maintain::expire(&expire),
        Command::Check { url } => maintain::check(&url),
        Command::Path => path::run(),
        Command::DemoWorker(work) => return demo::work(&work),
        Command::PlainCheck { db } => plain::check_here(&db),
    };
    match report.and_then(|report| print(&report, args.json)) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(3),
        Err(failure) => {
            // Nobody may be listening; the exit code still tells.
            let _ = writeln!(io::stderr(), "vwal: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn print(report: &Report, json: bool) -> Result<Outcome, Failure> {
    let text = if json {
        let value =
            report.json.as_ref().map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
        format!("{value:#}\n")
    } else {
        format!("{}\n", report.text.trim_end())
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // As with `vwal status x.db | head -1`: the reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(report.outcome),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(report.outcome),
    }
}
