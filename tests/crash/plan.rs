//! What a process does until it is killed, and when that is.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::random::Random;
use crate::{extension, spawn};

/// The environment variable that holds the [`Plan`] of a child.
pub const VARIABLE: &str = "CRASH_PLAN";

/// The distribution's Python. One from pyenv is often built without `enable_load_extension`.
const PYTHON: &str = "/usr/bin/python3";

/// What a child is occupied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Writers, readers, checkpoints, `VACUUM`; now and then everything is closed, or WAL mode is left and come back to.
    All,
    /// A few commits, and everything is closed, over and over.
    Closing,
    /// Out of WAL mode, commits of stock SQLite in its own WAL, and back by the adoption of that WAL, over and over.
    Adopting,
    /// Commits, and nothing that brings the database file forward.
    Commits,
}

/// Which program has the database open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// This test, with SQLite and vwal linked into it.
    Linked,
    /// Python with the loadable extension.
    Python,
}

/// How a child uses the database.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The level of `PRAGMA synchronous`.
    pub synchronous: String,
    /// Of a new database.
    pub page_size: u64,
    /// URI parameters.
    pub params: String,
    /// The database.
    pub path: String,
    pub work: Work,
    pub host: Host,
}

impl Plan {
    /// The plan as the value of [`VARIABLE`].
    fn to_text(&self) -> String {
        let Plan { synchronous, page_size, params, path, work, .. } = self;
        format!("{synchronous}\n{page_size}\n{work:?}\n{params}\n{path}")
    }

    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.splitn(5, '\n').map(str::to_owned);
        Some(Plan {
            synchronous: lines.next()?,
            page_size: lines.next()?.parse().ok()?,
            work: match lines.next()?.as_str() {
                "All" => Work::All,
                "Closing" => Work::Closing,
                "Adopting" => Work::Adopting,
                "Commits" => Work::Commits,
                _ => return None,
            },
            params: lines.next()?,
            path: lines.next()?,
            host: Host::Linked,
        })
    }

    /// Whether commits are shipped to storage.
    pub fn has_storage(&self) -> bool {
        self.params.contains("vwal_storage=")
    }

    /// Whether a commit is acknowledged when storage has it.
    pub fn is_remote(&self) -> bool {
        self.params.contains("vwal_ack=remote")
    }

    /// Another one on the same database, for the next process.
    pub fn next(&self, random: &mut Random) -> Plan {
        let work = match random.below(8) {
            0 => Work::Closing,
            // With storage, a database that grew outside of the log has to be told to take its own place.
            1 if !self.has_storage() => Work::Adopting,
            _ => Work::All,
        };
        let host = if random.below(8) == 0 { Host::Python } else { Host::Linked };
        Plan { work, host, ..self.clone() }
    }

    /// Starts the process. What it says on stderr goes to a file beside the database.
    pub fn start(&self) -> Child {
        let mut command = match self.host {
            Host::Linked => spawn::command(&[(VARIABLE, &self.to_text())]),
            Host::Python => {
                let mut python = Command::new(PYTHON);
                python
                    .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/host.py"))
                    .arg(extension::path());
                // The extension refuses variables of its own kind that it does not know.
                for (key, _) in std::env::vars_os() {
                    if key.to_string_lossy().starts_with("VWAL_") {
                        python.env_remove(key);
                    }
                }
                python.env(VARIABLE, self.to_text()).stdout(Stdio::piped());
                python
            }
        };
        let stderr = File::options().create(true).append(true).open(format!("{}.stderr", self.path));
        let started = command.stderr(stderr.expect("a file for what the child complains of")).spawn();
        started.unwrap_or_else(|error| panic!("{command:?}: {error}; Python must be there (Debian: python3)"))
    }
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// So long after it has begun to open the database: in the middle of recovery, mostly.
    Opening(Duration),
    /// So long after it has begun to work.
    Working(Duration),
}

impl Moment {
    /// Some moment; `most` is the longest time that it works.
    pub fn any(random: &mut Random, most: Duration) -> Moment {
        match random.below(4) {
            0 => Moment::Opening(Duration::from_micros(random.below(20_000))),
            _ => Moment::Working(Duration::from_micros(random.below(most.as_micros() as u64))),
        }
    }
}
