//! The command line, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use vwal::LogId;

const EXIT_CODES: &str = "\
Exit codes:
   0  done, and all is well
   1  it could not be done; standard error says why (also: the bucket is missing, or storage cannot be reached)
   2  wrong arguments
   3  done, and what was verified is not right (demo, status, verify, detach, check)
  10  there is no log in storage, or not the one that was asked for
  11  fenced off: storage belongs to another primary
  12  storage did not accept the credentials, or they allow too little
  13  the state that was to be restored is not in storage, which has others of that log
  14  something is in the way of the file that was to be restored

Data goes to standard output (as JSON with --json), messages to standard error.
A URL is file:///directory, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix. Credentials come from the
environment (AWS_*, GOOGLE_*, AZURE_*) or from the provider, never from the command line.
Options of the databases that are opened come from the environment: VWAL_SWAP, VWAL_SYNC_INTERVAL_MS, ...";

/// vwal: a virtual WAL for stock SQLite
#[derive(Parser)]
#[command(name = "vwal", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Args {
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Kill a writing process in the middle and prove that nothing acknowledged is lost
    ///
    /// Copies DB (or makes a database of its own), opens the copy through vwal, runs writers and readers in another
    /// process, kills that with SIGKILL, reopens the copy and checks each acknowledged transaction; several times.
    /// Then it checkpoints, and hands the file to plain SQLite.
    Demo(DemoArgs),
    /// Show a database's log, without locking or changing anything
    Status {
        /// The database file
        db: PathBuf,
        /// As text for Prometheus
        #[arg(long)]
        prometheus: bool,
    },
    /// Check every segment, the metadata, the footer and the database's integrity; or all objects in storage
    ///
    /// Of storage: every object, the continuity of frames, and that each commit can be restored. With --read-data every
    /// byte is read, and all checksums are checked.
    ///
    /// Of a database: when no process has the database open and its files are whole, it is opened through vwal for PRAGMA
    /// integrity_check (which recovers and checkpoints it, as any open does). When a process has it open, all that can be
    /// read from outside is checked, and the rest is said to be left out.
    Verify {
        /// The database file, or the URL of storage
        #[arg(value_name = "DB|URL")]
        what: OsString,
        /// Read and decode everything in storage, not only the end of each object
        #[arg(long)]
        read_data: bool,
    },
    /// List the commits of a log: in storage, or as far as the database's own log still has them
    Log(LogArgs),
    /// Make a database of what storage has: the newest state, or that of a frame or a time
    ///
    /// The file is made beside PATH and renamed when it is complete; nothing is ever replaced. A restore that was
    /// interrupted is gone on with when it is started again.
    Restore(RestoreArgs),
    /// Ship what storage lacks of a database, wait until it is there, and end
    Ship {
        /// The database file
        db: PathBuf,
        /// Where to; without it, VWAL_STORAGE says where it is
        url: Option<String>,
        /// End when everything that is committed by now is in storage
        #[arg(long, required = true)]
        once: bool,
    },
    /// Put a full image of a database into its storage, so that restoring needs nothing older
    Snapshot {
        /// The database file
        db: PathBuf,
        /// The storage; without it, VWAL_STORAGE says where it is
        url: Option<String>,
    },
    /// Merge bundles in storage, as far as merges are due
    Compact {
        /// The storage
        url: String,
    },
    /// Delete what is older than is to be kept; without --confirm, say what that would be
    Expire {
        /// The storage
        url: String,
        /// Each state of this last time can still be restored afterwards, as far as it can be now: 24h, 7d, ...
        #[arg(long, value_name = "AGE")]
        keep: String,
        /// Do it
        #[arg(long)]
        confirm: bool,
    },
    /// Try out whether a store can do all that vwal needs
    Check {
        /// The storage
        url: String,
    },
    /// Make an existing database a vwal database
    Attach {
        /// The database file
        db: PathBuf,
    },
    /// Make a vwal database an ordinary SQLite database again
    Detach {
        /// The database file
        db: PathBuf,
    },
    /// Print where the loadable extension lies
    Path,
    /// The process that `demo` kills
    #[command(hide = true)]
    DemoWorker(WorkerArgs),
    /// PRAGMA integrity_check in a process that has never heard of vwal
    #[command(hide = true)]
    PlainCheck { db: PathBuf },
}

#[derive(clap::Args)]
pub struct LogArgs {
    /// The database file, or the URL of storage
    #[arg(value_name = "DB|URL")]
    pub what: OsString,
    /// Commits of this time and later: "2026-11-21T10:00:00Z", "2026-11-21 10:00" (local time), "2 hours ago"
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Commits of this time and earlier
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Commits from this frame on
    #[arg(long, value_name = "FRAME", default_value_t = 0)]
    pub from: u64,
    /// Commits up to this frame
    #[arg(long, value_name = "FRAME", default_value_t = u64::MAX, hide_default_value = true)]
    pub to: u64,
    /// At most so many: the newest ones, or with --reverse the oldest
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Oldest first
    #[arg(long)]
    pub reverse: bool,
    /// Only this log
    #[arg(long, value_name = "ID")]
    pub log: Option<LogId>,
    /// Show how many commits there were when, instead of each one
    #[arg(long)]
    pub histogram: bool,
}

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The storage; without it, VWAL_STORAGE says where it is
    pub url: Option<String>,
    /// The file to make
    #[arg(short, long, value_name = "PATH", required_unless_present = "dry_run")]
    pub output: Option<PathBuf>,
    /// The commit that ends with this frame
    #[arg(long, value_name = "FRAME", conflicts_with = "timestamp")]
    pub frame: Option<u64>,
    /// The state at this time: "2026-11-21T10:00:00Z", "2026-11-21 10:00" (local time), "5 minutes ago"
    #[arg(long, value_name = "TIME")]
    pub timestamp: Option<String>,
    /// This log, instead of the one that nothing took over
    #[arg(long, value_name = "ID")]
    pub log: Option<LogId>,
    /// The restored database is to be the new primary: it begins a new log, and nobody can go on with the old one
    #[arg(long)]
    pub take_over: bool,
    /// Only say what would be restored, and from what
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(clap::Args)]
pub struct DemoArgs {
    /// The database to copy; without it, a small shop is made from SQL
    pub db: Option<PathBuf>,
    /// Keep the copy, and print where it is
    #[arg(long)]
    pub keep: bool,
    /// Make the copy in this directory instead of the system's one for temporary files
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How often the writing process is started and killed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// About how long the writing process lives
    #[arg(long, default_value_t = 2.5, value_parser = seconds, value_name = "SECONDS")]
    pub seconds: f64,
    /// Writing connections, each on a thread
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub writers: u32,
    /// Reading connections, each on a thread
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub readers: u32,
    /// PRAGMA synchronous of the writers
    #[arg(long, value_enum, default_value_t = Synchronous::Full)]
    pub synchronous: Synchronous,
}

/// `PRAGMA synchronous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Synchronous {
    Off,
    Normal,
    Full,
    Extra,
}

impl Synchronous {
    /// As SQL and as an argument.
    pub fn word(self) -> &'static str {
        match self {
            Synchronous::Off => "off",
            Synchronous::Normal => "normal",
            Synchronous::Full => "full",
            Synchronous::Extra => "extra",
        }
    }
}

#[derive(clap::Args)]
pub struct WorkerArgs {
    pub db: PathBuf,
    #[arg(long)]
    pub writers: u32,
    #[arg(long)]
    pub readers: u32,
    #[arg(long)]
    pub seed: u64,
    #[arg(long, value_enum)]
    pub synchronous: Synchronous,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn seconds_are_finite_and_sensible() {
        assert_eq!(seconds("2.5"), Ok(2.5));
        for wrong in ["0", "-1", "NaN", "inf", "1e9", "", "two"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
