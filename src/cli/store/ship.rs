//! `vwal ship` and `vwal snapshot`: a database to storage, now.

use std::path::Path;

use serde_json::json;
use vwal::Database;

use crate::cli::{Failure, Outcome, Report, attach, open, text};

use super::{bar, parse_url};

/// Ship everything that is committed, and wait for it.
pub fn ship(db: &Path, url: &str) -> Result<Report, Failure> {
    let (path, shipped) = with_database(db, Some(url), "shipping", |database| {
        let frame_no = fenced(database, database.sync())?;
        Ok((database.log_id(), frame_no))
    })?;
    let (log_id, frame_no) = shipped;
    let shown =
        format!("{} is in storage up to frame {} of log {log_id}.", path.display(), text::count(frame_no));
    let data = json!({ "path": path, "log_id": log_id.to_string(), "frame_no": frame_no });
    Ok(Report::new(shown, &data, Outcome::Good))
}

/// Put a snapshot into storage.
pub fn snapshot(db: &Path, url: Option<&str>) -> Result<Report, Failure> {
    let (path, taken) = with_database(db, url, "taking a snapshot", |database| {
        fenced(database, database.sync())?;
        let frame_no = fenced(database, database.snapshot())?;
        Ok((database.log_id(), frame_no))
    })?;
    let (log_id, frame_no) = taken;
    let shown = format!(
        "A snapshot of {} as of frame {} of log {log_id} is in storage.",
        path.display(),
        text::count(frame_no)
    );
    let data = json!({ "path": path, "log_id": log_id.to_string(), "frame_no": frame_no });
    Ok(Report::new(shown, &data, Outcome::Good))
}

/// That storage belongs to somebody else says more than that it could not be waited for.
fn fenced<T>(database: &Database, result: vwal::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| database.fence().unwrap_or(error).into())
}

fn with_database<T>(
    db: &Path,
    url: Option<&str>,
    doing: &'static str,
    work: impl FnOnce(&Database) -> Result<T, Failure>,
) -> Result<(std::path::PathBuf, T), Failure> {
    let path = open::existing(db)?;
    let mut params = Vec::new();
    if let Some(url) = url {
        // Here the placeholder may stand: the database is known.
        if !url.contains("{name}") {
            parse_url(url)?;
        }
        params.push(format!("vwal_storage={url}"));
    }
    let params: Vec<&str> = params.iter().map(String::as_str).collect();
    let bar = bar("{spinner} {msg}");
    bar.set_message(doing);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let conn = open::through_vwal(&path, &params)?;
    let database = Database::of(&conn, "main")?;
    let done = work(&database);
    drop(database);
    bar.finish_and_clear();
    let done = done?;
    attach::close(conn)?;
    Ok((path, done))
}
