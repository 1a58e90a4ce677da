//! What the demonstration has to say at its end.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vwal::SegmentInfo;
use vwal::format::footer::Footer;

use super::super::{Outcome, Report, text};
use super::storage::Point;

/// One life of the writing process, and what was found after its death.
#[derive(Debug, Default, Serialize)]
pub struct Round {
    pub number: u32,
    pub pid: u32,
    pub seconds: f64,
    /// Transactions that the process acknowledged in this round.
    pub acknowledged: u64,
    pub reads: u64,
    #[serde(skip)]
    pub writers: u64,
    /// Milliseconds to open the database after the kill.
    pub recovery_ms: f64,
    /// Transactions in the database, of this round and those before.
    pub found: u64,
    /// Of those, how many were committed but killed before anybody was told.
    pub unheard: u64,
    pub lost: u64,
    pub half_written: u64,
    pub problems: Vec<String>,
}

/// A row of `vwal_segments`.
#[derive(Debug, Serialize)]
pub struct SegmentRow {
    pub start_frame_no: u64,
    pub end_frame_no: u64,
    pub state: &'static str,
    pub bytes: u64,
    pub path: PathBuf,
}

impl From<SegmentInfo> for SegmentRow {
    fn from(segment: SegmentInfo) -> Self {
        SegmentRow {
            start_frame_no: segment.start_frame_no,
            end_frame_no: segment.end_frame_no,
            state: segment.state.name(),
            bytes: segment.bytes,
            path: segment.path,
        }
    }
}

/// What the footer says.
#[derive(Debug, Serialize)]
pub struct FooterRow {
    pub frame_no: u64,
    pub log_id: String,
    pub page_size: u32,
    pub db_size_pages: u32,
}

impl From<Footer> for FooterRow {
    fn from(footer: Footer) -> Self {
        FooterRow {
            frame_no: footer.frame_no,
            log_id: footer.log_id.to_string(),
            page_size: footer.page_size.get(),
            db_size_pages: footer.db_size_pages,
        }
    }
}

/// All of it.
#[derive(Debug, Default, Serialize)]
pub struct DemoReport {
    /// "proved" or "failed"; set by [`DemoReport::finish`].
    pub verdict: &'static str,
    pub source: String,
    pub copy: PathBuf,
    /// Where the copy is, when it was kept.
    pub kept: Option<PathBuf>,
    pub copied_bytes: u64,
    pub tables: u64,
    pub rows: u64,
    pub log_id: String,
    pub acknowledged: u64,
    pub found: u64,
    pub unheard: u64,
    pub lost: u64,
    pub half_written: u64,
    pub commits_per_second: f64,
    pub reads_per_second: f64,
    pub checkpoint_ms: f64,
    pub plain_sqlite: String,
    pub rounds: Vec<Round>,
    /// The log's segments before the database was deleted.
    pub segments: Vec<SegmentRow>,
    /// Moments to which the database was restored after it had been deleted.
    pub points: Vec<Point>,
    /// The footer after it.
    pub footer: Option<FooterRow>,
    pub problems: Vec<String>,
}

impl DemoReport {
    pub fn new(source: &str, copy: &Path) -> DemoReport {
        DemoReport { source: source.to_owned(), copy: copy.to_owned(), ..DemoReport::default() }
    }

    /// A round is over.
    pub fn add(&mut self, round: Round) {
        self.take(&round, &format!("after round {}", round.number));
        self.rounds.push(round);
    }

    /// The check after everything, by plain SQLite.
    pub fn end(&mut self, last: Round, acknowledged: u64) {
        self.acknowledged = acknowledged;
        self.found = last.found;
        self.unheard = last.unheard;
        self.take(&last, "in plain SQLite");
    }

    fn take(&mut self, round: &Round, when: &str) {
        // What is lost stays lost: the worst round counts, not the sum.
        self.lost = self.lost.max(round.lost);
        self.half_written = self.half_written.max(round.half_written);
        self.problems.extend(round.problems.iter().map(|problem| format!("{when}: {problem}")));
    }

    /// The report on standard output.
    pub fn finish(mut self) -> Report {
        let seconds: f64 = self.rounds.iter().map(|round| round.seconds).sum();
        let reads: u64 = self.rounds.iter().map(|round| round.reads).sum();
        let killed: u64 = self.rounds.iter().map(|round| round.acknowledged).sum();
        self.commits_per_second = rate(killed, seconds);
        self.reads_per_second = rate(reads, seconds);
        let good = self.problems.is_empty() && self.lost == 0 && self.half_written == 0;
        self.verdict = if good { "proved" } else { "failed" };
        Report::new(self.text(), &self, if good { Outcome::Good } else { Outcome::Findings })
    }

    fn text(&self) -> String {
        let rounds = text::table(
            &[
                "kill",
                "ran for",
                "acknowledged",
                "reads",
                "reopened in",
                "found in all",
                "lost",
                "half-written",
            ],
            &[0, 1, 2, 3, 4, 5, 6, 7],
            self.rounds.iter().map(|round| {
                vec![
                    round.number.to_string(),
                    format!("{:.1} s", round.seconds),
                    text::count(round.acknowledged),
                    text::count(round.reads),
                    format!("{:.0} ms", round.recovery_ms),
                    text::count(round.found),
                    text::count(round.lost),
                    text::count(round.half_written),
                ]
            }),
        );
        let segments = text::table(
            &["segment", "frames", "state", "bytes"],
            &[3],
            self.segments.iter().map(|segment| {
                let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
                let frames = format!("{} to {}", segment.start_frame_no, segment.end_frame_no);
                vec![name.into_owned(), frames, segment.state.to_owned(), text::bytes(segment.bytes)]
            }),
        );
        let points = text::table(
            &["point", "frame", "restored frame", "pages", "read from storage", "equal"],
            &[0, 1, 2, 3, 4],
            self.points.iter().map(|point| {
                vec![
                    point.number.to_string(),
                    text::count(point.frame_no),
                    point.restored_frame_no.map_or_else(String::new, text::count),
                    text::count(point.pages),
                    text::bytes(point.bytes_read),
                    if point.equal { "yes" } else { "NO" }.to_owned(),
                ]
            }),
        );
        let footer = match &self.footer {
            Some(footer) => format!(
                "frame {} of log {}, {} of {} bytes",
                text::count(footer.frame_no),
                footer.log_id,
                text::plural(u64::from(footer.db_size_pages), "page"),
                footer.page_size
            ),
            None => "none".to_owned(),
        };
        let summary = text::table(
            &[],
            &[],
            [
                ("database", format!("copy of {}, {}", self.source, text::bytes(self.copied_bytes))),
                ("throughput", self.throughput()),
                ("acknowledged", text::count(self.acknowledged)),
                ("found", self.found_text()),
                ("lost", text::count(self.lost)),
                ("half-written", text::count(self.half_written)),
                (
                    "its own tables",
                    format!(
                        "{} with {} compared",
                        text::plural(self.tables, "table"),
                        text::plural(self.rows, "row")
                    ),
                ),
                ("footer", footer),
                ("plain SQLite", format!("version {} opened and checked it", self.plain_sqlite)),
                ("verdict", self.verdict_text()),
            ]
            .map(|(name, value)| vec![name.to_owned(), value]),
        );
        let mut text = format!(
            "{rounds}\n\nDeleted, and restored from storage by time:\n{points}\n\n\
             Segments of the log before that:\n{segments}\n\n{summary}\n",
        );
        for problem in &self.problems {
            text.push_str(&format!("! {problem}\n"));
        }
        if let Some(kept) = &self.kept {
            text.push_str(&format!("The database was kept: {}\n", kept.display()));
        }
        text
    }

    fn throughput(&self) -> String {
        let (commits, reads) = (self.commits_per_second as u64, self.reads_per_second as u64);
        format!("{} commits/s beside {} reads/s", text::count(commits), text::count(reads))
    }

    fn found_text(&self) -> String {
        match self.unheard {
            0 => text::count(self.found),
            unheard => format!("{} ({} killed between commit and report)", text::count(self.found), unheard),
        }
    }

    fn verdict_text(&self) -> String {
        match self.verdict {
            "proved" => {
                "each acknowledged transaction is there, every transaction is whole, every restored state is equal".to_owned()
            }
            _ => format!("FAILED: {}", text::plural(self.problems.len() as u64, "problem")),
        }
    }
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
