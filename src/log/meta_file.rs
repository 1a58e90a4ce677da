//! The file `meta`: two alternating slots, see [`crate::format::meta`].

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::meta::{META_SLOT_SIZE, Meta};
use crate::io::{File, Io, OpenMode, PathKind, SyncSite};
use crate::shm::{Section, SharedMemory};
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

/// The metadata as the parts of a log share it, and the processes.
pub(crate) struct Metadata {
    memory: Arc<SharedMemory>,
    /// `None`: the log is open read-only.
    file: Mutex<Option<MetaFile>>,
}

impl Metadata {
    pub(super) fn new(memory: &Arc<SharedMemory>, file: Option<MetaFile>) -> Metadata {
        Metadata { memory: Arc::clone(memory), file: Mutex::new(file) }
    }

    /// Use the file, which holds the newest state, whichever process wrote that. `None`: the log is open read-only.
    pub(super) fn with<T>(&self, use_file: impl FnOnce(&mut MetaFile) -> Result<T>) -> Result<Option<T>> {
        let mut file = self.file.lock();
        let Some(file) = &mut *file else { return Ok(None) };
        let entered = self.memory.enter(Section::Metadata);
        let state = self.memory.state();
        if entered.is_inherited() {
            // The process that died may have written a state that is in the page cache alone.
            state.unsettle();
        }
        if entered.is_inherited() || state.meta_sequence() != file.current.sequence {
            let again = file.read_again();
            if again.is_err() && entered.is_inherited() {
                entered.abandon();
                return again.map(|()| None);
            }
            again?;
        }
        let result = use_file(file);
        state.set_meta_sequence(file.current.sequence);
        result.map(Some)
    }
}

/// Read both slots. `Ok(None)`: neither was ever written, or there is no file.
///
/// Errors: no slot is valid and at least one is damaged.
pub fn read_meta(io: &dyn Io, dir: &Path) -> Result<Option<Meta>> {
    let path = dir.join(META_NAME);
    if io.kind(&path)? == PathKind::Missing {
        return Ok(None);
    }
    newest_of(&*io.open(&path, OpenMode::Read)?, &path)
}

fn newest_of(file: &dyn File, path: &Path) -> Result<Option<Meta>> {
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
            Err(problem) => damage = Some(Error::corrupt(path, offset, problem)),
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

    /// Another process may have written the file.
    fn read_again(&mut self) -> Result<()> {
        let path = self.file.path();
        let what = "it was there, and neither of its slots was ever written now";
        self.current = newest_of(&*self.file, path)?.ok_or_else(|| Error::corrupt(path, 0, what))?;
        Ok(())
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
