//! The log of one database: numbered frames in segments, and the view of the database file that they make up.
//!
//! The positions, and the order in which they move, are in `shm/positions.rs`:
//!
//! - *written*: in the segment, as a tentative commit.
//! - *published*: `wal.c` lets readers see it; it will never be overwritten.
//! - *stored*: in storage (`remote.rs`).
//! - *absorbed*: part of the view of the database file (`view.rs`).
//! - *checkpointed*: in the base file, durably (`checkpointer/`).
//!
//! Each part owns what it has, and is given the parts that it needs, in this order:
//!
//! | part | owns |
//! |---|---|
//! | [`Shared`] | what does not change, the positions, the wake-ups of the tasks, what is told of errors |
//! | [`View`] | segments, page index, cache |
//! | [`Place`] | whether the names of database and log directory still lead to this log |
//! | [`Durability`] | fsyncs, group commit, poison, names of segments |
//! | [`Writer`] | the open transaction, the current segment, spare files |
//! | [`Remote`] | who waits for storage, and why it does not get on |
//! | [`Checkpointer`] | passes, the metadata, freeing, pace |
//!
//! [`Log`] puts them together. How one is opened is in `open.rs` (which log), `recover.rs` and `judge.rs` (which frames).
//!
//! What SQLite's locks guarantee, and this module relies on, is written down where it is used; the invariants have
//! numbers in `docs/design.md`.

mod base;
mod checkpointer;
mod copy;
mod durability;
mod group;
mod join;
mod judge;
mod meta_file;
mod open;
mod place;
mod recover;
mod remote;
mod shared;
mod source;
mod trouble;
mod view;
mod wakeup;
mod which;
mod which_frames;
mod writer;

use std::path::Path;
use std::sync::Arc;

pub(crate) use base::{BaseState, Pass, commit_us_of};
pub use checkpointer::Debt;
use checkpointer::Parts;
pub(crate) use checkpointer::{Checkpointer, PinnedBase};
pub(crate) use durability::Durability;
pub(crate) use judge::{Depth as ReadDepth, Fate, Finding, Judged, Verdict, judge, read};
use meta_file::Metadata;
pub(crate) use meta_file::NEW_META_NAME;
pub use meta_file::{META_NAME, read_meta};
pub(crate) use open::{completed, new_log_id};
pub(crate) use place::Place;
use recover::Recovered;
pub(crate) use remote::Remote;
use shared::Shared;
pub use source::{LOCK_NAME, LogSource};
use trouble::STRANGER;
pub(crate) use view::{View, ViewRead};
pub(crate) use wakeup::Wakeup;
pub(crate) use writer::Writer;

use crate::error::{Error, Result};
use crate::io::{File, Io, LockFile};
use crate::options::Options;
use crate::shm::{Positions, SharedMemory};
use crate::sync::Mutex;
use crate::types::{LogId, PageSize, Parent};

/// An open log. Shared by all connections of the process to one database.
pub struct Log {
    shared: Arc<Shared>,
    view: Arc<View>,
    place: Arc<Place>,
    durability: Arc<Durability>,
    writer: Arc<Writer>,
    remote: Arc<Remote>,
    checkpointer: Arc<Checkpointer>,
    /// `None`: closed. A handle that an application still has must not keep others away.
    lock: Mutex<Option<Arc<LockFile>>>,
}

impl Log {
    /// Open the log of a database, or make it. `Ok(None)`: the database has no log (now), and none was asked for.
    ///
    /// Errors: [`Error::Busy`] when another process holds the log; [`Error::Corrupt`] and [`Error::Foreign`] as in the
    /// table in `which.rs`; nothing is changed then.
    pub fn open(source: LogSource) -> Result<Option<Log>> {
        let Some(recovered) = open::open(source)? else { return Ok(None) };
        let (lock, is_joined) = (Arc::clone(&recovered.lock), recovered.segments.is_none());
        let log = Log::of(recovered);
        if is_joined {
            // The process that recovered it has seen to that, and nobody waits for another one while the door is closed.
            lock.open_door();
            return Ok(Some(log));
        }
        if let Err(error) = open::make_durable(&log.shared, &log.durability) {
            log.shared.memory.leave();
            return Err(error);
        }
        lock.open_door();
        Ok(Some(log))
    }

    fn of(recovered: Recovered) -> Log {
        let Recovered { shared, segments, index, cache, spares, sizes, meta, has_footer, lock } = recovered;
        let meta = Arc::new(Metadata::new(&shared.memory, meta));
        let shared = Arc::new(shared);
        let view = Arc::new(View::new(&shared, segments, index, cache));
        let place = Arc::new(Place::new(&shared, &view));
        let durability = Arc::new(Durability::new(&shared, &view, &place, &meta));
        let writer = Arc::new(Writer::new(&shared, &view, &place, &durability, spares, sizes));
        let remote = Arc::new(Remote::new(&shared));
        let parts = Parts {
            shared: &shared,
            view: &view,
            place: &place,
            durability: &durability,
            writer: &writer,
            remote: &remote,
        };
        let checkpointer = Arc::new(Checkpointer::new(&parts, meta, has_footer));
        Log { shared, view, place, durability, writer, remote, checkpointer, lock: Mutex::new(Some(lock)) }
    }

    /// The segments and the view that they make up.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Whether the log and its database are where they were opened.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// What is fsynced.
    pub(crate) fn durability(&self) -> &Durability {
        &self.durability
    }

    /// The open transaction and the current segment.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The log's side of shipping.
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Passes over the base file, and the metadata.
    pub(crate) fn checkpointer(&self) -> &Arc<Checkpointer> {
        &self.checkpointer
    }

    /// The positions.
    pub(crate) fn positions(&self) -> &Positions {
        &self.shared.positions
    }

    /// What the processes that have the log open agree on.
    pub(crate) fn memory(&self) -> &Arc<SharedMemory> {
        &self.shared.memory
    }

    /// Wakes the task that swaps, seals and fsyncs segments.
    pub(crate) fn syncer_wakeup(&self) -> &Wakeup {
        &self.shared.syncer
    }

    /// Wakes the task that runs passes.
    pub(crate) fn checkpointer_wakeup(&self) -> &Wakeup {
        &self.shared.checkpointer
    }

    /// Wakes the task that ships.
    pub(crate) fn shipper_wakeup(&self) -> &Wakeup {
        &self.shared.shipper
    }

    /// The database file.
    pub fn database(&self) -> &Path {
        &self.shared.database
    }

    /// The log directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// The lineage of the frame numbers.
    pub fn log_id(&self) -> LogId {
        self.shared.log_id
    }

    /// The log that this one continues, if it does.
    pub fn parent(&self) -> Option<Parent> {
        self.shared.parent
    }

    /// Page size of the database.
    pub fn page_size(&self) -> PageSize {
        self.shared.page_size
    }

    /// What the database was opened with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Files, clock and random numbers: the system's, or those of a test.
    pub(crate) fn io(&self) -> &Arc<dyn Io> {
        &self.shared.io
    }

    /// The database file, open.
    pub(crate) fn base(&self) -> &Arc<dyn File> {
        &self.shared.base
    }

    /// Whether no frame can be written, for want of permission or because nobody wants to.
    pub(crate) fn is_read_only(&self) -> bool {
        self.shared.read_only
    }

    /// Whether the log is shipped to storage.
    pub fn has_storage(&self) -> bool {
        self.shared.has_storage()
    }

    /// The last frame that is in a segment, as part of a commit that may still be tentative.
    pub fn written_frame_no(&self) -> u64 {
        self.shared.positions.written()
    }

    /// The last frame that readers may see.
    pub fn published_frame_no(&self) -> u64 {
        self.shared.positions.published()
    }

    /// The last frame that survives a power loss.
    pub fn synced_frame_no(&self) -> u64 {
        self.shared.positions.synced()
    }

    /// The last frame that is part of the view of the database file.
    pub fn absorbed_frame_no(&self) -> u64 {
        self.shared.positions.absorbed()
    }

    /// The last frame that is in the base file: what the footer says.
    pub fn checkpointed_frame_no(&self) -> u64 {
        self.shared.positions.checkpointed()
    }

    /// The last frame that storage has; `None`: not known yet, or there is no storage.
    pub fn stored_frame_no(&self) -> Option<u64> {
        self.shared.positions.stored()
    }

    /// Up to here everything is durable: in storage if there is one, else on this disk.
    pub fn durable_frame_no(&self) -> u64 {
        if self.has_storage() {
            self.stored_frame_no().unwrap_or(0)
        } else {
            self.synced_frame_no().min(self.published_frame_no())
        }
    }

    /// Frames up to this one are read by nobody through the WAL: the end of the generation before the current one.
    pub fn generation_base(&self) -> u64 {
        self.shared.positions.generation_base()
    }

    /// Pages of the database file as SQLite sees it.
    pub fn view_pages(&self) -> u32 {
        self.shared.positions.view_pages()
    }

    /// Pages of the database as of the last commit.
    pub fn database_pages(&self) -> u32 {
        self.shared.positions.published_pages()
    }

    /// Bytes of frames that are committed and that storage does not have. Zero without storage.
    pub fn unshipped_bytes(&self) -> u64 {
        self.shared.unshipped_bytes()
    }

    /// Bytes of frames that are absorbed and not checkpointed.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.shared.backlog_bytes()
    }

    /// Whether frames can be written: the log is open, neither read-only nor poisoned.
    pub fn check_writable(&self) -> Result<()> {
        self.writer.check_writable()
    }

    /// The last error of a background task, or else the last refusal of a connection's call, for status reports. One that goes on
    /// is told for as long as it does, whatever else succeeds.
    pub fn last_error(&self) -> Option<String> {
        let refusal = self.shared.trouble.refusal(|error| self.is_over(error));
        let lasting = match self.durability.check_poison() {
            // What a commit was told of storage says what storage is in trouble with.
            Ok(()) => (self.place.gone().or_else(|| self.remote.fence()))
                .or_else(|| refusal.clone().filter(Error::has_cause))
                .or_else(|| self.remote.shipping_trouble()),
            Err(poison) => Some(poison),
        };
        let lasting = lasting.map(|error| error.to_string()).or_else(|| self.shared.trouble.last_error());
        lasting.or_else(|| refusal.map(|error| error.to_string()))
    }

    /// Whether the reason of a refusal is seen to be gone.
    fn is_over(&self, refusal: &Error) -> bool {
        match refusal {
            Error::NotStored { frame_no, .. } => self.stored_frame_no() >= Some(*frame_no),
            Error::Backlog { limit, .. } => self.unshipped_bytes() < *limit,
            // It may have been moved away since.
            Error::InUse { what, .. } => what.contains(STRANGER) && self.place.check_names().is_ok(),
            _ => false,
        }
    }

    /// Remember and report an error that no caller is told.
    pub(crate) fn note_error(&self, error: &Error) {
        self.shared.trouble.note_error(error);
    }

    /// A background task that failed before has succeeded.
    pub(crate) fn clear_error(&self) {
        self.durability.clear_error();
    }

    /// A connection's call has failed. The caller has reported it.
    pub(crate) fn note_refusal(&self, error: &Error) {
        self.shared.trouble.note_refusal(error);
    }

    /// A commit has succeeded: what kept commits away is gone.
    pub(crate) fn end_refusal_of_commits(&self) {
        self.shared.trouble.end_refusal_of_commits();
    }

    /// WAL mode could end now.
    pub(crate) fn end_refusal_to_leave(&self) {
        self.shared.trouble.end_refusal_to_leave();
    }

    /// Another file has the name of the database: leave the name of the log directory to its log. Does nothing while the database is at
    /// its path, and when the log is closed.
    pub(crate) fn step_aside(&self) -> Result<()> {
        // A log that is closed has given the directory up, and another process may have it by now. It cannot be closed meanwhile.
        let lock = self.lock.lock();
        if lock.is_some() { self.place.step_aside() } else { Ok(()) }
    }

    /// The database file has no name any more: nobody can open it again, and the log ends. Only for the last close.
    pub(crate) fn end_unlinked(&self) -> Result<()> {
        // Under its own name it could be taken for the log of a new file while it is half removed.
        self.step_aside()?;
        self.place.remove_aside()
    }

    /// Whether another process has the log open, too. While the door is closed nobody comes or goes.
    pub(crate) fn has_others(&self) -> bool {
        self.shared.memory.has_others()
    }

    /// The last connection of this process is about to go: keep others from coming and going until [`Log::release_lock`]. Where somebody else does
    /// not give the door up, the log is left as others have it.
    pub(crate) fn close_door(&self) -> bool {
        let lock = self.lock.lock().clone();
        lock.is_some_and(|lock| lock.close_door().unwrap_or(false))
    }

    /// Others may come and go again.
    pub(crate) fn open_door(&self) {
        if let Some(lock) = &*self.lock.lock() {
            lock.open_door();
        }
    }

    /// The last connection of this process is gone: from here on another process may have the log alone. `is_last`: no other process has it open.
    pub(crate) fn release_lock(&self, is_last: bool) {
        let _pass = self.checkpointer.close();
        let mut lock = self.lock.lock();
        // Until now another thread could make it step aside, also after the last close had looked.
        if lock.is_some()
            && is_last
            && let Err(error) = self.place.remove_aside()
        {
            self.note_error(&error);
        }
        if let Some(lock) = lock.take() {
            if is_last {
                self.shared.memory.remove_file(&*self.shared.io, &self.shared.dir);
            } else {
                self.writer.spares().remove(&*self.shared.io);
            }
            self.shared.memory.leave();
            lock.release();
        }
    }
}

#[cfg(test)]
mod tests;
