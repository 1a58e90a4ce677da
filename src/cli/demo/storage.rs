//! The part of the demonstration that loses the machine: the database is shipped to a directory all along; then it is
//! deleted, restored as it was at three points in time, and held against copies that SQLite made at those moments.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use vwal::restore::{Restore, Target};
use vwal::storage::StorageUrl;
use vwal::{Database, Error, FileOp};

use super::super::{Failure, open};
use super::source;

/// A moment that is restored.
#[derive(Debug, Serialize)]
pub struct Point {
    pub number: u32,
    /// Microseconds since 1970.
    pub time_us: u64,
    pub frame_no: u64,
    pub restored_frame_no: Option<u64>,
    pub pages: u64,
    /// Bytes that were read from storage for it.
    pub bytes_read: u64,
    pub equal: bool,
    /// What SQLite copied at that moment.
    #[serde(skip)]
    copy: PathBuf,
}

/// Where the copy is shipped to.
pub fn url(copy: &Path) -> Result<StorageUrl, Failure> {
    let dir = copy.with_file_name("storage");
    Ok(format!("file://{}", open::encode(dir.as_os_str().as_encoded_bytes())).parse()?)
}

/// Remember this moment: nothing is committed in it.
pub fn mark(conn: &Connection, database: &Database, copy: &Path, number: u32) -> Result<Point, Failure> {
    let pause = || std::thread::sleep(Duration::from_millis(3));
    pause();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    pause();
    let file = copy.with_file_name(format!("point-{number}.db"));
    let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    source::backup(conn, &mut open::plain(&file, create)?)?;
    Ok(Point {
        number,
        time_us: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        frame_no: database.frame_no(),
        restored_frame_no: None,
        pages: 0,
        bytes_read: 0,
        equal: false,
        copy: file,
    })
}

/// Delete the database and everything of it that is not in storage.
pub fn lose(copy: &Path) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::new(format!("cannot delete '{}': {error}", copy.display()));
    fs::remove_file(copy).map_err(fail)?;
    match fs::remove_dir_all(open::log_dir(copy)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fail(error)),
        _ => Ok(()),
    }
}

/// Restore the database as it was at a point, and compare. Returns what is wrong.
pub fn prove(copy: &Path, point: &mut Point) -> Result<Vec<String>, Failure> {
    let path = copy.with_file_name(format!("restored-{}.db", point.number));
    let restore = Restore::new(&url(copy)?).target(Target::Time(point.time_us));
    let mut bytes_read = 0;
    let restored = restore.run(&path, |advance| bytes_read = advance.bytes)?;
    let commit = restored.resolved.commit;
    point.restored_frame_no = Some(commit.frame_no);
    point.pages = u64::from(commit.db_size_pages);
    point.bytes_read = bytes_read;
    let mut problems = Vec::new();
    if commit.frame_no != point.frame_no {
        problems.push(format!("frame {} was restored, expected {}", commit.frame_no, point.frame_no));
    }
    if let Some(difference) = difference(&path, &point.copy, restored.bytes)? {
        problems.push(difference);
    }
    let conn = open::plain(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    problems.extend(
        open::integrity_check(&conn)?.into_iter().map(|problem| format!("integrity_check: {problem}")),
    );
    point.equal = problems.is_empty();
    Ok(problems.into_iter().map(|problem| format!("point {}: {problem}", point.number)).collect())
}

/// Restore the newest state to where the database was.
pub fn bring_back(copy: &Path) -> Result<(), Failure> {
    Restore::new(&url(copy)?).run(copy, |_| ())?;
    Ok(())
}

/// How the first `len` bytes of two database files differ. The copy was made by SQLite's backup, which writes its own
/// counters, schema cookie and journal mode into the first page (<https://sqlite.org/fileformat2.html#the_database_header>).
fn difference(restored: &Path, copy: &Path, len: u64) -> Result<Option<String>, Failure> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| Failure::from(Error::io(FileOp::Read, path, None, &error)))
    };
    let (mut restored, mut copy) = (read(restored)?, read(copy)?);
    restored.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    for bytes in [&mut restored, &mut copy] {
        for field in [18..20, 24..28, 40..44, 92..100] {
            if let Some(field) = bytes.get_mut(field) {
                field.fill(0);
            }
        }
    }
    if restored.len() != copy.len() {
        return Ok(Some(format!("{} bytes were restored, expected {}", restored.len(), copy.len())));
    }
    let at = restored.iter().zip(&copy).position(|(restored, copy)| restored != copy);
    Ok(at.map(|at| format!("the restored file differs at offset {at}")))
}
