//! Before an object is put: its directory is made, durably, and storage still has what was there.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use object_store::path::{Path as Key, PathPart};

use super::root::away;
use super::{Inner, REMEMBERED};

impl Inner {
    /// Makes the directory in which the object `key` is put, and sees to it that it is there after a power cut.
    pub(super) fn prepare(&self, key: &Key) -> io::Result<()> {
        self.root.make()?;
        let mut directory = self.root.path().to_owned();
        let parts: Vec<_> = key.parts().collect();
        directory
            .extend(parts.iter().take(parts.len().saturating_sub(1)).map(|part| part.as_ref().to_owned()));
        self.root.check_mark()?;
        if self.durable.lock().contains(&directory) && directory.is_dir() {
            return Ok(());
        }
        self.check_not_emptied(parts.first())?;
        DirBuilder::new().mode(0o700).recursive(true).create(&directory)?;
        for above in directory.ancestors() {
            match File::open(above).and_then(|directory| directory.sync_all()) {
                Ok(()) => {}
                // Above the root lies what others made, where this user may not look, or on file systems that cannot.
                Err(error)
                    if !above.starts_with(self.root.path())
                        && matches!(
                            error.kind(),
                            io::ErrorKind::PermissionDenied
                                | io::ErrorKind::InvalidInput
                                | io::ErrorKind::Unsupported
                                | io::ErrorKind::ReadOnlyFilesystem
                        ) => {}
                Err(error) => return Err(error),
            }
        }
        let mut durable = self.durable.lock();
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(directory);
        Ok(())
    }

    /// Returns an error when the directory of a log has gone since this store put something there, unless this store deleted it. It
    /// does so once: the caller looks what is there before it puts anything else.
    fn check_not_emptied(&self, log: Option<&PathPart<'_>>) -> io::Result<()> {
        let Some(log) = log.map(|log| self.root.path().join(log.as_ref())) else { return Ok(()) };
        let mut durable = self.durable.lock();
        if !durable.iter().any(|directory| directory.starts_with(&log)) || log.is_dir() {
            return Ok(());
        }
        durable.clear();
        Err(away(
            "the directory in which objects of this log were is not there any more (was storage emptied?): bring it back",
        ))
    }
}
