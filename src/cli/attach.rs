//! `vwal attach` and `vwal detach`: between an ordinary SQLite database and a vwal database.

use std::path::Path;

use serde_json::json;
use vwal::Database;

use super::{Failure, Outcome, Report, open, plain};

/// Make the database virtual: opening it through vwal does all of it.
pub fn attach(db: &Path) -> Result<Report, Failure> {
    let path = open::existing(db)?;
    let before = open::log_dir(&path).is_dir();
    let conn = open::through_vwal(&path, &[])?;
    let database = Database::of(&conn, "main").map_err(|error| {
        // An empty file becomes a database, and virtual, with its first table.
        match path.metadata() {
            Ok(metadata) if metadata.len() == 0 => Failure::new(format!(
                "'{}' is empty: it becomes a vwal database when something is written to it through vwal",
                path.display()
            )),
            _ => error.into(),
        }
    })?;
    let (log_id, frame_no) = (database.log_id(), database.frame_no());
    drop(database);
    close(conn)?;
    let dir = open::log_dir(&path);
    let text = format!(
        "{} {} a vwal database.\nlog id        {log_id}\nframe number  {frame_no}\nlog directory {}",
        path.display(),
        if before { "already is" } else { "is now" },
        dir.display()
    );
    let data = json!({
        "path": path, "attached": true, "already": before, "log_id": log_id.to_string(), "frame_no": frame_no, "log_dir": dir,
    });
    Ok(Report::new(text, &data, Outcome::Good))
}

/// Make the database ordinary: everything into the file, the log directory gone.
pub fn detach(db: &Path) -> Result<Report, Failure> {
    let path = open::existing(db)?;
    let dir = open::log_dir(&path);
    let before = dir.is_dir();
    if before {
        leave(&path)?;
    }
    let check = plain::check(&path)?;
    let good = check.problems.is_empty();
    let mut text = format!(
        "{} {} an ordinary SQLite database (journal mode {}, integrity {} in SQLite {}).\n",
        path.display(),
        if before { "is now" } else { "already is" },
        check.journal_mode,
        if good { "ok" } else { "NOT ok" },
        check.sqlite
    );
    for problem in &check.problems {
        text.push_str(&format!("! integrity_check: {problem}\n"));
    }
    let data = json!({
        "path": path, "attached": false, "already": !before, "journal_mode": check.journal_mode,
        "integrity": if good { "ok" } else { "failed" }, "problems": check.problems,
    });
    Ok(Report::new(text, &data, if good { Outcome::Good } else { Outcome::Findings }))
}

/// Drain the log of the vwal database at `path` and remove it.
pub fn leave(path: &Path) -> Result<(), Failure> {
    let conn = open::through_vwal(path, &[])?;
    check_alone(&conn, path)?;
    if let Ok(database) = Database::of(&conn, "main")
        && database.status().storage.is_some()
    {
        // Afterwards there is no log that could be shipped from.
        database.sync().map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message += ". To give up what storage does not have, detach it without VWAL_STORAGE";
            failure
        })?;
    }
    let mode = end_wal_mode(&conn).map_err(|error| open::explained(&conn, path, &error))?;
    close(conn)?;
    let dir = open::log_dir(path);
    if mode != "delete" || dir.symlink_metadata().is_ok() {
        return Err(Failure::new(format!(
            "'{}' could not be detached: its journal mode is still '{mode}'{}",
            path.display(),
            if dir.exists() { ", and its log directory is still there" } else { "" }
        )));
    }
    Ok(())
}

/// Whether no other process has the database open. An error names them.
fn check_alone(conn: &rusqlite::Connection, path: &Path) -> Result<(), Failure> {
    let Ok(database) = Database::of(conn, "main") else { return Ok(()) };
    let processes = database.processes();
    let others = processes.iter().filter(|process| process.pid != std::process::id());
    let names: Vec<String> =
        others.map(|process| format!("process {} ({})", process.pid, process.program)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "'{}' is in use by {}: close it there and try again",
        path.display(),
        names.join(", ")
    )))
}

/// The journal mode afterwards. SQLite gives it as a row, and commits after that: the last step has the error.
fn end_wal_mode(conn: &rusqlite::Connection) -> rusqlite::Result<String> {
    let mut statement = conn.prepare("PRAGMA journal_mode = DELETE")?;
    let modes: rusqlite::Result<Vec<String>> = statement.query_map([], |row| row.get(0))?.collect();
    Ok(modes?.pop().unwrap_or_default())
}

/// Close, and say so when that fails: the last close drains the log.
pub fn close(conn: rusqlite::Connection) -> Result<(), Failure> {
    conn.close().map_err(|(_, error)| error.into())
}
