//! `vwal verify`: every byte of the log that means something, and then the database itself. No file is changed: opening a database is
//! recovering it, so the one that is checked is opened for reading alone.

use std::path::Path;

use serde::Serialize;
use vwal::inspect::{Depth, Inspection};

use super::status::{Shown, describe, look, outcome};
use super::{Failure, Outcome, Report, attach, open};

#[derive(Serialize)]
struct Verified {
    ok: bool,
    /// "ok", "failed" or "left out".
    integrity: &'static str,
    problems: Vec<String>,
    #[serde(flatten)]
    shown: Shown,
}

/// Verify the database.
pub fn run(db: &Path) -> Result<Report, Failure> {
    let inspection = look(db, Depth::Frames)?;
    let (checked, left_out) = integrity(&inspection.path, &inspection)?;
    let (integrity, problems) = match &checked {
        None => ("left out", Vec::new()),
        Some(problems) if problems.is_empty() => ("ok", Vec::new()),
        Some(problems) => ("failed", problems.clone()),
    };
    let ok = outcome(&inspection) == Outcome::Good && problems.is_empty();

    let mut text = describe(&inspection);
    for problem in &problems {
        text.push_str(&format!("! integrity_check: {problem}\n"));
    }
    if let Some(reason) = left_out {
        text.push_str(&format!("- integrity_check was left out: {reason}\n"));
    }
    let frames: u64 = inspection.segments.iter().map(|segment| segment.frames()).sum();
    text.push_str(&match (ok, checked.is_some()) {
        (true, true) => {
            format!("Verified: {} in the log, integrity ok.\n", super::text::plural(frames, "frame"))
        }
        (true, false) => format!(
            "Verified as far as possible: {} in the log are whole.\n",
            super::text::plural(frames, "frame")
        ),
        (false, _) => "NOT in order: see the lines that begin with '!'.\n".to_owned(),
    });
    let outcome = if ok { Outcome::Good } else { Outcome::Findings };
    Ok(Report::new(text, &Verified { ok, integrity, problems, shown: Shown::of(&inspection) }, outcome))
}

/// What `PRAGMA integrity_check` says, or why it was not asked.
fn integrity(path: &Path, inspection: &Inspection) -> Result<(Option<Vec<String>>, Option<String>), Failure> {
    if let Some(holder) = &inspection.holder {
        let why = format!("the database is in use by {holder}; its log was read as far as it stands on disk");
        return Ok((None, Some(why)));
    }
    if !inspection.findings.is_empty() {
        let why = "what was found comes first; keep a copy of file and directory, then open the database";
        return Ok((None, Some(why.to_owned())));
    }
    let conn = match &inspection.log_dir {
        Some(_) if inspection.meta().is_none() => {
            return Ok((
                None,
                Some("the log has no metadata yet: opening the database would make it".into()),
            ));
        }
        Some(dir) if !dir.join("lock").exists() => {
            return Ok((None, Some("the log has no lock file: opening the database would make it".into())));
        }
        Some(_) => open::looking_through_vwal(path)?,
        None => match open::looking_plain(path, inspection.is_wal)? {
            Ok(conn) => conn,
            Err(why) => return Ok((None, Some(why))),
        },
    };
    let problems = open::integrity_check(&conn)?;
    attach::close(conn)?;
    Ok((Some(problems), None))
}
