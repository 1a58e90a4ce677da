//! Spare segment files: freed ones, and new ones that are written full of zeros ahead of need.
//!
//! Overwriting blocks that have been written before takes half the time of appending, in an fsync. A file is in the pool
//! only when its name is durable, so that no crash can bring a spare back under the name it had as a segment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::io::{File, Io, OpenMode, SyncSite};
use crate::memory;
use crate::sync::Mutex;

/// The least number of spares that are kept, and the most.
const KEEP: std::ops::RangeInclusive<u64> = 4..=128;
/// Bytes of the spare that is left for the next process, at most.
const KEPT_BYTES: u64 = 16384;
/// Bytes written, and fsynced, at once when a file is prepared: the fsync of a commit queues behind no more than this.
const CHUNK: usize = 1 << 19;

/// Whether a file in the log directory is a spare.
pub fn is_spare_name(name: &str) -> bool {
    name.strip_suffix(".free")
        .is_some_and(|number| number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A name has two digits for the slot, and so many numbers after them.
const NUMBERS: u64 = 1_000_000_000_000_000_000;

/// The number in the name of a spare, without the slot.
fn number_of(name: &str) -> u64 {
    name.get(2..20).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The pool of spare files of one process.
pub struct SpareFiles {
    /// Spares kept; the rest of the freed files is removed.
    keep: usize,
    dir: PathBuf,
    /// The slot of the process, which is part of the names: those of another process are others.
    slot: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<PathBuf>,
    next: u64,
}

impl SpareFiles {
    /// An empty pool for the log directory `dir`. It keeps about `wanted` files: as many as a checkpoint pass frees at once,
    /// so that a busy log does not remove files only to write new ones.
    pub fn new(dir: &Path, wanted: u64, slot: usize) -> SpareFiles {
        let keep = wanted.clamp(*KEEP.start(), *KEEP.end()) as usize;
        SpareFiles { keep, dir: dir.to_owned(), slot, state: Mutex::default() }
    }

    /// Take over the spares that an earlier process left. What is more than the pool holds is removed.
    pub fn adopt(&self, io: &dyn Io, names: &[String]) -> Result<()> {
        let mut state = self.state.lock();
        for name in names.iter().filter(|name| is_spare_name(name)) {
            let path = self.dir.join(name);
            state.next = state.next.max(number_of(name) + 1);
            if state.files.len() < self.keep {
                // It is opened again when it is needed; whether it can be is better known now.
                io.open(&path, OpenMode::ReadWrite)?;
                state.files.push(path);
            } else {
                io.remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Remove the spares of a process that had the slot before and died, and give none the name of one that is there.
    pub fn remove_left(&self, io: &dyn Io, names: &[String]) {
        let spares = || names.iter().filter(|name| is_spare_name(name));
        let last = spares().map(|name| number_of(name)).max();
        let mut state = self.state.lock();
        state.next = state.next.max(last.map_or(0, |last| last + 1));
        let slot = format!("{:02}", self.slot);
        for name in spares().filter(|name| name.starts_with(&slot)) {
            // Where it stays it takes room, and nothing else.
            let _ = io.remove_file(&self.dir.join(name));
        }
    }

    /// Remove all of them.
    pub fn remove(&self, io: &dyn Io) {
        for path in std::mem::take(&mut self.state.lock().files) {
            let _ = io.remove_file(&path);
        }
    }

    fn slot_of(&self, path: &Path) -> Option<usize> {
        path.file_name()?.to_str()?.get(..2)?.parse().ok()
    }

    /// Whether there is no spare.
    pub fn is_empty(&self) -> bool {
        self.state.lock().files.is_empty()
    }

    fn new_path(&self) -> PathBuf {
        let mut state = self.state.lock();
        state.next += 1;
        self.dir.join(format!("{:02}{:018}.free", self.slot, state.next % NUMBERS))
    }

    /// Write a new file of `len` bytes and fsync it. Not in the pool yet: see [`SpareFiles::add`].
    pub fn prepare(&self, io: &dyn Io, len: u64) -> Result<PathBuf> {
        let path = self.new_path();
        let made = (|| {
            let file = io.open(&path, OpenMode::Create)?;
            let mut zeros = Vec::new();
            memory::resize(
                &mut zeros,
                CHUNK.min(usize::try_from(len).unwrap_or(CHUNK)).max(1),
                "a spare file",
            )?;
            let mut done = 0;
            while done < len {
                let part = zeros.len().min(usize::try_from(len - done).unwrap_or(usize::MAX));
                file.write_at(&zeros[..part], done)?;
                file.sync(SyncSite::SpareBlocks)?;
                done += part as u64;
            }
            Ok(())
        })();
        match made {
            Ok(()) => Ok(path),
            Err(error) => {
                // A half-written spare is of no use, and on a full disk its blocks are.
                let _ = io.remove_file(&path);
                Err(error)
            }
        }
    }

    /// A spare, for a new segment at `path`: the file is renamed there. The directory must be fsynced before anything
    /// that depends on the name is acknowledged.
    pub fn take(&self, io: &dyn Io, path: &Path) -> Result<Option<Arc<dyn File>>> {
        loop {
            let Some(spare) = self.state.lock().files.pop() else { return Ok(None) };
            match io.rename(&spare, path) {
                // It was taken over from another process, and the next one with the slot of that has removed it.
                Err(error) if error.is_not_found() && self.slot_of(&spare) != Some(self.slot) => {}
                renamed => return renamed.and_then(|()| io.open(path, OpenMode::ReadWrite)).map(Some),
            }
        }
    }

    /// Rename a segment file that is no longer needed, so that it is not a segment any more. Not in the pool yet: see
    /// [`SpareFiles::add`]. `pending`: how many are on their way there already; what the pool has no room for is removed.
    pub fn retire(
        &self,
        io: &dyn Io,
        path: &Path,
        pending: usize,
        max_len: u64,
        len: u64,
    ) -> Result<Option<PathBuf>> {
        if self.state.lock().files.len() + pending >= self.keep || len > max_len {
            io.remove_file(path)?;
            return Ok(None);
        }
        let spare = self.new_path();
        io.rename(path, &spare)?;
        Ok(Some(spare))
    }

    /// Put a new or a retired file into the pool; its name must be durable.
    pub fn add(&self, path: PathBuf) {
        self.state.lock().files.push(path);
    }

    /// Keep one small spare for the next process and remove the others: a closed database should not hold much more disk
    /// than its pages. `cuts`: the names of the spares are durable, and the one that is kept may be cut.
    pub fn shrink(&self, io: &dyn Io, cuts: bool) {
        let mut state = self.state.lock();
        if cuts
            && let Some(kept) = state.files.first()
            && let Ok(file) = io.open(kept, OpenMode::ReadWrite)
            && file.size().is_ok_and(|size| size > KEPT_BYTES)
        {
            let _ = file.set_len(KEPT_BYTES);
        }
        while state.files.len() > 1 {
            if let Some(path) = state.files.pop() {
                let _ = io.remove_file(&path);
            }
        }
    }
}
