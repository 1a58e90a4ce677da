//! Plain SQLite on the database: in a process of its own, in which vwal was never registered.

use std::path::Path;
use std::process::Command;

use rusqlite::OpenFlags;
use serde::{Deserialize, Serialize};

use super::{Failure, Outcome, Report, open};

/// What plain SQLite thinks of a database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlainCheck {
    /// `sqlite_version()`.
    pub sqlite: String,
    /// `PRAGMA journal_mode`.
    pub journal_mode: String,
    /// What `PRAGMA integrity_check` complains of.
    pub problems: Vec<String>,
}

/// Check the database at `path` in another process.
pub fn check(path: &Path) -> Result<PlainCheck, Failure> {
    let failed =
        |what: String| Failure::new(format!("cannot check '{}' with plain SQLite: {what}", path.display()));
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args(["--json", "plain-check"])
        .arg(path)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.stdout.is_empty() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(failed(stderr.trim().trim_start_matches("vwal: ").to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// The other process.
pub fn check_here(db: &Path) -> Result<Report, Failure> {
    let path = open::existing(db)?;
    let conn = open::plain(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let text = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0));
    let check = PlainCheck {
        sqlite: text("SELECT sqlite_version()")?,
        journal_mode: text("PRAGMA journal_mode")?,
        problems: open::integrity_check(&conn)?,
    };
    let outcome = if check.problems.is_empty() { Outcome::Good } else { Outcome::Findings };
    Ok(Report::new(format!("{check:?}"), &check, outcome))
}
