//! `vwal log`: the commits of a log.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::{Value, json};
use vwal::inspect;
use vwal::restore::{LoggedCommit, Wanted, commits};
use vwal::storage::RetryPolicy;

use crate::cli::args::LogArgs;
use crate::cli::{Failure, Outcome, Report, open, text};

use super::{as_url, parse_url, when};

/// Bars of a histogram, at most.
const BARS: u64 = 24;
/// Characters of its longest bar.
const BAR_WIDTH: u64 = 40;

/// List the commits, or show how they spread over time.
pub fn run(args: &LogArgs) -> Result<Report, Failure> {
    let time = |text: &Option<String>, default: u64| text.as_deref().map_or(Ok(default), when::parse);
    let wanted = Wanted {
        log_id: args.log,
        frames: args.from..=args.to,
        times: time(&args.since, 0)?..=time(&args.until, u64::MAX)?,
    };
    let mut kept =
        Kept { limit: args.limit.unwrap_or(usize::MAX), is_reverse: args.reverse, ..Kept::default() };
    match as_url(&args.what) {
        Some(url) => commits(&parse_url(url)?, RetryPolicy::default(), &wanted, |commit| kept.add(commit))?,
        None => {
            let path = open::existing(Path::new(&args.what))?;
            let all = inspect::commits(&path)?;
            let is_wanted = |logged: &&LoggedCommit| {
                wanted.contains(&logged.commit) && wanted.log_id.is_none_or(|log_id| logged.log_id == log_id)
            };
            all.iter().filter(is_wanted).for_each(|commit| kept.add(commit));
        }
    }
    let mut commits: Vec<LoggedCommit> = kept.commits.into();
    if !args.reverse {
        commits.reverse();
    }
    if args.histogram {
        return Ok(histogram(&commits));
    }
    let several =
        commits.iter().any(|commit| Some(commit.log_id) != commits.first().map(|first| first.log_id));
    let mut heading = vec!["frame", "time", "pages", "bytes", "database"];
    if several {
        heading.push("log");
    }
    let unknown = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), text::count);
    let rows = commits.iter().map(|logged| {
        let mut row = vec![
            text::count(logged.commit.frame_no),
            when::show(logged.commit.commit_us),
            unknown(logged.frames),
            logged.bytes().map_or_else(|| "?".to_owned(), text::bytes),
            text::plural(u64::from(logged.commit.db_size_pages), "page"),
        ];
        if several {
            row.push(logged.log_id.to_string());
        }
        row
    });
    let mut shown = text::table(&heading, &[0, 2, 3, 4], rows);
    shown += &format!("\n{}", text::plural(commits.len() as u64, "commit"));
    if kept.dropped > 0 {
        shown += &format!(", and {} more", text::count(kept.dropped));
    }
    let rows: Vec<Value> = commits
        .iter()
        .map(|logged| {
            json!({
                "log_id": logged.log_id.to_string(), "frame_no": logged.commit.frame_no,
                "commit_us": logged.commit.commit_us, "time": when::rfc3339(logged.commit.commit_us),
                "pages": logged.frames, "bytes": logged.bytes(), "db_size_pages": logged.commit.db_size_pages,
            })
        })
        .collect();
    Ok(Report::new(shown, &json!({ "commits": rows, "left_out": kept.dropped }), Outcome::Good))
}

/// The commits that are shown; they come oldest first.
#[derive(Default)]
struct Kept {
    commits: VecDeque<LoggedCommit>,
    limit: usize,
    is_reverse: bool,
    dropped: u64,
}

impl Kept {
    fn add(&mut self, commit: &LoggedCommit) {
        if self.commits.len() < self.limit {
            self.commits.push_back(*commit);
            return;
        }
        self.dropped += 1;
        if !self.is_reverse && self.commits.pop_front().is_some() {
            self.commits.push_back(*commit);
        }
    }
}

/// A span of time, and what was committed in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    start_us: u64,
    commits: u64,
    pages: u64,
}

fn buckets(commits: &[LoggedCommit]) -> Vec<Bucket> {
    let times = || commits.iter().map(|logged| logged.commit.commit_us);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Vec::new() };
    let width = (last - first) / BARS + 1;
    let count = (last - first) / width + 1;
    let mut buckets: Vec<Bucket> = (0..count)
        .map(|at| Bucket { start_us: first.saturating_add(at.saturating_mul(width)), ..Bucket::default() })
        .collect();
    for logged in commits {
        let at = (logged.commit.commit_us - first) / width;
        if let Some(bucket) = usize::try_from(at).ok().and_then(|at| buckets.get_mut(at)) {
            bucket.commits += 1;
            bucket.pages = bucket.pages.saturating_add(logged.frames.unwrap_or(0));
        }
    }
    buckets
}

/// A bar in eighths of a character.
fn bar(value: u64, most: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = value.saturating_mul(BAR_WIDTH * 8).div_ceil(most.max(1));
    let (whole, part) = (eighths / 8, eighths % 8);
    let whole = "█".repeat(usize::try_from(whole).unwrap_or(0));
    format!("{whole}{}", PARTS[usize::try_from(part).unwrap_or(0)])
}

fn histogram(commits: &[LoggedCommit]) -> Report {
    let buckets = buckets(commits);
    let most = buckets.iter().map(|bucket| bucket.commits).max().unwrap_or(0);
    let rows = buckets.iter().map(|bucket| {
        vec![
            when::show(bucket.start_us),
            text::count(bucket.commits),
            text::count(bucket.pages),
            bar(bucket.commits, most),
        ]
    });
    let mut shown = text::table(&["from", "commits", "pages", ""], &[1, 2], rows);
    shown += &format!("\n{}", text::plural(commits.len() as u64, "commit"));
    let data: Vec<Value> = buckets
        .iter()
        .map(|bucket| {
            json!({
                "start_us": bucket.start_us, "time": when::rfc3339(bucket.start_us), "commits": bucket.commits,
                "pages": bucket.pages,
            })
        })
        .collect();
    Report::new(shown, &json!({ "buckets": data, "commits": commits.len() }), Outcome::Good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vwal::format::bundle::Commit;
    use vwal::{LogId, PageSize};

    fn logged(commit_us: u64) -> LoggedCommit {
        LoggedCommit {
            log_id: LogId::from_bytes([7; 16]),
            commit: Commit { frame_no: commit_us + 1, commit_us, db_size_pages: 3 },
            frames: Some(2),
            page_size: PageSize::new(512).unwrap(),
        }
    }

    #[test]
    fn every_commit_is_in_one_bucket() {
        for times in
            [vec![], vec![5], vec![0, u64::MAX], (0..1000).map(|at| at * at % 7919).collect::<Vec<u64>>()]
        {
            let commits: Vec<_> = times.iter().map(|&time| logged(time.min(u64::MAX - 1))).collect();
            let buckets = buckets(&commits);
            assert_eq!(buckets.iter().map(|bucket| bucket.commits).sum::<u64>(), times.len() as u64);
            assert_eq!(buckets.iter().map(|bucket| bucket.pages).sum::<u64>(), 2 * times.len() as u64);
            assert!(buckets.len() as u64 <= BARS + 1);
        }
    }

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!((bar(0, 9), bar(9, 9)), (String::new(), "█".repeat(40)));
        assert_eq!(bar(1, 1000), "▏", "little is not nothing");
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn the_limit_keeps_the_newest_or_the_oldest() {
        for (is_reverse, expected) in [(false, [7, 8, 9]), (true, [0, 1, 2])] {
            let mut kept = Kept { limit: 3, is_reverse, ..Kept::default() };
            (0..10).for_each(|time| kept.add(&logged(time)));
            let times: Vec<u64> = kept.commits.iter().map(|logged| logged.commit.commit_us).collect();
            assert_eq!((times, kept.dropped), (expected.to_vec(), 7));
        }
    }
}
