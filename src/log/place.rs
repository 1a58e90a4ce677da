//! Names that are taken away while the log is open: the log directory's, the database file's, or both.
//!
//! The files are still open then, an fsync of them succeeds, and names in the log directory are looked up from its descriptor. What
//! matters is what the next open finds.
//!
//! - The database is at its path, and the log directory is not: *gone*. The next open would not find the log. So before an fsync is
//!   reported the name of the current segment is looked up. Once it leads elsewhere, no commit that the base file lacks is
//!   reported as durable, and no new one is begun; passes go on, since the frames can still be read, and bring the base file
//!   up to the last commit. Names in the directory are left alone.
//! - The database is not at its path: it was moved, with or without its log, or it was removed. Whatever has the name by now has
//!   nothing to do with this log, which goes on. If it still has the name of the log directory when another database of this process
//!   wants it, it *steps aside*: the directory gets another name. The lock goes along with it.
//!
//! A database file that has no name any more ends with its last connection, and so does its log ([`Place::remove_aside`]). If its log
//! directory is removed as well, the log goes on in files without names ([`Place::has_no_names`]).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::meta_file::{META_NAME, NEW_META_NAME};
use super::shared::Shared;
use super::source::LOCK_NAME;
use super::trouble::STRANGER;
use super::view::View;
use crate::error::{Error, FileOp, Result};
use crate::io::{Io, PathKind};
use crate::segment::{is_spare_name, parse_segment_name};
use crate::shm::SHM_NAME;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::types::LogId;

/// See the module.
pub(crate) struct Place {
    shared: Arc<Shared>,
    view: Arc<View>,
    is_gone: AtomicBool,
    /// What was looked for in vain.
    missing: Mutex<PathBuf>,
    /// Where the directory is since it stepped aside.
    aside: Mutex<Option<PathBuf>>,
}

/// The longest name that file systems take, in bytes, less what [`move_aside`] may put after a name.
const LONGEST: usize = 255 - 4;

/// The name of a log directory that has stepped aside: its own, as far as there is room, and the log id.
pub(super) fn aside_name(dir: &Path, log_id: LogId) -> PathBuf {
    let id = format!(".{log_id}");
    let own = dir.file_name().unwrap_or_default().as_bytes();
    let mut length = own.len().min(LONGEST - id.len());
    // Not within a character: there are file systems that take nothing but UTF-8.
    while length > 0 && own.get(length).is_some_and(|byte| byte & 0xc0 == 0x80) {
        length -= 1;
    }
    let mut name = OsStr::from_bytes(&own[..length]).to_owned();
    name.push(id);
    dir.with_file_name(name)
}

/// Give a log directory a name that nothing has, and that tells its log: the name that it has, and the log id. Nothing in it is
/// changed. The directory above is not fsynced: before a commit in a new log under the old name is acknowledged, it is
/// (`SyncSite::LogDirectoryName`).
pub(super) fn move_aside(io: &dyn Io, dir: &Path, log_id: LogId) -> Result<PathBuf> {
    let first = aside_name(dir, log_id);
    let mut aside = first.clone();
    let mut number = 1;
    while io.kind(&aside)? != PathKind::Missing {
        number += 1;
        let mut name = first.clone().into_os_string();
        name.push(format!(".{number}"));
        aside = PathBuf::from(name);
    }
    // Should somebody take the name just now: a directory replaces nothing but an empty one.
    io.rename(dir, &aside)?;
    Ok(aside)
}

fn is_ours(name: &str) -> bool {
    [LOCK_NAME, META_NAME, NEW_META_NAME, SHM_NAME].contains(&name)
        || is_spare_name(name)
        || parse_segment_name(name).is_some()
        || name.strip_suffix(".copy").is_some_and(|stem| stem.len() == 20)
}

impl Place {
    pub(super) fn new(shared: &Arc<Shared>, view: &Arc<View>) -> Place {
        Place {
            shared: Arc::clone(shared),
            view: Arc::clone(view),
            is_gone: AtomicBool::new(false),
            missing: Mutex::default(),
            aside: Mutex::default(),
        }
    }

    /// Whether the log directory was found to be removed, renamed or replaced.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire) || self.shared.memory.state().is_gone()
    }

    /// The error of commits when [`Place::is_gone`]; `None` once the database is removed, too.
    pub(crate) fn gone(&self) -> Option<Error> {
        if !self.is_gone() || self.has_no_names() {
            return None;
        }
        let advice = if self.shared.io.anchor_is_replaced(&self.shared.dir) {
            "Another directory has its name now: move that one away, and what is committed is brought to the database file; then close \
             all connections to the database and open it again"
        } else {
            "What is committed is being brought to the database file: close all connections to the database and open it again"
        };
        Some(Error::Io {
            op: FileOp::LookAt,
            path: self.missing(),
            offset: None,
            kind: std::io::ErrorKind::NotFound,
            message: format!(
                "the log directory was removed, renamed or replaced while it was open, and commits in it would not be found again. {advice}"
            ),
        })
    }

    /// What was looked for in vain, here or in another process.
    fn missing(&self) -> PathBuf {
        let missing = self.missing.lock().clone();
        if missing.as_os_str().is_empty() { self.shared.dir.clone() } else { missing }
    }

    /// Whether the database and the log directory are both removed: nobody will look for a name in it, and it takes no new one.
    pub(crate) fn has_no_names(&self) -> bool {
        self.shared.io.anchor_is_removed() && self.shared.base.is_unlinked()
    }

    /// Whether the path of the database leads to the base file.
    pub(crate) fn is_in_place(&self) -> bool {
        self.shared.base.is_named(&self.shared.database)
    }

    /// Look whether the current segment still has its name, and note it when it has not.
    pub(crate) fn look(&self) {
        if self.is_gone() || self.shared.memory.state().has_left() {
            return;
        }
        let Some(segment) = self.view.last() else { return };
        // One that recovery doubts is just being replaced by a copy.
        if segment.is_doubtful() || segment.is_named() {
            return;
        }
        // Where the database is not at its path either, it was moved with its log, or removed with it.
        if !self.is_in_place() {
            return;
        }
        let now = self.shared.memory.state().tail();
        let is_current = (now.start, now.seed) == (Some(segment.start()), segment.seed());
        if self.shared.memory.was_shared() && !is_current {
            // Another process may have freed the segment, or removed it since it had no frames.
            return self.look_at_directory();
        }
        // A pass may just have freed the segment: then its name went with its entry in the list.
        if !self.view.last().is_some_and(|last| Arc::ptr_eq(&last, &segment)) {
            return;
        }
        self.note_gone(segment.path());
    }

    /// The same without a current segment, whose file could be looked up: no file could be made for the next one.
    pub(super) fn look_at_directory(&self) {
        if !self.is_gone() && !self.shared.io.leads_to_anchor(&self.shared.dir) && self.is_in_place() {
            self.note_gone(&self.shared.dir);
        }
    }

    fn note_gone(&self, missing: &Path) {
        *self.missing.lock() = missing.to_owned();
        self.is_gone.store(true, Ordering::Release);
        // Before the synced position moves: by that, other processes would take their commits for durable.
        self.shared.memory.state().set_gone();
        if let Some(error) = self.gone() {
            self.shared.trouble.note_error(&error);
        }
        self.shared.checkpointer.notify();
    }

    /// Where a file of the log directory is now, if vwal moved it.
    pub(crate) fn path_now(&self, path: &Path) -> PathBuf {
        match (&*self.aside.lock(), path.file_name()) {
            (Some(aside), Some(name)) => aside.join(name),
            _ => path.to_owned(),
        }
    }

    /// Another file has the name of the database: leave the name of the log directory to its log. Does nothing while the
    /// database is at its path. The caller holds the lock file, and keeps it meanwhile: without it the directory may be another process's.
    pub(super) fn step_aside(&self) -> Result<()> {
        let mut aside = self.aside.lock();
        if aside.is_some() || self.is_in_place() || !self.shared.io.leads_to_anchor(&self.shared.dir) {
            return Ok(());
        }
        let path = move_aside(&*self.shared.io, &self.shared.dir, self.shared.log_id)?;
        if !self.shared.base.is_unlinked() {
            self.shared.trouble.note_error(&Error::InUse {
                path: self.shared.database.clone(),
                what: format!(
                    "another file has this name now. The one before it, which is open, was renamed or cannot be told from one that was; \
                     its log goes on in '{}' until it is closed",
                    path.display()
                ),
            });
        }
        *aside = Some(path);
        Ok(())
    }

    /// Whether everything in the log directory is vwal's. Returns what is there.
    ///
    /// Errors: [`Error::InUse`] names what is not.
    pub(super) fn check_names(&self) -> Result<Vec<String>> {
        let names = self.shared.io.list(&self.shared.dir)?;
        match names.iter().find(|name| !is_ours(name)) {
            None => Ok(names),
            Some(name) => Err(Error::InUse {
                path: self.shared.database.clone(),
                what: format!(
                    "WAL mode cannot end while the log directory has '{}', {STRANGER}",
                    self.shared.dir.join(name).display()
                ),
            }),
        }
    }

    /// Remove a log directory that has stepped aside; one that somebody else moved is left alone. Only for the last close.
    ///
    /// Errors: nothing is removed when the base file still exists and lacks commits.
    pub(crate) fn remove_aside(&self) -> Result<()> {
        let aside = self.aside.lock();
        let Some(path) = aside.as_ref().filter(|path| self.shared.io.leads_to_anchor(path)) else {
            return Ok(());
        };
        if self.shared.positions.checkpointed() < self.shared.positions.published()
            && !self.shared.base.is_unlinked()
        {
            return Err(Error::InUse {
                path: self.shared.database.clone(),
                what: format!(
                    "frames {} to {} of the file that had this name are only in '{}': give that directory the name of that file and \
                     \"-wal\", and open it",
                    self.shared.positions.checkpointed() + 1,
                    self.shared.positions.published(),
                    path.display()
                ),
            });
        }
        let mut names = self.check_names()?;
        // Whoever looks at it meanwhile sees that it is held.
        names.sort_by_key(|name| name == LOCK_NAME);
        names.iter().try_for_each(|name| self.shared.io.remove_file(&self.shared.dir.join(name)))?;
        self.shared.io.remove_dir(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_cut_for_the_log_id_is_cut_between_characters() {
        let log_id = LogId(uuid::Uuid::from_u128(1));
        let end = format!(".{log_id}");
        let length = LONGEST - end.len();
        let aside = |name: &[u8]| {
            let path = aside_name(&Path::new("/a").join(OsStr::from_bytes(name)), log_id);
            path.file_name().unwrap().as_bytes().strip_suffix(end.as_bytes()).unwrap().to_owned()
        };
        assert_eq!(aside(b"app.db-wal"), b"app.db-wal");
        assert_eq!(aside(&[b'a'; 255]), [b'a'; 255][..length]);
        let accents = "a".to_owned() + &"é".repeat(127);
        assert!(String::from_utf8(aside(accents.as_bytes())).is_ok_and(|name| name.len() >= length - 1));
        // No character begins anywhere.
        assert_eq!(aside(&[0x80; 255]), b"");
    }
}
