//! `vwal ship` and `vwal snapshot`: a database is opened with its storage, and storage is brought up to date.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;
use vwal::storage::StorageUrl;
use vwal::{Database, Error, LogId, StorageErrorKind};

use super::args::{ShipArgs, SnapshotArgs};
use super::{Failure, Outcome, Report, attach, open, remote, text};

/// How often it is looked whether storage is there yet.
const LOOK: Duration = Duration::from_millis(200);

/// Ship what storage does not have.
pub fn ship(args: &ShipArgs) -> Result<Report, Failure> {
    let url = remote::url(&args.url)?;
    let (conn, database, url) = open_with_storage(&args.db, &url, args.take_over)?;
    let frame_no = wait(&database, args.timeout)?;
    let log_id = database.log_id();
    drop(database);
    attach::close(conn)?;
    let text = format!("'{url}' has log {log_id} up to frame {}.\n", text::count(frame_no));
    let data = json!({ "storage": url.to_string(), "log_id": log_id.to_string(), "frame_no": frame_no });
    Ok(Report::new(text, &data, Outcome::Good))
}

/// Put a snapshot of the whole database into storage.
pub fn snapshot(args: &SnapshotArgs) -> Result<Report, Failure> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => std::env::var("VWAL_STORAGE")
            .map_err(|_| Failure::usage("which storage? Give its URL, or set VWAL_STORAGE"))?,
    };
    let (conn, database, url) = open_with_storage(&args.db, &remote::url(&url)?, None)?;
    wait(&database, args.timeout)?;
    database.checkpoint()?;
    let spinner = remote::spinner("putting the snapshot");
    let frame_no = database.snapshot()?;
    spinner.finish_and_clear();
    let log_id = database.log_id();
    drop(database);
    attach::close(conn)?;
    let text = format!("'{url}' has a snapshot of log {log_id} at frame {}.\n", text::count(frame_no));
    let data = json!({ "storage": url.to_string(), "log_id": log_id.to_string(), "frame_no": frame_no });
    Ok(Report::new(text, &data, Outcome::Good))
}

fn open_with_storage(
    db: &Path,
    url: &StorageUrl,
    take_over: Option<LogId>,
) -> Result<(Connection, Database, StorageUrl), Failure> {
    let path = open::existing(db)?;
    let url = url.for_database(&path)?;
    let mut params = vec![format!("vwal_storage={url}")];
    params.extend(take_over.map(|log_id| format!("vwal_take_over={log_id}")));
    let params: Vec<&str> = params.iter().map(String::as_str).collect();
    let conn = open::through_vwal(&path, &params)?;
    let database = Database::of(&conn, "main")?;
    Ok((conn, database, url))
}

/// Wait until storage has everything. Fails at once when that will not come to pass by waiting, and after `timeout`
/// without progress.
fn wait(database: &Database, timeout: Duration) -> Result<u64, Failure> {
    let frame_no = database.frame_no();
    let bar = remote::bar(frame_no, "{bar:32} {msg}");
    let mut progress = (0, Instant::now());
    loop {
        match database.wait_durable(frame_no, LOOK) {
            Ok(()) => break,
            Err(Error::NotStored { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(error) = database.fence() {
            return Err(error.into());
        }
        let trouble = database.shipping_trouble();
        if let Some(error @ Error::Storage { kind, .. }) = &trouble
            && *kind != StorageErrorKind::Unavailable
        {
            return Err(error.clone().into());
        }
        let done = database.durable_frame_no() + database.shipped_pages();
        if done != progress.0 {
            progress = (done, Instant::now());
        } else if progress.1.elapsed() >= timeout {
            return Err(match trouble {
                Some(error) => error.into(),
                None => Failure::new(format!(
                    "storage did not get on for {} s; what it has not got is kept, and shipped after the next open",
                    timeout.as_secs()
                )),
            });
        }
        bar.set_position(database.durable_frame_no());
        bar.set_message(match database.shipped_pages() {
            0 => format!("frame {} of {}", text::count(database.durable_frame_no()), text::count(frame_no)),
            pages => format!("base snapshot: {}", text::plural(pages, "page")),
        });
    }
    bar.finish_and_clear();
    Ok(database.durable_frame_no())
}
