//! The end of WAL mode: the base file gets everything, and the log directory goes.

use std::io::ErrorKind;

use super::Checkpointer;
use crate::error::{Error, Result};
use crate::io::{SyncSite, parent_dir};
use crate::log::meta_file::META_NAME;
use crate::log::source::LOCK_NAME;
use crate::shm::PassLimit;
use crate::shm::SHM_NAME;

impl Checkpointer {
    /// Whether WAL mode can end: nothing has failed, everything in the log directory is vwal's, and the directory can be
    /// removed. Once some of its files are gone it is too late to find out.
    pub(crate) fn check_can_leave(&self) -> Result<()> {
        self.writer.check_writable()?;
        if !self.place.is_in_place() || !self.shared.io.leads_to_anchor(&self.shared.dir) {
            return Err(Error::InUse {
                path: self.shared.database.clone(),
                what: "WAL mode cannot end while the database or its log directory is not where it was opened: it was renamed or \
                       removed, or has been replaced"
                    .into(),
            });
        }
        self.place.check_names()?;
        // It is not empty, and so it stays. Whatever else is in the way of removing it is told first.
        match self.shared.io.remove_dir(&self.shared.dir) {
            Err(Error::Io { kind: ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists, .. }) => Ok(()),
            Err(Error::Io { kind: ErrorKind::ResourceBusy, .. }) => Err(Error::InUse {
                path: self.shared.database.clone(),
                what: format!(
                    "'{}' is a mount point, or in use as one, and cannot be removed: WAL mode cannot end here",
                    self.shared.dir.display()
                ),
            }),
            Err(error) => Err(error),
            Ok(()) => Err(Error::corrupt(
                &self.shared.dir,
                None,
                "it was empty: somebody else has removed its files",
            )),
        }
    }

    /// WAL mode ends: drain, and remove the log directory. The caller is the only user of the database.
    ///
    /// Errors: nothing is removed when something in the directory is not vwal's.
    pub(crate) fn leave(&self) -> Result<()> {
        self.check_can_leave()?;
        self.drain()?;
        {
            // All of it, whether storage has it or not: there will be no log that could keep the rest.
            let _pass = self.enter_pass()?;
            self.checkpoint_to(self.shared.positions.absorbed(), PassLimit::Leaving)?;
        }
        if self.shared.positions.checkpointed() < self.shared.positions.published() {
            return Err(Error::InUse {
                path: self.shared.database.clone(),
                what: format!(
                    "the database file is still being read for storage, and has only the frames up to {}",
                    self.shared.positions.checkpointed()
                ),
            });
        }
        self.place.check_names()?;
        // Before any file goes: a process whose connections have not read yet may have the log open, too, and must not go on in it, also when
        // this one dies.
        self.shared.memory.state().leave();
        self.remove_all().inspect_err(|error| {
            // A directory that is half removed is no place for further commits, whatever it was that failed.
            self.durability.poison(error);
            self.shared.memory.state().stay();
        })
    }

    fn remove_all(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let mut names = self.place.check_names()?;
            // The oldest segments go first, the metadata after all segments, the lock last of all. Segments without metadata would be damage,
            // so their names are gone for good before the metadata goes.
            let rank = |name: &str| match name {
                LOCK_NAME => 3,
                META_NAME => 2,
                SHM_NAME => 1,
                _ => 0,
            };
            names.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
            match self.remove_files(&names) {
                // A task of another process was just making a spare file.
                Err(Error::Io { kind: ErrorKind::DirectoryNotEmpty, .. })
                    if self.shared.memory.was_shared() && tries < 3 =>
                {
                    tries += 1;
                }
                removed => return removed,
            }
        }
    }

    fn remove_files(&self, names: &[String]) -> Result<()> {
        for name in names {
            if name == META_NAME {
                self.durability.sync_names(SyncSite::LeftSegments)?;
            }
            match self.shared.io.remove_file(&self.shared.dir.join(name)) {
                // A task of another process has just removed or renamed it.
                Err(error) if error.is_not_found() && self.shared.memory.was_shared() => {}
                removed => removed?,
            }
        }
        self.shared.io.remove_dir(&self.shared.dir)?;
        self.shared.io.sync_dir(&parent_dir(&self.shared.dir), SyncSite::LeftDirectory)
    }
}
