//! `vwal demo`: a process that writes is killed in the middle, again and again, and each time the database must hold
//! every transaction that it acknowledged, and no half of any other.
//!
//! The writing process (`worker.rs`) reports a transaction over a pipe once COMMIT has returned, and no sooner. What it
//! writes is a ledger (`ledger.rs`): each transaction's row carries a hash over what the transaction wrote and over the
//! row before, so that a transaction that is missing, halved or altered shows. The copy's own tables (`tables.rs`) are
//! rewritten with the values that they have, and must hold them to the end.

mod child;
mod ledger;
mod report;
mod source;
mod storage;
mod tables;
mod worker;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rusqlite::Connection;
use vwal::Database;
use vwal::inspect::{Depth, inspect};

use super::args::DemoArgs;
use super::{Failure, Report, attach, open, plain, text};
use child::Worker;
use ledger::{Commit, Random};
use report::{DemoReport, FooterRow, Round, SegmentRow};
use source::WorkDir;
use tables::Contents;

pub use worker::work;

/// Small segments and an eager checkpointer: in the few seconds of a demonstration everything is to happen that happens
/// to a database in weeks, so that the kill meets it.
const PARAMS: [&str; 3] =
    ["vwal_swap=size>=512KiB", "vwal_checkpoint_size=4MiB", "vwal_ship_interval_ms=200"];

/// Transactions that this process writes after the last kill: the database goes on.
const FINAL_COMMITS: u64 = 200;
/// Moments among them that are restored later.
const POINTS: u32 = 3;

/// Open the copy, with its storage.
fn open_copy(copy: &Path) -> Result<Connection, Failure> {
    let storage = format!("vwal_storage={}", storage::url(copy)?);
    let mut params = PARAMS.to_vec();
    params.push(&storage);
    open::through_vwal(copy, &params)
}

/// Run the demonstration.
pub fn run(args: &DemoArgs) -> Result<Report, Failure> {
    let mut dir = WorkDir::new(args.dir.as_deref())?;
    let (copy, source) = source::copy(args.db.as_deref(), &dir)?;
    let result = demonstrate(args, &copy, &source);
    // What failed is evidence.
    let proved = result.as_ref().is_ok_and(|report| report.problems.is_empty());
    if args.keep || !proved {
        dir.keep();
        eprintln!("kept: {}", dir.path().display());
    }
    let mut report = result?;
    report.kept = (args.keep || !proved).then(|| report.copy.clone());
    Ok(report.finish())
}

fn demonstrate(args: &DemoArgs, copy: &Path, source: &str) -> Result<DemoReport, Failure> {
    let say = Progress::new(args);
    let mut report = DemoReport::new(source, copy);
    report.copied_bytes = copy.metadata().map_or(0, |metadata| metadata.len());
    say.line(&format!("copied {source} ({})", text::bytes(report.copied_bytes)));

    let conn = open_copy(copy)?;
    report.log_id = Database::of(&conn, "main")?.log_id().to_string();
    ledger::create(&conn)?;
    let contents = tables::contents(&conn)?;
    report.tables = contents.tables();
    report.rows = contents.rows();
    attach::close(conn)?;

    let mut random = Random::from_clock();
    let mut acknowledged = Vec::new();
    for number in 1..=args.rounds {
        let round = kill_one(args, copy, number, &mut random, &mut acknowledged, &say)?;
        say.bar.set_message(format!("round {number}: reopening, and checking every transaction"));
        report.add(prove(copy, &contents, round, &acknowledged)?);
    }
    say.line("writing on; then the database is deleted, and restored from what was shipped");
    lose_and_restore(copy, &mut report, &mut random, &mut acknowledged, &say)?;
    say.line("checkpointing, handing the file to plain SQLite");
    finish(copy, &contents, &mut report, &acknowledged)?;
    say.done();
    Ok(report)
}

/// Start the writing process, let it write for a while, and kill it.
fn kill_one(
    args: &DemoArgs,
    copy: &Path,
    number: u32,
    random: &mut Random,
    acknowledged: &mut Vec<Commit>,
    say: &Progress,
) -> Result<Round, Failure> {
    let worker = Worker::spawn(copy, args, random.next())?;
    worker.wait_for_the_first_commit()?;
    let started = Instant::now();
    // Not at the same moment each time: from three to four quarters of the time that was asked for.
    let life = Duration::from_secs_f64(args.seconds * (0.75 + random.below(250) as f64 / 1000.0));
    while started.elapsed() < life {
        std::thread::sleep(Duration::from_millis(40));
        worker.must_be_alive()?;
        say.at(number, started.elapsed(), worker.commits());
    }
    let pid = worker.pid();
    let written = started.elapsed();
    let heard = worker.kill()?;
    let commits = heard.commits.len() as u64;
    acknowledged.extend(heard.commits);
    say.line(&format!(
        "round {number}: process {pid} killed after {:.1} s and {} acknowledged transactions",
        written.as_secs_f64(),
        text::count(commits)
    ));
    Ok(Round {
        number,
        pid,
        seconds: written.as_secs_f64(),
        acknowledged: commits,
        reads: heard.reads,
        writers: u64::from(args.writers),
        problems: heard.violations,
        ..Round::default()
    })
}

/// Reopen the database and hold it against what was acknowledged.
fn prove(
    copy: &Path,
    contents: &Contents,
    mut round: Round,
    acknowledged: &[Commit],
) -> Result<Round, Failure> {
    let started = Instant::now();
    let conn = open_copy(copy)?;
    round.recovery_ms = started.elapsed().as_secs_f64() * 1000.0;
    check(&conn, contents, &mut round, acknowledged)?;
    attach::close(conn)?;
    // A writer reports each commit before it begins the next, so a kill leaves one unheard for each at most.
    let most = round.writers * u64::from(round.number);
    if round.unheard > most {
        let unheard = round.unheard;
        round.problems.push(format!(
            "{unheard} transactions are there that nobody acknowledged, at most {most} can be"
        ));
    }
    Ok(round)
}

/// All that must hold of the open database.
fn check(
    conn: &Connection,
    contents: &Contents,
    round: &mut Round,
    acknowledged: &[Commit],
) -> Result<(), Failure> {
    let audit = ledger::audit(conn, acknowledged)?;
    round.found = audit.found;
    round.lost = audit.lost;
    round.half_written = audit.half_written;
    round.problems.extend(audit.problems);
    round.unheard = audit.found.saturating_sub(acknowledged.len() as u64);
    let broken = open::integrity_check(conn)?;
    round.problems.extend(broken.iter().map(|problem| format!("integrity_check: {problem}")));
    round.problems.extend(contents.differences(&tables::contents(conn)?));
    Ok(())
}

/// After the last kill: the database still takes commits. It is deleted, restored at some moments in between, and then to
/// its newest state, with which the demonstration goes on.
fn lose_and_restore(
    copy: &Path,
    report: &mut DemoReport,
    random: &mut Random,
    acknowledged: &mut Vec<Commit>,
    say: &Progress,
) -> Result<(), Failure> {
    let mut conn = open_copy(copy)?;
    let database = Database::of(&conn, "main")?;
    let mut points = Vec::new();
    for number in 1..=POINTS {
        for _ in 0..FINAL_COMMITS / u64::from(POINTS + 1) {
            acknowledged.extend(ledger::append(&mut conn, 0, random, &[])?);
        }
        points.push(storage::mark(&conn, &database, copy, number)?);
    }
    while !(acknowledged.len() as u64).is_multiple_of(FINAL_COMMITS) {
        acknowledged.extend(ledger::append(&mut conn, 0, random, &[])?);
    }
    report.segments = database.segments().into_iter().map(SegmentRow::from).collect();
    let last = database.sync()?;
    drop(database);
    attach::close(conn)?;
    storage::lose(copy)?;
    for point in &mut points {
        say.bar.set_message(format!("restoring the database as it was at point {}", point.number));
        report.problems.extend(storage::prove(copy, point)?);
    }
    report.points = points;
    storage::bring_back(copy)?;
    // It goes on where its log ended, in the same storage.
    let mut conn = open_copy(copy)?;
    let database = Database::of(&conn, "main")?;
    let now = database.sync()?;
    if now != last || database.log_id().to_string() != report.log_id {
        report.problems.push(format!(
            "the restored database is at frame {now} of log {}, expected frame {last} of the same log",
            database.log_id()
        ));
    }
    for _ in 0..FINAL_COMMITS {
        acknowledged.extend(ledger::append(&mut conn, 0, random, &[])?);
    }
    database.sync()?;
    drop(database);
    attach::close(conn)
}

/// At the end: the database drains into its file, and is an ordinary database again.
fn finish(
    copy: &Path,
    contents: &Contents,
    report: &mut DemoReport,
    acknowledged: &[Commit],
) -> Result<(), Failure> {
    let conn = open_copy(copy)?;
    let database = Database::of(&conn, "main")?;
    let before = database.frame_no();
    let started = Instant::now();
    let checkpointed = database.checkpoint()?;
    report.checkpoint_ms = started.elapsed().as_secs_f64() * 1000.0;
    if checkpointed < before {
        report.problems.push(format!("the checkpoint ended at frame {checkpointed}, of {before}"));
    }
    drop(database);
    attach::close(conn)?;

    // Only now, with SQLite's handles closed: a second descriptor of the file, when closed, would drop its locks.
    let inspection = inspect(copy, Depth::Frames)?;
    report.problems.extend(inspection.findings.iter().map(ToString::to_string));
    match inspection.footer {
        Some(footer) if footer.frame_no < before || footer.log_id.to_string() != report.log_id => {
            report
                .problems
                .push(format!("the footer says frame {} of log {}", footer.frame_no, footer.log_id));
            report.footer = Some(FooterRow::from(footer));
        }
        Some(footer) => report.footer = Some(FooterRow::from(footer)),
        None => report.problems.push("the database file has no footer after a checkpoint".to_owned()),
    }

    attach::leave(copy)?;
    let check = plain::check(copy)?;
    report.problems.extend(check.problems.iter().map(|problem| format!("plain SQLite: {problem}")));
    report.plain_sqlite = check.sqlite;
    // The ledger once more, this time as plain SQLite reads it.
    let conn = open::plain(copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut last = Round::default();
    self::check(&conn, contents, &mut last, acknowledged)?;
    report.end(last, acknowledged.len() as u64);
    Ok(())
}

/// What goes to standard error while it runs: a line per step, and a bar when somebody is watching.
struct Progress {
    bar: ProgressBar,
    round: Duration,
}

impl Progress {
    fn new(args: &DemoArgs) -> Progress {
        let round = Duration::from_secs_f64(args.seconds);
        let total = round * args.rounds;
        // Hidden when standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(total.as_millis() as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {msg}") {
            bar.set_style(style);
        }
        Progress { bar, round }
    }

    fn at(&self, round: u32, elapsed: Duration, commits: u64) {
        let before = self.round * (round - 1);
        self.bar.set_position((before + elapsed.min(self.round)).as_millis() as u64);
        self.bar.set_message(format!("round {round}: {} transactions acknowledged", text::count(commits)));
    }

    fn line(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    fn done(&self) {
        self.bar.finish_and_clear();
    }
}

/// The name of the copy, made from the source's.
fn copy_path(dir: &Path, source: Option<&Path>) -> PathBuf {
    dir.join(source.and_then(Path::file_name).unwrap_or(std::ffi::OsStr::new("shop.db")))
}
