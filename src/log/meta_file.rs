//! The file `meta`: two alternating slots, see [`crate::format::meta`].

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::meta::{META_SLOT_SIZE, Meta};
use crate::io::{File, Io, OpenMode, PathKind, SyncSite};
use crate::sync::Mutex;

/// The name of the file in the log directory.
pub const META_NAME: &str = "meta";
/// Its name until it is whole.
pub const NEW_META_NAME: &str = "meta.new";

/// The open file and the state it holds.
pub(crate) struct MetaFile {
    file: Arc<dyn File>,
    current: Meta,
}

/// The metadata as the parts of a log share it. `None`: the log is open read-only.
pub(super) type SharedMeta = Mutex<Option<MetaFile>>;

/// Read both slots. `Ok(None)`: neither was ever written, or there is no file.
///
/// Errors: no slot is valid and at least one is damaged.
pub fn read_meta(io: &dyn Io, dir: &Path) -> Result<Option<Meta>> {
    let path = dir.join(META_NAME);
    if io.kind(&path)? == PathKind::Missing {
        return Ok(None);
    }
    let file = io.open(&path, OpenMode::Read)?;
    let mut newest: Option<Meta> = None;
    let mut damage = None;
    for slot in 0..2u64 {
        let offset = slot * META_SLOT_SIZE as u64;
        let mut bytes = vec![0; META_SLOT_SIZE];
        let got = file.read_to_end_at(&mut bytes, offset)?;
        match Meta::decode(&bytes[..got]) {
            Ok(Some(meta)) if newest.is_none_or(|newest| newest.sequence < meta.sequence) => {
                newest = Some(meta)
            }
            Ok(_) => {}
            Err(problem) => damage = Some(Error::corrupt(&path, offset, problem)),
        }
    }
    match (newest, damage) {
        (None, Some(damage)) => Err(damage),
        (newest, _) => Ok(newest),
    }
}

impl MetaFile {
    /// Open the file. `current`: what it holds, or is about to.
    pub fn open(io: &dyn Io, dir: &Path, current: Meta) -> Result<MetaFile> {
        Ok(MetaFile { file: io.open(&dir.join(META_NAME), OpenMode::ReadWrite)?, current })
    }

    /// Make the file of a new log. It gets its name when it is whole: what a power loss leaves of a file that is not fsynced could
    /// not be told from damage. Both slots have their blocks then, so that a full disk does not stop a checkpoint pass, which may be
    /// what frees space. The name is not durable yet.
    pub fn create(io: &dyn Io, dir: &Path, first: Meta) -> Result<MetaFile> {
        let (new, path) = (dir.join(NEW_META_NAME), dir.join(META_NAME));
        let mut made = MetaFile { file: io.open(&new, OpenMode::Create)?, current: first };
        // Over what a crash left there, too.
        made.file.write_at(&[0; 2 * META_SLOT_SIZE], 0)?;
        made.put(first, SyncSite::FirstMeta, |_| {})?;
        io.rename(&new, &path)?;
        made.file = io.open(&path, OpenMode::ReadWrite)?;
        Ok(made)
    }

    /// The current state.
    pub fn get(&self) -> Meta {
        self.current
    }

    /// Write the next state and make it durable. The sequence number is set here. When the write fails, the state before
    /// still counts, and the slot can be written again; `sync_failed` is told of an fsync that failed.
    pub fn put(&mut self, mut meta: Meta, site: SyncSite, sync_failed: impl FnOnce(&Error)) -> Result<()> {
        meta.sequence = self.current.sequence + 1;
        self.file.write_at(&meta.encode(), meta.slot_offset())?;
        self.file.sync(site).inspect_err(sync_failed)?;
        self.current = meta;
        Ok(())
    }
}
