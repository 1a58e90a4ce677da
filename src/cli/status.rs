//! `vwal status`: what lies on disk, and who holds it.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use vwal::inspect::{self, Depth, Inspection, inspect};

use super::{Failure, Outcome, Report, open, text};

/// Show the log of the database.
pub fn run(db: &Path, as_metrics: bool) -> Result<Report, Failure> {
    let inspection = look(db, Depth::Heads)?;
    if as_metrics {
        let metrics = inspect::metrics(&inspection);
        return Ok(Report::new(metrics.clone(), &metrics, outcome(&inspection)));
    }
    Ok(Report::new(describe(&inspection), &Shown::of(&inspection), outcome(&inspection)))
}

/// Inspect a database, which must be one. (With a log beside it, a file that is none is a finding: a damaged one.)
pub fn look(db: &Path, depth: Depth) -> Result<Inspection, Failure> {
    let path = open::existing(db)?;
    let inspection = inspect(&path, depth)?;
    if inspection.log_dir.is_none() && !inspection.findings.is_empty() && inspection.page_size.is_none() {
        return Err(Failure::new(format!("'{}' is not an SQLite database", path.display())));
    }
    Ok(inspection)
}

/// Findings have an exit code of their own.
pub fn outcome(inspection: &Inspection) -> Outcome {
    if inspection.findings.is_empty() { Outcome::Good } else { Outcome::Findings }
}

/// An inspection as data.
#[derive(Serialize)]
pub struct Shown {
    path: std::path::PathBuf,
    attached: bool,
    journal_mode: &'static str,
    log_dir: Option<std::path::PathBuf>,
    held_by: Option<serde_json::Value>,
    log_id: Option<String>,
    frame_no: Option<u64>,
    checkpointed_frame_no: Option<u64>,
    page_size: Option<u32>,
    db_size_pages: Option<u32>,
    segment_count: usize,
    log_bytes: u64,
    spare_files: u64,
    meta: Vec<Option<serde_json::Value>>,
    footer: Option<serde_json::Value>,
    segments: Vec<serde_json::Value>,
    findings: Vec<serde_json::Value>,
    notes: Vec<String>,
}

impl Shown {
    /// Field for field.
    pub fn of(inspection: &Inspection) -> Shown {
        Shown {
            path: inspection.path.clone(),
            attached: inspection.log_dir.is_some(),
            journal_mode: if inspection.is_wal { "wal" } else { "delete" },
            log_dir: inspection.log_dir.clone(),
            held_by: inspection.holder.as_ref().map(|holder| json!({ "pid": holder.pid, "name": holder.name })),
            log_id: inspection.log_id().map(|id| id.to_string()),
            frame_no: inspection.frame_no(),
            checkpointed_frame_no: inspection.meta().map(|meta| meta.checkpointed_frame_no),
            page_size: inspection.page_size.map(|size| size.get()),
            db_size_pages: inspection.db_size_pages(),
            segment_count: inspection.segments.len(),
            log_bytes: inspection.log_bytes(),
            spare_files: inspection.spare_files,
            meta: inspection
                .meta_slots
                .iter()
                .map(|slot| {
                    slot.map(|meta| {
                        json!({
                            "sequence": meta.sequence, "log_id": meta.log_id.to_string(),
                            "checkpointed_frame_no": meta.checkpointed_frame_no,
                            "intent_frame_no": meta.intent_frame_no, "db_size_pages": meta.db_size_pages,
                        })
                    })
                })
                .collect(),
            footer: inspection.footer.map(|footer| {
                json!({
                    "frame_no": footer.frame_no, "log_id": footer.log_id.to_string(),
                    "page_size": footer.page_size.get(), "db_size_pages": footer.db_size_pages,
                    "change_counter": footer.change_counter,
                })
            }),
            segments: inspection
                .segments
                .iter()
                .map(|segment| {
                    json!({
                        "start_frame_no": segment.start_frame_no, "end_frame_no": segment.end_frame_no,
                        "state": segment.state.name(), "bytes": segment.bytes, "path": segment.path,
                        "uncommitted": segment.uncommitted,
                    })
                })
                .collect(),
            findings: inspection
                .findings
                .iter()
                .map(|finding| json!({ "path": finding.path, "offset": finding.offset, "message": finding.message }))
                .collect(),
            notes: inspection.notes.clone(),
        }
    }
}

/// An inspection as text.
pub fn describe(inspection: &Inspection) -> String {
    let path = inspection.path.display().to_string();
    let mut text = match &inspection.log_dir {
        None => {
            let mode = if inspection.is_wal { "WAL" } else { "rollback" };
            format!("{path} is an ordinary SQLite database in {mode} mode: it has no log directory.\n")
        }
        Some(_) => attached(inspection, path),
    };
    for note in &inspection.notes {
        text.push_str(&format!("- {note}\n"));
    }
    for finding in &inspection.findings {
        text.push_str(&format!("! {finding}\n"));
    }
    text
}

fn attached(inspection: &Inspection, path: String) -> String {
    let unknown = || "unknown".to_owned();
    let number = |number: Option<u64>| number.map_or_else(unknown, text::count);
    let mut facts = vec![
        ("database", path),
        ("held by", inspection.holder.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string)),
        ("log id", inspection.log_id().map_or_else(unknown, |id| id.to_string())),
        ("frame number", number(inspection.frame_no())),
        ("checkpointed", number(inspection.meta().map(|meta| meta.checkpointed_frame_no))),
    ];
    if let Some(meta) = inspection.meta().filter(|meta| meta.has_intent()) {
        facts.push(("checkpoint", format!("under way to frame {}", text::count(meta.intent_frame_no))));
    }
    let pages =
        inspection.db_size_pages().map_or_else(unknown, |pages| text::plural(u64::from(pages), "page"));
    let size = inspection.page_size.map_or_else(unknown, |size| size.get().to_string());
    facts.push(("size", format!("{pages} of {size} bytes")));
    facts.push((
        "log",
        format!(
            "{}, {}, {}",
            text::plural(inspection.segments.len() as u64, "segment"),
            text::bytes(inspection.log_bytes()),
            text::plural(inspection.spare_files, "spare file")
        ),
    ));
    let footer = inspection.footer.map_or_else(
        || "none".to_owned(),
        |footer| format!("frame {} of log {}", text::count(footer.frame_no), footer.log_id),
    );
    facts.push(("footer", footer));
    let mut text = text::table(&[], &[], facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    text.push('\n');
    if !inspection.segments.is_empty() {
        let rows = inspection.segments.iter().map(|segment| {
            let frames = match segment.frames() {
                0 => "none yet".to_owned(),
                _ => format!("{} to {}", segment.start_frame_no, segment.end_frame_no),
            };
            let name = segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            vec![name, frames, segment.state.name().to_owned(), text::bytes(segment.bytes)]
        });
        text.push_str(&text::table(&["segment", "frames", "state", "size"], &[3], rows));
        text.push('\n');
    }
    text
}
