//! The file that a restore makes.
//!
//! It grows in a directory beside the target, `.{name}.vwal-restore`, with a journal that says how far it has come, and is
//! renamed to the target when it is complete and fsynced. What was at the target's place is never replaced, and whoever
//! kills a restore finds nothing there. The directory stays behind then, and the next restore of the same state goes on
//! from where this one was.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::{Error, FileOp, Result};
use crate::format::restore_journal::{Progress, RESTORE_TEXT_OFFSET};
use crate::io::{File, Io, LockFile, OpenMode, PathKind, SyncSite, parent_dir};
use crate::types::PageSize;

/// The file and the journal are fsynced after this many bytes.
const SYNC_BYTES: u64 = 64 << 20;
/// Pages that lie together are written together, up to this many bytes.
const WRITE_BYTES: usize = 1 << 20;

/// The byte at which SQLite puts its locks: the page that holds it is never used
/// (<https://sqlite.org/fileformat2.html#the_lock_byte_page>).
const LOCK_BYTE: u64 = 0x4000_0000;

/// The lock-byte page.
pub(super) fn lock_byte_page_no(page_size: PageSize) -> u64 {
    LOCK_BYTE / u64::from(page_size.get()) + 1
}

/// The longest name that a file may have.
const NAME_MAX: usize = 255;

/// Beside `target`: `.{name}.vwal-restore`; for a name that is too long for that, its beginning and its checksum.
pub(super) fn directory(target: &Path) -> PathBuf {
    const SUFFIX: &str = ".vwal-restore";
    let whole = target.file_name().unwrap_or_default();
    let mut name = OsString::from(".");
    if whole.len() + 1 + SUFFIX.len() <= NAME_MAX {
        name.push(whole);
    } else {
        let bytes = whole.as_encoded_bytes();
        let beginning = &bytes[..bytes.len().min(NAME_MAX - SUFFIX.len() - 20)];
        name.push(OsStr::from_bytes(beginning));
        name.push(format!("~{:08x}", crc32fast::hash(bytes)));
    }
    name.push(SUFFIX);
    parent_dir(target).join(name)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// An error unless `target` is free: no file of that name, and none that SQLite would take for its log.
pub(super) fn check_free(io: &dyn Io, target: &Path) -> Result<()> {
    let refuse = |what: String| Err(Error::Target { path: target.to_owned(), what });
    if target.file_name().is_none() {
        return refuse("that is not the name of a file".into());
    }
    match io.kind(&parent_dir(target))? {
        PathKind::Missing => return refuse("its directory does not exist".into()),
        PathKind::File => return refuse("what should be its directory is a file".into()),
        // A symbolic link to a directory is fine; to anything else it is found out soon enough.
        PathKind::Directory | PathKind::Other => {}
    }
    if io.kind(target)? != PathKind::Missing {
        return refuse(
            "it exists, and a restore never replaces anything: move it away, or restore elsewhere".into(),
        );
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        if io.kind(&with_suffix(target, suffix))? != PathKind::Missing {
            return refuse(format!("there is a {suffix} of that name, which SQLite would take for its own"));
        }
    }
    Ok(())
}

/// A file that is written page by page, ascending; in groups, each of which goes over those before it.
pub(super) struct Output {
    io: Arc<dyn Io>,
    target: PathBuf,
    dir: PathBuf,
    /// In front of the lock: it ends before somebody else may begin.
    syncing: Syncing,
    /// Held while this lives.
    lock: LockFile,
    file: Arc<dyn File>,
    journal: Arc<dyn File>,
    /// What is being restored.
    text: String,
    progress: Progress,
    group: u32,
    page_size: PageSize,
    /// Pages that follow each other, not written yet.
    pending: Vec<u8>,
    pending_page_no: u32,
    unsynced: u64,
    sync_bytes: u64,
    write_bytes: usize,
}

impl Output {
    /// Begin, or go on. `text` describes what is restored, to the byte: only with the same text is a restore continued.
    pub(super) fn begin(io: Arc<dyn Io>, target: &Path, text: String, page_size: PageSize) -> Result<Output> {
        check_free(&*io, target)?;
        let dir = directory(target);
        match io.kind(&dir)? {
            PathKind::Missing => io.create_dir(&dir)?,
            PathKind::Directory => {}
            PathKind::File | PathKind::Other => {
                let what = format!("'{}' is in the way", dir.display());
                return Err(Error::Target { path: target.to_owned(), what });
            }
        }
        let lock = match io.lock(&dir.join("lock"), false)? {
            Ok(lock) => lock,
            Err(holder) => {
                let what = format!("{holder} is restoring to the same place");
                return Err(Error::Target { path: target.to_owned(), what });
            }
        };
        let database = dir.join("database");
        let journal = io.open(&dir.join("journal"), OpenMode::Create)?;
        let (file, progress) = match read_journal(&*journal, &text)? {
            // A file that is shorter than its journal says was not left behind by a restore. And one that had done nothing
            // yet begins anew: who knows whether its journal was fsynced, and whether another one comes back instead.
            Some(progress) if progress.sequence > 0 && holds(&*io, &database, progress, page_size)? => {
                (io.open(&database, OpenMode::Create)?, progress)
            }
            _ => {
                // Not cut to nothing: it may have another name by now, as a database (`Output::finish`).
                if io.kind(&database)? != PathKind::Missing {
                    io.remove_file(&database)?;
                }
                let file = io.open(&database, OpenMode::Create)?;
                journal.set_len(0)?;
                let progress = Progress { sequence: 0, group: 0, done_page_no: 0 };
                journal.write_at(text.as_bytes(), RESTORE_TEXT_OFFSET)?;
                journal.write_at(&progress.encode(&text), progress.offset())?;
                journal.sync(SyncSite::RestoreJournal)?;
                (file, progress)
            }
        };
        io.sync_dir(&dir, SyncSite::RestoreNames)?;
        io.sync_dir(&parent_dir(target), SyncSite::RestoreDirectoryName)?;
        Ok(Output {
            io,
            target: target.to_owned(),
            dir,
            syncing: Syncing::default(),
            lock,
            file,
            journal,
            text,
            group: progress.group,
            progress,
            page_size,
            pending: Vec::new(),
            pending_page_no: 0,
            unsynced: 0,
            sync_bytes: SYNC_BYTES,
            write_bytes: WRITE_BYTES,
        })
    }

    /// What is there already: see [`Progress`].
    pub(super) fn done(&self) -> Progress {
        self.progress
    }

    /// The next pages belong to this group.
    pub(super) fn enter(&mut self, group: u32) -> Result<()> {
        if group != self.group {
            self.flush()?;
            self.group = group;
        }
        Ok(())
    }

    /// Note progress after every `bytes` bytes.
    #[cfg(test)]
    fn sync_every(mut self, bytes: u64) -> Output {
        self.sync_bytes = bytes;
        self.syncing.is_waited_for = true;
        self
    }

    /// Note progress after every `bytes` bytes, and write no more than them at once.
    #[cfg(test)]
    pub(super) fn in_pieces(mut self, bytes: usize) -> Output {
        self.write_bytes = bytes;
        self.sync_every(bytes as u64)
    }

    /// Write pages that follow each other, behind those before them in the group. Those in between stay as they are.
    pub(super) fn write(&mut self, page_no: u32, images: &[u8]) -> Result<()> {
        let pages = self.write_bytes / self.page_size.bytes();
        for (page_no, images) in (page_no..).step_by(pages).zip(images.chunks(self.write_bytes)) {
            self.write_piece(page_no, images)?;
        }
        Ok(())
    }

    fn write_piece(&mut self, page_no: u32, images: &[u8]) -> Result<()> {
        let next = u64::from(self.pending_page_no) + (self.pending.len() / self.page_size.bytes()) as u64;
        if u64::from(page_no) != next || self.pending.len() >= self.write_bytes {
            self.flush()?;
            self.pending_page_no = page_no;
        }
        if self.pending.is_empty() && images.len() >= self.write_bytes / 4 {
            return self.write_through(page_no, images);
        }
        self.pending.extend_from_slice(images);
        Ok(())
    }

    fn offset(&self, page_no: u32) -> u64 {
        u64::from(page_no.saturating_sub(1)) * u64::from(self.page_size.get())
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        self.write_through(self.pending_page_no, &pending)?;
        pending.clear();
        self.pending = pending;
        Ok(())
    }

    fn write_through(&mut self, page_no: u32, images: &[u8]) -> Result<()> {
        self.file.write_at(images, self.offset(page_no))?;
        let pages = u32::try_from(images.len() / self.page_size.bytes()).unwrap_or(u32::MAX);
        self.pending_page_no = page_no.saturating_add(pages);
        self.unsynced += images.len() as u64;
        if self.unsynced >= self.sync_bytes && self.syncing.is_idle()? {
            self.unsynced = 0;
            let sequence = self.progress.sequence.wrapping_add(1);
            let done_page_no = self.pending_page_no.saturating_sub(1);
            self.progress = Progress { sequence, group: self.group, done_page_no };
            let (file, journal) = (Arc::clone(&self.file), Arc::clone(&self.journal));
            let (slot, offset) = (self.progress.encode(&self.text), self.progress.offset());
            self.syncing.start(move || {
                file.sync(SyncSite::RestorePages)?;
                journal.write_at(&slot, offset)?;
                journal.sync(SyncSite::RestoreProgress)
            })?;
        }
        Ok(())
    }

    /// The page as it is in the file by now: for a restore that went on.
    pub(super) fn read(&mut self, page_no: u32) -> Result<Vec<u8>> {
        self.flush()?;
        let mut image = vec![0; self.page_size.bytes()];
        self.file.read_exact_at(&mut image, self.offset(page_no))?;
        Ok(image)
    }

    /// Cut the file to `db_size_pages`, put `footer` behind them, and give it its name.
    pub(super) fn finish(mut self, db_size_pages: u32, footer: &[u8]) -> Result<()> {
        self.flush()?;
        self.syncing.wait()?;
        let end = u64::from(db_size_pages) * u64::from(self.page_size.get());
        // Pages that are in no bundle (free ones that were never written) come out as zeros.
        self.file.set_len(end)?;
        self.file.write_at(footer, end)?;
        self.file.sync(SyncSite::RestoredFile)?;
        check_free(&*self.io, &self.target)?;
        // A name that moves from one directory to another may stand in both after a crash. No restore may go on in a file that
        // is a database by then, so the journal goes first.
        self.io.remove_file(&self.dir.join("journal"))?;
        self.io.sync_dir(&self.dir, SyncSite::EndedJournal)?;
        self.io.rename_new(&self.dir.join("database"), &self.target).map_err(|error| match error {
            Error::Io { kind: std::io::ErrorKind::AlreadyExists, .. } => Error::Target {
                path: self.target.clone(),
                what: "something of that name was made meanwhile".into(),
            },
            error => error,
        })?;
        self.io.sync_dir(&parent_dir(&self.target), SyncSite::RestoredName)?;
        // The database is there now, whatever becomes of the rest.
        let _ = self.io.remove_file(&self.dir.join("lock"));
        drop(self.lock);
        let _ = self.io.remove_dir(&self.dir);
        Ok(())
    }
}

/// An fsync on a thread of its own, so that writing goes on meanwhile and the disk is never idle.
#[derive(Default)]
struct Syncing {
    thread: Option<JoinHandle<Result<()>>>,
    /// For tests: no other work meanwhile.
    is_waited_for: bool,
}

impl Syncing {
    /// Whether another one may begin. An error of the last one comes out here.
    fn is_idle(&mut self) -> Result<bool> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(false);
        }
        self.wait()?;
        Ok(true)
    }

    fn start(&mut self, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        let name = std::thread::Builder::new().name("vwal-restore".into());
        let thread = name
            .spawn(work)
            .map_err(|error| Error::io(FileOp::StartThread, Path::new("a restore"), None, &error))?;
        self.thread = Some(thread);
        if self.is_waited_for { self.wait() } else { Ok(()) }
    }

    fn wait(&mut self) -> Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        // Whatever it says: what is dropped in the middle is not used, or is gone on with from what the journal has.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the file has as many pages as were noted as done.
fn holds(io: &dyn Io, database: &Path, progress: Progress, page_size: PageSize) -> Result<bool> {
    Ok(io.kind(database)? == PathKind::File
        && io.open(database, OpenMode::Read)?.size()?
            >= u64::from(progress.done_page_no) * u64::from(page_size.get()))
}

/// What the journal says. `None`: nothing, or of another restore.
fn read_journal(journal: &dyn File, text: &str) -> Result<Option<Progress>> {
    let expected = RESTORE_TEXT_OFFSET + text.len() as u64;
    if journal.size()? != expected {
        return Ok(None);
    }
    let mut bytes = vec![0; RESTORE_TEXT_OFFSET as usize + text.len()];
    let got = journal.read_at(&mut bytes, 0)?;
    Ok(Progress::of_journal(&bytes[..got], text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SystemIo;
    use std::fs;

    fn begin(target: &Path, text: &str) -> Result<Output> {
        let page_size = PageSize::new(512).unwrap();
        Output::begin(Arc::new(SystemIo::private()), target, text.to_owned(), page_size)
    }

    fn page(fill: u8) -> Vec<u8> {
        vec![fill; 512]
    }

    #[test]
    fn a_file_is_made_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("app.db");
        let mut output = begin(&target, "x").unwrap();
        for page_no in [1u32, 2, 5, 9] {
            output.write(page_no, &page(page_no as u8)).unwrap();
        }
        assert!(!target.exists());
        output.finish(6, b"foot").unwrap();
        let bytes = fs::read(&target).unwrap();
        let expected: Vec<u8> = [1u8, 2, 0, 0, 5, 0].into_iter().flat_map(page).chain(*b"foot").collect();
        assert_eq!(bytes, expected, "a hole is zero, and page 9 is beyond the end");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_interrupted_restore_goes_on_when_it_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("app.db");
        let interrupted = || {
            let mut output = begin(&target, "one").unwrap().sync_every(1024);
            for page_no in 1..=8u32 {
                output.write(page_no * 2, &page(1)).unwrap();
            }
            output
        };
        let output = interrupted();
        assert!(matches!(begin(&target, "one"), Err(Error::Target { .. })), "two at once");
        drop(output);
        let mut again = begin(&target, "one").unwrap().sync_every(1024);
        let done = again.done();
        assert!((4..16).contains(&done.done_page_no) && done.group == 0, "{done:?}");
        again.enter(1).unwrap();
        again.write(1, &page(2).repeat(3)).unwrap();
        drop(again);
        let done = begin(&target, "one").unwrap().done();
        assert_eq!((done.group, done.done_page_no), (0, 12), "what was not flushed does not count");
        let mut again = begin(&target, "one").unwrap().sync_every(1024);
        again.enter(1).unwrap();
        again.write(1, &page(2).repeat(3)).unwrap();
        again.enter(2).unwrap();
        drop(again);
        let done = begin(&target, "one").unwrap().done();
        assert_eq!((done.group, done.done_page_no), (1, 3));
        let mut other = begin(&target, "two").unwrap();
        assert_eq!((other.done().group, other.done().done_page_no), (0, 0), "another restore begins anew");
        other.write(1, &page(7)).unwrap();
        other.finish(1, b"").unwrap();
        assert_eq!(fs::read(&target).unwrap(), page(7));
    }

    #[test]
    fn nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("app.db");
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let other = with_suffix(&target, suffix);
            // At once, and when it appears in the meantime.
            let output = begin(&target, "x").unwrap();
            fs::write(&other, "precious").unwrap();
            assert!(matches!(output.finish(0, b""), Err(Error::Target { .. })), "{suffix}");
            assert!(matches!(begin(&target, "x"), Err(Error::Target { .. })), "{suffix}");
            assert_eq!(fs::read(&other).unwrap(), b"precious");
            fs::remove_file(&other).unwrap();
        }
        assert!(matches!(begin(&dir.path().join("no/app.db"), "x"), Err(Error::Target { .. })));
        assert!(matches!(begin(Path::new("/"), "x"), Err(Error::Target { .. })));
    }
}
