//! `vwal verify`: of storage here, of a database in `cli/verify.rs`.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::json;
use vwal::restore::verify::{Depth, Verified, verify};
use vwal::storage::RetryPolicy;

use crate::cli::{Failure, Outcome, Report, text, verify as database};

use super::{as_url, bar, parse_url};

/// Verify a database, or what is at a URL.
pub fn run(what: &OsStr, read_data: bool) -> Result<Report, Failure> {
    match as_url(what) {
        Some(url) => storage(url, read_data),
        None if read_data => {
            Err(Failure::usage("--read-data is for storage: of a database everything is read anyway"))
        }
        None => database::run(Path::new(what)),
    }
}

fn storage(text: &str, read_data: bool) -> Result<Report, Failure> {
    let url = parse_url(text)?;
    let depth = if read_data { Depth::Data } else { Depth::Indexes };
    let bar = bar("{bar:32} {pos}/{len} bundles, {eta} left");
    let verified = verify(&url, RetryPolicy::default(), depth, |advance| {
        bar.set_length(advance.bundles_total);
        bar.set_position(advance.bundles);
    });
    bar.finish_and_clear();
    let verified = verified?;
    if verified.logs.is_empty() && verified.findings.is_empty() {
        let what = "holds no log of vwal, so there is nothing to verify: is the URL right?".into();
        return Err(vwal::Error::NothingThere { url: url.to_string(), what }.into());
    }
    let ok = verified.findings.is_empty();
    let logs: Vec<_> = verified
        .logs
        .iter()
        .map(|log| {
            let level = |level: &vwal::restore::verify::LevelSummary| {
                json!({ "level": level.level.to_string(), "bundles": level.bundles, "bytes": level.bytes })
            };
            json!({
                "log_id": log.log_id.to_string(), "first_frame_no": log.first_frame_no,
                "end_frame_no": log.end_frame_no, "restorable_commits": log.restorable,
                "successor": log.successor.map(|id| id.to_string()),
                "levels": log.levels.iter().map(level).collect::<Vec<_>>(),
            })
        })
        .collect();
    let findings: Vec<_> = verified
        .findings
        .iter()
        .map(|finding| json!({ "object": finding.object, "offset": finding.offset, "message": finding.what }))
        .collect();
    let data = json!({
        "url": url.to_string(), "ok": ok, "read_data": read_data, "objects": verified.objects,
        "bytes": verified.bytes, "logs": logs, "findings": findings, "notes": verified.notes,
    });
    let outcome = if ok { Outcome::Good } else { Outcome::Findings };
    Ok(Report::new(describe(&verified, read_data), &data, outcome))
}

fn describe(verified: &Verified, read_data: bool) -> String {
    let mut shown = String::new();
    for log in &verified.logs {
        shown += &format!("log {}\n", log.log_id);
        let rows = log
            .levels
            .iter()
            .map(|level| vec![level.level.to_string(), text::count(level.bundles), text::bytes(level.bytes)]);
        shown += &text::table(&["level", "bundles", "size"], &[1, 2], rows);
        shown.push('\n');
        if let (Some(first), Some(end)) = (log.first_frame_no, log.end_frame_no) {
            shown += &format!(
                "{} can be restored, from frame {first} to frame {end}\n",
                text::plural(log.restorable, "commit")
            );
        }
        if let Some(successor) = log.successor {
            shown += &format!("log {successor} took over\n");
        }
        shown.push('\n');
    }
    for note in &verified.notes {
        shown += &format!("- {note}\n");
    }
    for finding in &verified.findings {
        shown += &format!("! {finding}\n");
    }
    let (objects, bytes) = (text::plural(verified.objects, "object"), text::bytes(verified.bytes));
    shown += &match (verified.findings.is_empty(), read_data) {
        (true, true) => format!("Verified: {objects}, every one of {bytes} read.\n"),
        (true, false) => {
            format!("Verified: {objects} of {bytes}, by their ends; --read-data reads all of them.\n")
        }
        (false, _) => "NOT in order: see the lines that begin with '!'.\n".to_owned(),
    };
    shown
}
