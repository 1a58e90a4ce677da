//! The verbs: what SQLite does to its `-wal` file and its wal-index, as operations on a log.
//!
//! `wal.c` numbers the frames of its WAL from 1 and starts over when everything has been checkpointed. One such run is a
//! *generation*; frame `i` of it is frame `generation base + i` of the log. The `-wal` file that SQLite sees exists only
//! here: a header of 32 bytes, then frames of 24 bytes and a page.

mod handle;
mod locks;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

pub use handle::WalHandle;
pub use locks::{LockKind, Locks};

use crate::error::Result;
use crate::log::Log;

/// Bytes of the header of a `-wal` file (<https://sqlite.org/fileformat2.html#walformat>).
pub const WAL_HEADER_SIZE: u64 = 32;

/// The wal-index, as far as the log needs to look into it. The mapping itself is for SQLite (`ffi/shm.rs`).
pub trait SharedIndex: Send + Sync {
    /// Region `index` of `size` bytes; `None` when it does not exist and `extend` is false. The region stays where it is
    /// until [`SharedIndex::reset`].
    fn map(&self, index: usize, size: usize, extend: bool) -> Result<Option<*mut u8>>;
    /// `mxFrame` of the header: the last frame of the generation that readers may see. `None`: not mapped.
    fn max_frame(&self) -> Option<u32>;
    /// `nBackfillAttempted`: up to here the running checkpoint may go. `None`: not mapped.
    fn backfill_attempted(&self) -> Option<u32>;
    /// Forget all regions: the next connection finds an empty wal-index, and recovers it from the WAL.
    fn reset(&self);
}

/// A database that is open in this process: its log, and what its connections share.
pub struct Wal {
    log: Arc<Log>,
    locks: Locks,
    index: Box<dyn SharedIndex>,
    /// How many handles have mapped the wal-index.
    mapped: AtomicUsize,
    /// How many connections have the `-wal` file open.
    opened: AtomicUsize,
    /// The header that SQLite wrote at the start of the generation; `None`: the file is empty.
    header: Mutex<Option<[u8; WAL_HEADER_SIZE as usize]>>,
    next_handle: AtomicU64,
    /// The log directory is gone: the database left WAL mode.
    left: AtomicBool,
}

impl Wal {
    /// The database of an open log.
    pub fn new(log: Arc<Log>, index: Box<dyn SharedIndex>) -> Wal {
        Wal {
            locks: Locks::new(log.options.queue_wait),
            log,
            index,
            mapped: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            header: Mutex::new(None),
            next_handle: AtomicU64::new(1),
            left: AtomicBool::new(false),
        }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Whether the database has left WAL mode; the log is gone then.
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// SQLite deletes the `-wal` file, or cuts it to nothing: the generation ends, and everything goes to the base file.
    /// SQLite holds the locks that keep everybody else away.
    pub fn end_generation(&self) -> Result<u64> {
        self.log.end_transaction(self.log.published_frame_no());
        *self.header.lock() = None;
        self.log.drain()
    }

    /// Whether a connection has the `-wal` file open.
    pub fn is_open(&self) -> bool {
        self.opened.load(Ordering::Acquire) > 0
    }
}
