//! Power loss at every moment of what was recorded, as `docs/reliability.md` counts it.
//!
//! After each operation the disks that a crash could leave are built (`testing/io/disk.rs`, `variants.rs`) and recovered by a
//! [`Subject`], which says what is there: acknowledged ≤ recovered ≤ attempted. A crash inside an fsync is one ahead of it in
//! which a part of what it was to write is there. Equal disks are recovered once. For some of them, and whenever the process is
//! killed instead, what recovery itself does is recorded and crashed the same way.
//!
//! What fails is made small, and told as `seed:crashpoint:mask`: with that in `FAULTS_CRASH` the same test tries this
//! crash alone.

mod place;
mod run;
mod variants;

use std::fmt;

use place::Path;
pub use run::campaign;

use crate::testing::io::{Disks, Image, Op, Record};

/// What was done, and on what disks.
pub struct Recording {
    pub start: Disks,
    pub trace: Vec<Record>,
}

impl Recording {
    /// What the disks may hold behind the first `at` lines of the trace.
    pub fn disks(&self, at: usize) -> Disks {
        let mut disks = self.start.clone();
        self.trace[..at].iter().for_each(|record| disks.apply(record));
        disks
    }
}

/// What a crash left, to be recovered.
pub struct Crash {
    /// After a power loss nothing is open here. After a kill all is as it was.
    pub disks: Disks,
    pub killed: bool,
    /// Behind how many lines of the trace it came.
    pub at: usize,
    /// What recovery does is wanted, to be crashed as well.
    pub again: bool,
}

/// What came of a recovery.
pub struct Recovered {
    /// The commit that was there.
    pub k: u32,
    /// What recovery and what followed it did, and who recovers from a crash in that.
    pub again: Option<(Recording, Box<dyn Subject>)>,
}

/// What is crashed.
pub trait Subject: Send + Sync {
    /// Recover, and check all that must hold whatever was acknowledged.
    fn recover(&self, crash: Crash) -> Result<Recovered, String>;

    /// What else, beside the disk, recovery depends on behind so many lines of the trace.
    fn context(&self, _at: usize) -> u64 {
        0
    }
}

/// How much is tried.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Names the recording in a failure, and chooses the variants.
    pub seed: u64,
    /// About so many different disks are recovered.
    pub states: u64,
    /// One in so many of them is crashed again; 0: none.
    pub again: u64,
    /// At one in so many places the process is killed; 0: at none.
    pub kills: u64,
    /// About so many disks for each of those.
    pub within: u64,
    /// A failure is made small.
    pub shrink: bool,
}

/// What was tried.
#[derive(Clone, Copy, Default)]
pub struct Counted {
    /// Different disks that were recovered.
    pub states: u64,
    /// Crashes that left them.
    pub crashes: u64,
}

/// A crash after which something did not hold.
pub struct Failure {
    /// Of the recording, about so many disks had been recovered.
    pub states: u64,
    seed: u64,
    path: Path,
    what: String,
}

impl Failure {
    /// What did not hold, in a line.
    pub fn what(&self) -> &str {
        self.what.lines().next().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = place::text(self.seed, &self.path);
        writeln!(f, "{}\nFAULTS_CRASH={place} tries this one again", self.what)
    }
}

/// Crash everywhere. The first crash after which something does not hold is the error.
pub fn sweep(recording: &Recording, subject: &dyn Subject, plan: Plan) -> Result<Counted, Failure> {
    run::Sweep::new(recording, subject, plan).run()
}

/// A record without the bytes.
fn brief(record: &Record) -> String {
    let mut text = match &record.op {
        Op::Write { file, offset, data } => {
            format!("Write {{ file: {file}, offset: {offset}, {} bytes }}", data.len())
        }
        other => format!("{other:?}"),
    };
    if record.failed {
        text.push_str(" FAILED");
    }
    text
}

/// What a failure is looked at with: the files, and what was done last.
fn describe(image: &Image, trace: &[Record]) -> String {
    let files = image.names.keys().map(|path| match image.read(path) {
        Some(bytes) => format!("  {} {} bytes\n", path.display(), bytes.len()),
        None => format!("  {}/\n", path.display()),
    });
    let last =
        trace.iter().skip(trace.len().saturating_sub(30)).map(|record| format!("  {}\n", brief(record)));
    format!("the disk:\n{}the last operations:\n{}", files.collect::<String>(), last.collect::<String>())
}
