//! The command line, as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use vwal::LogId;

use super::times;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and all is well
  1  it could not be done; standard error says why
  2  wrong arguments
  3  done, and what was verified is not right (demo, status, verify, detach)
 10  there is nothing at that URL
 11  fenced off: storage belongs to another primary
 12  the credentials are missing, wrong, or not enough
 13  storage has the log, but not the state that was asked for

Data goes to standard output (as JSON with --json), messages to standard error.
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
    },
    /// Check every segment, the metadata, the footer and the database's integrity
    ///
    /// When no process has the database open and its files are whole, it is opened through vwal for PRAGMA
    /// integrity_check (which recovers and checkpoints it, as any open does). When a process has it open, all that can be
    /// read from outside is checked, and the rest is said to be left out.
    Verify {
        /// The database file
        db: PathBuf,
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
    /// Ship a database to storage, and end when everything is there
    ///
    /// While a program has the database open with vwal_storage, it ships by itself. This is for the first time, or for what
    /// was left when the program ended.
    Ship(ShipArgs),
    /// Show commits: frame number, time, pages, bytes
    Log(LogArgs),
    /// Put a snapshot of the whole database into its storage
    Snapshot(SnapshotArgs),
    /// Merge bundles in storage, as the program that ships does in the background
    Compact(CompactArgs),
    /// Delete from storage what is older than that
    ///
    /// Everything that is needed to restore to any commit since then stays, as far as it is there.
    Expire(ExpireArgs),
    /// Try out whether a store can do what vwal needs: reading, listing, deleting, and above all create-only writes
    Check {
        /// URL of the storage
        url: String,
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
pub struct ShipArgs {
    /// The database file
    pub db: PathBuf,
    /// URL of the storage: file:///directory, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix
    pub url: String,
    /// End when everything is there
    #[arg(long, required = true)]
    pub once: bool,
    /// Give up after so long without progress
    #[arg(long, default_value = "60s", value_parser = times::duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// End this log, which is live in storage, and take its place
    #[arg(long, value_name = "LOG ID")]
    pub take_over: Option<LogId>,
}

#[derive(clap::Args)]
pub struct SnapshotArgs {
    /// The database file
    pub db: PathBuf,
    /// URL of the storage; without it, VWAL_STORAGE
    pub url: Option<String>,
    /// Give up after so long without progress
    #[arg(long, default_value = "60s", value_parser = times::duration, value_name = "DURATION")]
    pub timeout: Duration,
}

#[derive(clap::Args)]
pub struct LogArgs {
    /// URL of a storage, or a database file (for what is still in its log)
    #[arg(value_name = "URL|DB")]
    pub place: String,
    /// This log, if there are several
    #[arg(long, value_name = "LOG ID")]
    pub log: Option<LogId>,
    /// Commits made at this time or later: RFC 3339, a local time, or '5 minutes ago'
    #[arg(long, value_parser = times::parse, value_name = "TIME")]
    pub since: Option<u64>,
    /// Commits made at this time or earlier
    #[arg(long, value_parser = times::parse, value_name = "TIME")]
    pub until: Option<u64>,
    /// Commits that end at this frame or a later one
    #[arg(long, value_name = "FRAME")]
    pub from: Option<u64>,
    /// Commits that end at this frame or an earlier one
    #[arg(long, value_name = "FRAME")]
    pub to: Option<u64>,
    /// Show so many, the newest ones; 0: all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// The oldest first
    #[arg(long)]
    pub reverse: bool,
    /// Show how many there were over time
    #[arg(long)]
    pub histogram: bool,
}

#[derive(clap::Args)]
pub struct CompactArgs {
    /// URL of the storage
    pub url: String,
    /// This log, if there are several
    #[arg(long, value_name = "LOG ID")]
    pub log: Option<LogId>,
}

#[derive(clap::Args)]
pub struct ExpireArgs {
    /// URL of the storage
    pub url: String,
    /// How far back it must be possible to go: 24h, '7 days'
    #[arg(long, value_parser = times::duration, value_name = "DURATION")]
    pub keep: Duration,
    /// Delete; without this it is only shown what would be deleted
    #[arg(long)]
    pub confirm: bool,
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
