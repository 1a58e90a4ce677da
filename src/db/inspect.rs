//! Looking at a database's files from outside: no lock is taken, nothing is changed, and whoever has the database open
//! is not disturbed. The command line's `status` and `verify` are made of this.
//!
//! What is found is judged as recovery judges it (`log/judge.rs`), which stops at the first thing for which it cannot open the log. Here
//! all of them are collected as [`Finding`]s, and damage that does no harm too. What a
//! crash may leave behind (a torn tail that was never fsynced, a segment file without frames) is no finding but a note.
//!
//! A log that is in use changes while it is read: a segment may be freed, or a slot be half-written, at the moment it is
//! looked at. Such a look is taken again, and only what persists is a finding.

mod base;
mod segments;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use super::metrics::of_inspection as metrics;
use crate::error::{Error, Result};
use crate::format::footer::Footer;
use crate::format::meta::{META_SLOT_SIZE, Meta};
use crate::io::{File, Holder, Io, LockFile, OpenMode, PathKind, SystemIo};
use crate::log::{BaseState, LOCK_NAME, META_NAME, completed};
use crate::restore::LoggedCommit;
use crate::types::{LogId, PageSize, SegmentState};

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Metadata, footer and heads of segments, and the frames of those that say nothing of their end.
    Heads,
    /// Every frame too.
    Frames,
}

/// Something that is not as it was written, or does not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Byte offset in it, where there is one.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A segment, as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedSegment {
    /// Its first frame.
    pub start_frame_no: u64,
    /// The last frame of its last commit; `start_frame_no - 1` when there is none.
    pub end_frame_no: u64,
    /// Whether frames are still appended to it.
    pub state: SegmentState,
    /// Bytes of its head and its frames.
    pub bytes: u64,
    /// The file.
    pub path: PathBuf,
    /// Whole frames behind the last commit: of a transaction that is under way, or was never committed.
    pub uncommitted: u64,
}

impl InspectedSegment {
    /// Committed frames in it.
    pub fn frames(&self) -> u64 {
        (self.end_frame_no + 1).saturating_sub(self.start_frame_no)
    }
}

/// What the files of a database say.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The database file.
    pub path: PathBuf,
    /// The log directory. `None`: the database is an ordinary one.
    pub log_dir: Option<PathBuf>,
    /// Whether the database file says that it is in WAL mode.
    pub is_wal: bool,
    /// The process that has the log open.
    pub holder: Option<Holder>,
    /// Page size.
    pub page_size: Option<PageSize>,
    /// The two metadata slots: `None` for one that was never written, or is damaged (then there is a finding).
    pub meta_slots: [Option<Meta>; 2],
    /// The footer of the database file, when there is a whole one.
    pub footer: Option<Footer>,
    /// The segments, oldest first.
    pub segments: Vec<InspectedSegment>,
    /// Files kept for segments to come.
    pub spare_files: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is worth saying, and is not wrong.
    pub notes: Vec<String>,
    db_size_pages: Option<u32>,
    end_frame_no: Option<u64>,
    is_orphaned: bool,
}

impl Inspection {
    /// The state that counts: the newer of the two slots.
    pub fn meta(&self) -> Option<Meta> {
        self.meta_slots.into_iter().flatten().max_by_key(|meta| meta.sequence)
    }

    /// The log.
    pub fn log_id(&self) -> Option<LogId> {
        self.meta().map(|meta| meta.log_id)
    }

    /// The last committed frame.
    pub fn frame_no(&self) -> Option<u64> {
        self.end_frame_no
    }

    /// Pages of the database: as of the last commit when there is a log, else as the file has it.
    pub fn db_size_pages(&self) -> Option<u32> {
        self.db_size_pages
    }

    /// Whether the database file is empty while commits are only in its log: the next open moves the log aside.
    pub fn is_orphaned(&self) -> bool {
        self.is_orphaned
    }

    /// Bytes of all segments.
    pub fn log_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn find(&mut self, path: &Path, offset: impl Into<Option<u64>>, message: impl Into<String>) {
        self.findings.push(Finding { path: path.to_owned(), offset: offset.into(), message: message.into() });
    }

    /// Damage is a finding; a file that may not be read at all is an error of the inspection.
    fn find_error(&mut self, path: &Path, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { path, offset, what } => self.find(&path, offset, what),
            Error::Io { kind: std::io::ErrorKind::PermissionDenied, .. } => return Err(error),
            Error::Io { offset, message, op, .. } => {
                self.find(path, offset, format!("{op} failed: {message}"))
            }
            other => self.find(path, None, other.to_string()),
        }
        Ok(())
    }
}

/// How often a log in use is looked at before what is found counts.
const LOOKS: u32 = 6;

/// Inspect the database at `path`: its real path, without a symbolic link.
///
/// Not for a process that has the database open itself: closing the file again drops the locks that SQLite holds on it
/// (<https://sqlite.org/howtocorrupt.html>). Where vwal can tell, that is an error; there `Database::status` is right.
pub fn inspect(path: &Path, depth: Depth) -> Result<Inspection> {
    let io = SystemIo::like(path);
    let mut dir = OsString::from(path);
    dir.push("-wal");
    let dir = PathBuf::from(dir);
    for _ in 1..LOOKS {
        let inspection = look(&io, path, &dir, depth)?;
        if inspection.holder.is_none() || inspection.findings.is_empty() {
            return Ok(inspection);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    look(&io, path, &dir, depth)
}

/// The commits that the log of the database at `path` still holds, oldest first; those before them are in the database
/// file, and have left no trace here. The same conditions as for [`inspect`].
pub fn commits(path: &Path) -> Result<Vec<LoggedCommit>> {
    let io = SystemIo::like(path);
    let mut inspection = inspect(path, Depth::Heads)?;
    let (Some(dir), Some(meta)) = (inspection.log_dir.clone(), inspection.meta()) else {
        return Ok(Vec::new());
    };
    let files = segments::open(&io, &dir, &mut inspection)?;
    let verdict = segments::judged(&files, &meta, &dir, Depth::Heads);
    Ok(segments::commits(&verdict, &meta))
}

/// One look at the files.
pub(crate) fn look(io: &dyn Io, path: &Path, dir: &Path, depth: Depth) -> Result<Inspection> {
    let mut inspection = Inspection {
        path: path.to_owned(),
        log_dir: None,
        is_wal: false,
        holder: None,
        page_size: None,
        meta_slots: [None, None],
        footer: None,
        segments: Vec::new(),
        spare_files: 0,
        findings: Vec::new(),
        notes: Vec::new(),
        db_size_pages: None,
        end_frame_no: None,
        is_orphaned: false,
    };
    match io.kind(dir)? {
        PathKind::Directory => {
            inspection.log_dir = Some(dir.to_owned());
            inspection.holder = LockFile::holder(&dir.join(LOCK_NAME))?;
        }
        PathKind::Missing => {}
        PathKind::File => inspection.notes.push(format!(
            "'{}' is a log of SQLite without vwal; its commits are taken over when the database is opened through vwal",
            dir.display()
        )),
        PathKind::Other => inspection.find(dir, None, "the log directory is a symbolic link or a special file"),
    }
    if inspection.holder.as_ref().is_some_and(|holder| holder.pid == Some(std::process::id())) {
        return Err(Error::Usage(format!(
            "'{}' is open in this process, and cannot be inspected from here without dropping SQLite's locks: ask the \
             open database for its status",
            path.display()
        )));
    }

    // The segments before the metadata: what a checkpoint frees meanwhile, the metadata then knows of.
    let segments = match &inspection.log_dir {
        Some(dir) => segments::open(io, &dir.clone(), &mut inspection)?,
        None => Vec::new(),
    };
    if inspection.log_dir.is_some() {
        read_meta_slots(io, dir, &mut inspection)?;
    }
    let base = base::read(io, path, &mut inspection)?;
    if inspection.log_dir.is_some() {
        judge(dir, depth, &segments, &base, &mut inspection)?;
    } else if let Some(footer) = inspection.footer {
        inspection.notes.push(format!(
            "the file has a footer: it was a vwal database, up to frame {} of log {}{}",
            footer.frame_no,
            footer.log_id,
            if base.is_as_of(&footer) { "" } else { ", and was written to since" }
        ));
    }
    Ok(inspection)
}

/// The log and the base file, judged as an open judges them.
fn judge(
    dir: &Path,
    depth: Depth,
    files: &[(u64, Arc<dyn File>)],
    base: &BaseState,
    inspection: &mut Inspection,
) -> Result<()> {
    let Some(mut meta) = inspection.meta() else {
        if let Some((_, file)) = files.first() {
            let what = "there is a segment, but no metadata that says which log it belongs to";
            inspection.find(file.path(), None, what);
        }
        return Ok(());
    };
    let mut verdict = segments::judged(files, &meta, dir, depth);
    if meta.has_intent() && verdict.end() < meta.intent_frame_no && !verdict.is_refused() {
        match completed(dir, &meta, base) {
            Ok(after) => {
                meta = after;
                verdict = segments::judged(files, &meta, dir, depth);
            }
            Err(error) => inspection.find_error(&dir.join(META_NAME), error)?,
        }
    }
    inspection.end_frame_no = Some(verdict.end().max(meta.checkpointed_frame_no));
    segments::tell(&mut verdict, &meta, inspection)?;
    base::compare(base, dir, &verdict, &meta, inspection);
    Ok(())
}

fn read_meta_slots(io: &dyn Io, dir: &Path, inspection: &mut Inspection) -> Result<()> {
    let path = dir.join(META_NAME);
    let file = match io.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => {
            inspection.notes.push("the log has no metadata: it was never opened to its end".into());
            return Ok(());
        }
        Err(error) => return inspection.find_error(&path, error),
    };
    for slot in 0..2 {
        let offset = (slot * META_SLOT_SIZE) as u64;
        let mut bytes = vec![0; META_SLOT_SIZE];
        let got = file.read_at(&mut bytes, offset)?;
        match Meta::decode(&bytes[..got]) {
            Ok(Some(meta)) if meta.slot_offset() != offset => {
                inspection.find(&path, offset, format!("state {} belongs in the other slot", meta.sequence));
            }
            Ok(meta) => inspection.meta_slots[slot] = meta,
            Err(problem) => inspection.find(&path, offset, problem),
        }
    }
    if let [Some(one), Some(other)] = inspection.meta_slots
        && one.sequence.abs_diff(other.sequence) != 1
    {
        let message =
            format!("the slots hold the states {} and {}, which do not follow", one.sequence, other.sequence);
        inspection.find(&path, None, message);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
