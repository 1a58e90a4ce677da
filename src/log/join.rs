//! Joining a log that other processes have open: nothing is recovered, and nothing is changed. What is needed is in the memory that they share,
//! and in the files.

use std::sync::Arc;
use std::time::Duration;

use super::meta_file::MetaFile;
use super::open::held;
use super::recover::{Recovered, Tools, spare_files};
use super::source::LogSource;
use super::writer::SegmentSizes;
use crate::error::{Error, Result};
use crate::format::frame::FrameLayout;
use crate::io::{Holder, LockFile};
use crate::log::meta_file::read_meta;
use crate::page_index::PageIndex;
use crate::shm::{Liveness, Section, SharedMemory, SharedPositions};

/// Nobody waits longer for another process while the door is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The caller has closed the door, and seen that other processes have the log open.
pub(super) fn join(mut source: LogSource, lock: LockFile) -> Result<Recovered> {
    if source.read_only {
        return Err(held(&source, &Holder { pid: None, name: None })?);
    }
    let io = Arc::clone(&source.io);
    let lock = Arc::new(lock);
    let liveness = Arc::clone(&lock) as Arc<dyn Liveness>;
    let memory = Arc::new(SharedMemory::join(&*io, &source.dir, liveness)?);
    // From here on the slot is given back when something fails.
    let joined = JoinedMemory(&memory);
    let state = memory.state();
    // A database that processes have open was never without a page.
    if state.base() != io.identity(&source.database)? || source.base.size()? == 0 {
        let holder = memory.processes().into_iter().find(|process| process.slot != memory.slot());
        let holder = holder.map_or(Holder { pid: None, name: None }, |process| Holder {
            pid: Some(process.pid),
            name: Some(process.program),
        });
        return Err(held(&source, &holder)?);
    }
    if state.has_left() {
        let holder = "processes whose connections have not read since the database left WAL mode".into();
        return Err(Error::Busy { path: source.database.clone(), holder });
    }
    source.options = source.options.inherited(&state.options())?;
    let meta = {
        // While the door is closed nobody else comes or goes: a process that was stopped there is not waited for.
        let Some(alone) = memory.enter_within(Section::Metadata, PATIENCE) else {
            let holder = "a process that writes the metadata, and does not get on".into();
            return Err(Error::Busy { path: source.database.clone(), holder });
        };
        let meta = match read_meta(&*io, &source.dir) {
            Ok(meta) => meta,
            Err(error) => {
                if alone.is_inherited() {
                    alone.abandon();
                }
                return Err(error);
            }
        };
        if alone.is_inherited() {
            // What was read may be in the page cache alone.
            state.unsettle();
            state.set_meta_sequence(meta.map_or(0, |meta| meta.sequence));
        }
        meta
    };
    let missing =
        || Error::corrupt(&source.dir, None, "the metadata is missing, although processes have the log open");
    let meta = meta.ok_or_else(missing)?;
    let sizes = SegmentSizes::new(&source.options.swap, FrameLayout::new(meta.page_size));
    let spares = spare_files(&source, &sizes, memory.slot());
    spares.remove_left(&*io, &io.list(&source.dir)?);
    let positions = SharedPositions(Arc::clone(&memory));
    // In this order: what is cut off or added by a pass meanwhile is found in the frames that it brings to the base file.
    let checkpointed = positions.checkpointed();
    let index = PageIndex::new(checkpointed, positions.base_pages())?;
    let meta_file = MetaFile::open(&*io, &source.dir, meta)?;
    joined.stay();
    let tools = Tools { memory, lock, spares, sizes, last_error: None };
    Ok(Recovered::of(source, &meta, tools, None, index, Some(meta_file), true))
}

/// A slot that is given back unless the process stays.
struct JoinedMemory<'a>(&'a SharedMemory);

impl JoinedMemory<'_> {
    fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for JoinedMemory<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
