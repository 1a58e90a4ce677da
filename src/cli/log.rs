//! `vwal log`: the commits that there are, in storage or in the log of a database.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use vwal::storage::StorageUrl;
use vwal::{LogId, inspect, restore};

use super::args::LogArgs;
use super::remote::Place;
use super::{Failure, Outcome, Report, open, remote, text, times};

/// A commit, as it is shown.
#[derive(Clone, Serialize)]
struct Row {
    frame_no: u64,
    time: String,
    #[serde(skip)]
    time_us: u64,
    /// Pages that it wrote; for a full image, pages of the database.
    pages: u64,
    bytes: u64,
    db_size_pages: u32,
    /// Whether storage can give the state after it. A later merge may have left only the last of several.
    restorable: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    log_id: Option<String>,
    /// All that fit the filters; `commits` may be fewer.
    count: u64,
    commits: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    histogram: Vec<Bin>,
}

/// An interval of the histogram.
#[derive(Clone, Serialize)]
struct Bin {
    from: String,
    commits: u64,
    pages: u64,
}

const BINS: u64 = 24;

/// Show commits.
pub fn run(args: &LogArgs) -> Result<Report, Failure> {
    let mut sink = Sink::new(args);
    let log_id = match Place::of(&args.place)? {
        Place::Url(url) => Some(from_storage(&url, args.log, &mut sink)?),
        Place::Database(path) => {
            from_database(&path, &mut sink)?;
            None
        }
    };
    Ok(sink.report(args, log_id))
}

fn from_storage(url: &StorageUrl, wanted: Option<LogId>, sink: &mut Sink) -> Result<LogId, Failure> {
    let spinner = remote::spinner("reading commit times");
    let log_id = remote::block_on(async {
        let storage = remote::open(url)?;
        let log_id = remote::choose_log(&storage, wanted).await?;
        let mut commits = restore::Commits::of(&storage, log_id).await?;
        while let Some(listed) = commits.next().await? {
            let (commit, page_size) = (listed.commit, u64::from(listed.page_size.get()));
            sink.push(Row {
                frame_no: commit.frame_no,
                time: times::show(commit.commit_us),
                time_us: commit.commit_us,
                pages: listed.pages,
                bytes: listed.pages * page_size,
                db_size_pages: commit.db_size_pages,
                restorable: listed.is_restorable,
            });
        }
        Ok(log_id)
    })?;
    spinner.finish_and_clear();
    Ok(log_id)
}

fn from_database(path: &Path, sink: &mut Sink) -> Result<(), Failure> {
    let path = open::existing(path)?;
    let commits = inspect::commits(&path)?;
    for commit in commits {
        sink.push(Row {
            frame_no: commit.frame_no,
            time: times::show(commit.commit_us),
            time_us: commit.commit_us,
            pages: commit.pages,
            bytes: commit.pages * u64::from(commit.page_size.get()),
            db_size_pages: commit.db_size_pages,
            restorable: false,
        });
    }
    Ok(())
}

/// Takes all commits, ascending, and keeps those that will be shown.
struct Sink<'a> {
    args: &'a LogArgs,
    count: u64,
    rows: VecDeque<Row>,
    /// (time, pages) of all that fit, for the histogram.
    points: Vec<(u64, u64)>,
}

impl<'a> Sink<'a> {
    fn new(args: &'a LogArgs) -> Sink<'a> {
        Sink { args, count: 0, rows: VecDeque::new(), points: Vec::new() }
    }

    fn push(&mut self, row: Row) {
        let args = self.args;
        let fits = args.since.is_none_or(|since| row.time_us >= since)
            && args.until.is_none_or(|until| row.time_us <= until)
            && args.from.is_none_or(|from| row.frame_no >= from)
            && args.to.is_none_or(|to| row.frame_no <= to);
        if !fits {
            return;
        }
        self.count += 1;
        if args.histogram {
            self.points.push((row.time_us, row.pages));
        }
        // The newest ones are shown, or with --reverse the oldest ones.
        let limit = if args.limit == 0 { usize::MAX } else { args.limit };
        if self.rows.len() < limit {
            self.rows.push_back(row);
        } else if !args.reverse {
            self.rows.pop_front();
            self.rows.push_back(row);
        }
    }

    fn histogram(&self) -> Vec<Bin> {
        let (Some(first), Some(last)) =
            (self.points.iter().map(|point| point.0).min(), self.points.iter().map(|point| point.0).max())
        else {
            return Vec::new();
        };
        let width = ((last - first) / BINS + 1).max(1);
        let mut bins: Vec<Bin> = (0..=(last - first) / width)
            .map(|bin| Bin { from: times::show(first + bin * width), commits: 0, pages: 0 })
            .collect();
        for (time_us, pages) in &self.points {
            let at = usize::try_from((time_us - first) / width).unwrap_or(0);
            if let Some(bin) = bins.get_mut(at) {
                bin.commits += 1;
                bin.pages += pages;
            }
        }
        bins
    }

    fn report(mut self, args: &LogArgs, log_id: Option<LogId>) -> Report {
        let histogram = if args.histogram { self.histogram() } else { Vec::new() };
        let mut rows: Vec<Row> = std::mem::take(&mut self.rows).into();
        if !args.reverse {
            rows.reverse();
        }
        let is_remote = log_id.is_some();
        let mut out = String::new();
        if let Some(log_id) = log_id {
            let _ = writeln!(out, "log {log_id}");
        }
        if !histogram.is_empty() {
            out.push_str(&bars(&histogram));
        } else if rows.is_empty() {
            out.push_str("no commits\n");
        } else {
            let mut heading = vec!["frame", "time", "pages", "bytes", "database"];
            if is_remote {
                heading.push("restore");
            }
            let lines = rows.iter().map(|row| {
                let mut cells = vec![
                    row.frame_no.to_string(),
                    row.time.clone(),
                    text::count(row.pages),
                    text::bytes(row.bytes),
                    text::plural(u64::from(row.db_size_pages), "page"),
                ];
                if is_remote {
                    cells.push(if row.restorable { "yes" } else { "merged" }.to_owned());
                }
                cells
            });
            out.push_str(&text::table(&heading, &[0, 2, 3, 4], lines));
            out.push('\n');
            let shown = rows.len() as u64;
            if shown < self.count {
                let _ = writeln!(
                    out,
                    "{} of {} (--limit 0 for all)",
                    text::count(shown),
                    text::plural(self.count, "commit")
                );
            }
        }
        let shown = Shown {
            log_id: log_id.map(|log_id| log_id.to_string()),
            count: self.count,
            commits: rows,
            histogram,
        };
        Report::new(out, &shown, Outcome::Good)
    }
}

/// A bar per interval, as long as its share of the commits.
fn bars(bins: &[Bin]) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    const WIDTH: u64 = 40;
    let most = bins.iter().map(|bin| bin.commits).max().unwrap_or(0).max(1);
    let rows = bins.iter().map(|bin| {
        let eighths = bin.commits * WIDTH * 8 / most;
        let rest = EIGHTHS[usize::try_from(eighths % 8).unwrap_or(0)];
        let bar = "█".repeat(usize::try_from(eighths / 8).unwrap_or(0)) + rest;
        vec![bin.from.clone(), text::count(bin.commits), text::count(bin.pages), bar]
    });
    let mut table = text::table(&["from", "commits", "pages", ""], &[1, 2], rows);
    table.push('\n');
    table
}
