//! `vwal ship` and `vwal snapshot`: a database to storage, now.

use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;
use vwal::{Database, Error, StorageErrorKind};

use crate::cli::{Failure, Outcome, Report, attach, open, text};

use super::{bar, parse_url, url_of_environment};

/// How often it is looked whether storage has everything,
const LOOK: Duration = Duration::from_millis(200);
/// and how long it may stand still.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ship everything that is committed, and wait for it.
pub fn ship(db: &Path, url: Option<&str>) -> Result<Report, Failure> {
    let (path, shipped) = with_database(db, url, "shipping", |database, bar| {
        let frame_no = wait(database, bar)?;
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
    let (path, taken) = with_database(db, url, "taking a snapshot", |database, bar| {
        wait(database, bar)?;
        database.checkpoint()?;
        bar.set_message("taking a snapshot");
        let frame_no = database.snapshot().map_err(|error| database.fence().unwrap_or(error))?;
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

/// Wait until storage has everything, which may take long the first time. Fails at once when waiting will not help, and
/// after [`PATIENCE`] without progress.
fn wait(database: &Database, bar: &ProgressBar) -> Result<u64, Failure> {
    let frame_no = database.frame_no();
    let mut progress = (0, Instant::now());
    loop {
        match database.wait_durable(frame_no, LOOK) {
            Ok(()) => return Ok(database.durable_frame_no()),
            Err(Error::NotStored { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(error) = database.fence() {
            return Err(error.into());
        }
        let trouble = database.shipping_trouble();
        match &trouble {
            None | Some(Error::Storage { kind: StorageErrorKind::Unavailable, .. }) => {}
            // There may be no thread for the work, for instance.
            Some(error @ (Error::Storage { .. } | Error::Io { .. })) => return Err(error.clone().into()),
            Some(_) => {}
        }
        let (stored, pages) = (database.durable_frame_no(), database.image_pages_done());
        bar.set_message(match pages {
            0 => format!("shipping: frame {} of {}", text::count(stored), text::count(frame_no)),
            _ => format!(
                "shipping: frame {}, base snapshot: {}",
                text::count(stored),
                text::plural(pages, "page")
            ),
        });
        if stored + pages != progress.0 {
            progress = (stored + pages, Instant::now());
        } else if progress.1.elapsed() >= PATIENCE {
            let idle =
                || Failure::new("storage does not get on; what it has not got is kept, and shipped later");
            return Err(trouble.map_or_else(idle, Failure::from));
        }
        // When shipping has ended, nothing waits above.
        std::thread::sleep(LOOK);
    }
}

fn with_database<T>(
    db: &Path,
    url: Option<&str>,
    doing: &'static str,
    work: impl FnOnce(&Database, &ProgressBar) -> Result<T, Failure>,
) -> Result<(std::path::PathBuf, T), Failure> {
    let path = open::existing(db)?;
    let mut params = Vec::new();
    if url.is_none() {
        // It goes by way of the options; what is checked here is that there is one.
        url_of_environment()?;
    }
    if let Some(url) = url {
        // Here the placeholder may stand: the database is known.
        if !url.contains("{name}") {
            parse_url(url)?;
        }
        params.push(format!("vwal_storage={url}"));
    }
    let params: Vec<&str> = params.iter().map(String::as_str).collect();
    // It turns with each message. A thread of its own, to turn it, would be one that may not be had.
    let bar = bar("{spinner} {msg}");
    bar.set_message(doing);
    let conn = open::through_vwal(&path, &params)?;
    let database = Database::of(&conn, "main")?;
    let done = work(&database, &bar);
    drop(database);
    bar.finish_and_clear();
    let done = done?;
    attach::close(conn)?;
    Ok((path, done))
}
