//! The wal-index: memory that SQLite writes to, mapped from the file `shm` in the log directory.
//!
//! The first page of the file is left free: a control block for other processes will be there. The regions that SQLite
//! asks for follow it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::io::{File, Io, Mapping, OpenMode, PathKind};
use crate::log::{Log, SHM_NAME};
use crate::memory;
use crate::wal::SharedIndex;

/// Bytes before the first region.
const CONTROL_SIZE: u64 = 4096;
/// Offsets in the first region (<https://sqlite.org/walformat.html#wal_index_format>): `WalIndexHdr.mxFrame` and `aSalt`; then,
/// behind two headers of 48 bytes, `WalCkptInfo`: `nBackfill`, five read marks, eight lock bytes, `nBackfillAttempted`.
const MX_FRAME: usize = 16;
const SALTS: usize = 32;
const BACKFILL: usize = 2 * 48;
const READ_MARKS: usize = BACKFILL + 4;
const BACKFILL_ATTEMPTED: usize = READ_MARKS + 5 * 4 + 8;

pub(super) struct ShmFile {
    io: Arc<dyn Io>,
    path: PathBuf,
    read_only: bool,
    state: Mutex<State>,
    /// The start of region 0, or null. Regions stay mapped until this is dropped.
    first: AtomicPtr<u8>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<dyn File>>,
    regions: Vec<Box<dyn Mapping>>,
}

/// A region without a file, for a log whose directory cannot be written, or is removed.
struct Heap(Box<[AtomicU32]>);

impl Mapping for Heap {
    fn pointer(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }
}

impl ShmFile {
    pub(super) fn new(log: &Log) -> ShmFile {
        ShmFile {
            io: Arc::clone(log.io()),
            path: log.dir().join(SHM_NAME),
            read_only: log.is_read_only(),
            state: Mutex::default(),
            first: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The file; `None`: the regions are without one.
    fn file(&self, state: &mut State) -> Result<Option<Arc<dyn File>>> {
        if state.file.is_some() || self.read_only || !state.regions.is_empty() {
            return Ok(state.file.clone());
        }
        match self.make_file() {
            Ok(file) => state.file = Some(file),
            // The wal-index is in memory then, which is enough: the database is open in this process alone. Whether the next open
            // would find a commit is looked at before each fsync is reported (`log/place.rs`), and not here.
            Err(Error::Io { kind: ErrorKind::NotFound | ErrorKind::PermissionDenied, .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(state.file.clone())
    }

    fn make_file(&self) -> Result<Arc<dyn File>> {
        // Made anew, under the lock of the log: an old file of this name may be a link to somebody else's file, or somebody else may have
        // it mapped and change it.
        if self.io.kind(&self.path)? != PathKind::Missing {
            self.io.remove_file(&self.path)?;
        }
        self.io.open(&self.path, OpenMode::Create)
    }

    fn add_region(&self, state: &mut State, size: usize) -> Result<()> {
        let Some(file) = self.file(state)? else {
            let words = memory::filled(size / 4, "the wal-index", || AtomicU32::new(0))?;
            state.regions.push(Box::new(Heap(words)));
            return Ok(());
        };
        let offset = CONTROL_SIZE + (state.regions.len() * size) as u64;
        if state.regions.is_empty() {
            file.write_at(&vec![0; CONTROL_SIZE as usize], 0)?;
        }
        // Written, not just extended: on a full disk this is an error, where touching a hole in the mapping would be a
        // SIGBUS in the host.
        let mut zeros = Vec::new();
        memory::resize(&mut zeros, size, "the wal-index")?;
        file.write_at(&zeros, offset)?;
        state.regions.push(file.map(offset, size)?);
        Ok(())
    }

    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let first = self.first.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: `first` is the start of a region of at least a page that stays mapped for as long as `self` lives,
        // and the offset is a multiple of four within it. SQLite reads and writes these
        // words from other threads, so here they are atomics.
        Some(unsafe { &*first.add(offset).cast::<AtomicU32>() })
    }
}

impl SharedIndex for ShmFile {
    fn map(&self, index: usize, size: usize, extend: bool) -> Result<Option<*mut u8>> {
        if size < 4096 || !size.is_multiple_of(4096) {
            return Err(Error::Usage(format!("a wal-index region of {size} bytes")));
        }
        let mut state = self.state.lock();
        while state.regions.len() <= index {
            if !extend {
                return Ok(None);
            }
            self.add_region(&mut state, size)?;
        }
        let pointer = state.regions[index].pointer();
        if index == 0 {
            self.first.store(pointer, Ordering::Release);
        }
        Ok(Some(pointer))
    }

    fn max_frame(&self) -> Option<u32> {
        self.word(MX_FRAME).map(|word| word.load(Ordering::Acquire))
    }

    fn backfill_attempted(&self) -> Option<u32> {
        self.word(BACKFILL_ATTEMPTED).map(|word| word.load(Ordering::Acquire))
    }

    fn read_mark(&self, reader: usize) -> Option<u32> {
        self.word(READ_MARKS + 4 * reader).map(|word| word.load(Ordering::Acquire))
    }

    fn salts(&self) -> Option<u64> {
        let half = |offset| self.word(offset).map(|word| u64::from(word.load(Ordering::Acquire)));
        Some(half(SALTS)? << 32 | half(SALTS + 4)?)
    }

    fn set_backfill(&self, frames: u32, done: bool) {
        if let Some(word) = self.word(if done { BACKFILL } else { BACKFILL_ATTEMPTED }) {
            word.store(frames, Ordering::Release);
        }
    }

    fn reset(&self) {
        // Both copies of the header: the next connection finds no valid one and builds the wal-index anew, which includes
        // everything behind the headers. The regions stay, since nothing tells when the last look into them is over.
        for offset in (0..BACKFILL).step_by(4) {
            if let Some(word) = self.word(offset) {
                word.store(0, Ordering::Release);
            }
        }
    }
}
