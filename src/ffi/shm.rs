//! The wal-index: memory that SQLite writes to, in the file `shm` of the log directory after what is ours (`shm/`).

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::io::Mapping;
use crate::log::Log;
use crate::shm::SharedMemory;
use crate::wal::SharedIndex;

/// Offsets in the first region (<https://sqlite.org/walformat.html#wal_index_format>): `WalIndexHdr.mxFrame` and `aSalt`; then,
/// behind two headers of 48 bytes, `WalCkptInfo`: `nBackfill`, five read marks, eight lock bytes, `nBackfillAttempted`.
const MX_FRAME: usize = 16;
const SALTS: usize = 32;
const BACKFILL: usize = 2 * 48;
const READ_MARKS: usize = BACKFILL + 4;
const BACKFILL_ATTEMPTED: usize = READ_MARKS + 5 * 4 + 8;

/// Bytes of a region: `WALINDEX_PGSZ` of `wal.c`.
const REGION_SIZE: usize = 32768;

pub(super) struct ShmFile {
    memory: Arc<SharedMemory>,
    regions: Mutex<Vec<Box<dyn Mapping>>>,
    /// The start of region 0, or null. Regions stay mapped until this is dropped.
    first: AtomicPtr<u8>,
}

impl ShmFile {
    pub(super) fn new(log: &Log) -> ShmFile {
        ShmFile {
            memory: Arc::clone(log.memory()),
            regions: Mutex::default(),
            first: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let mut first = self.first.load(Ordering::Acquire);
        if first.is_null() {
            // Another process may have made it.
            first = self.map(0, REGION_SIZE, false).ok()??;
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
        let mut regions = self.regions.lock();
        while regions.len() <= index {
            let Some(region) = self.memory.region(regions.len(), size, extend)? else { return Ok(None) };
            regions.push(region);
        }
        let pointer = regions[index].pointer();
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
