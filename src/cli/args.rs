//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and all is well
  1  it could not be done; standard error says why
  2  wrong arguments
  3  done, and what was verified is not right (demo, status, verify, detach)

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
