//! The subcommands. Each returns a [`Report`]: data for standard output as text and as JSON, and how it went. Messages
//! go to standard error.

mod args;
mod attach;
mod demo;
mod open;
mod path;
mod plain;
mod status;
mod store;
mod text;
mod verify;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use vwal::{Error, StorageErrorKind};

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

/// Why a subcommand could not do its work, in words for people, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: 1 }
    }

    /// The arguments are wrong.
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
        Failure { message: error.to_string(), code: code(&error) }
    }
}

/// The exit code that belongs to an error; `vwal --help` lists them.
fn code(error: &vwal::Error) -> u8 {
    match error {
        // Not a bucket that is missing: who begins anew where there is no log would do so at a mistyped URL.
        Error::NothingThere { .. } => 10,
        Error::Fenced { .. } => 11,
        Error::Storage { kind: StorageErrorKind::Denied, .. } => 12,
        Error::NotRestorable { .. } => 13,
        Error::Target { .. } => 14,
        Error::Storage { .. }
        | Error::DamagedObject { .. }
        | Error::NotStored { .. }
        | Error::Backlog { .. }
        | Error::Io { .. }
        | Error::Vfs { .. }
        | Error::Corrupt { .. }
        | Error::Busy { .. }
        | Error::InUse { .. }
        | Error::Full { .. }
        | Error::NoMemory { .. }
        | Error::ReadOnly { .. }
        | Error::Poisoned { .. }
        | Error::Foreign { .. }
        // Of an option in the environment: what is wrong on the command line is told apart from it (`Failure::usage`).
        | Error::Usage(_)
        | Error::NotVirtual(_)
        | Error::Forked
        | Error::Timeout(_)
        | Error::Register(_) => 1,
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
        Command::Status { db, prometheus } => status::run(&db, prometheus),
        Command::Verify { what, read_data } => store::verify::run(&what, read_data),
        Command::Log(args) => store::log::run(&args),
        Command::Restore(args) => store::restore::run(&args),
        Command::Ship { db, url, once: _ } => store::ship::ship(&db, url.as_deref()),
        Command::Snapshot { db, url } => store::ship::snapshot(&db, url.as_deref()),
        Command::Compact { url } => store::compact::compact(&url),
        Command::Expire { url, keep, confirm } => store::compact::expire(&url, &keep, confirm),
        Command::Check { url } => store::check::run(&url),
        Command::Attach { db } => attach::attach(&db),
        Command::Detach { db } => attach::detach(&db),
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
