//! Where the demonstration's database comes from, and the directory in which it works.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::{Failure, open};
use super::copy_path;

/// The shop: about 50,000 rows.
const SHOP: [&str; 2] =
    [include_str!("../../../sql/demo/1-schema.sql"), include_str!("../../../sql/demo/2-data.sql")];

/// How long a database may stay locked before it cannot be copied.
const PATIENCE: Duration = Duration::from_secs(10);

/// A new directory, removed at the end unless it is to be kept.
pub struct WorkDir {
    path: PathBuf,
    keep: bool,
}

impl WorkDir {
    /// Make it in `parent`, or where temporary files go.
    pub fn new(parent: Option<&Path>) -> Result<WorkDir, Failure> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let fail = |error: std::io::Error| {
            Failure::new(format!("cannot make a directory in '{}': {error}", parent.display()))
        };
        let parent = fs::canonicalize(&parent).map_err(fail)?;
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        for attempt in 0.. {
            let path = parent.join(format!("vwal-demo-{}-{attempt}", std::process::id()));
            match builder.create(&path) {
                Ok(()) => return Ok(WorkDir { path, keep: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1000 => {}
                Err(error) => return Err(fail(error)),
            }
        }
        unreachable!("the loop ends with an error after a thousand attempts")
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Do not remove it.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !self.keep {
            // Files in a directory of our own; at worst they stay where the system sweeps.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Put the database that is to be demonstrated with into `dir`. Its path, and what it is a copy of.
pub fn copy(db: Option<&Path>, dir: &WorkDir) -> Result<(PathBuf, String), Failure> {
    let copy = copy_path(dir.path(), db);
    let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let Some(db) = db else {
        let conn = open::plain(&copy, create)?;
        for sql in SHOP {
            conn.execute_batch(sql)?;
        }
        return Ok((copy, "the shop of sql/demo".to_owned()));
    };
    let path = open::existing(db)?;
    let source = if open::log_dir(&path).is_dir() {
        open::through_vwal(&path, &[])?
    } else {
        // Read-write where that is allowed: a database in WAL mode may need its log recovered to be read.
        open::plain(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .or_else(|_| open::plain(&path, OpenFlags::SQLITE_OPEN_READ_ONLY))?
    };
    let mut target = open::plain(&copy, create)?;
    backup(&source, &mut target).map_err(|error| open::named(&path, &error))?;
    Ok((copy, format!("'{}'", db.display())))
}

/// A consistent copy, also of a database that is being written to.
pub fn backup(source: &Connection, target: &mut Connection) -> rusqlite::Result<()> {
    let started = Instant::now();
    let backup = Backup::new(source, target)?;
    // All pages in one step, under one read transaction: in smaller ones, a busy writer makes it start over without end.
    while backup.step(-1)? != StepResult::Done {
        if started.elapsed() > PATIENCE {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(
                code,
                Some("it stays locked, and cannot be copied".to_owned()),
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
