//! The databases that are open in this process, one log for each.
//!
//! A database is known by the identity of its file (device and inode), so that two paths to one file share one log. It is
//! opened once, however many threads open it at the same time, and closed with its last handle.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::background::{Background, Workers};
use super::patience::Patience;
use crate::error::{Error, FileOp, Result};
use crate::io::{Io, SyncSite};
use crate::log::{Log, LogSource};
use crate::options::Options;
use crate::ship::Shipping;
use crate::wal::{SharedIndex, Wal, WalHandle};

/// Device and inode.
type Identity = (u64, u64);

/// An open database.
pub struct OpenDatabase {
    wal: Arc<Wal>,
    options: Options,
    dir: PathBuf,
    /// `None`: stopped.
    background: Mutex<Option<Background>>,
    workers: Workers,
    patience: Arc<Patience>,
}

impl OpenDatabase {
    /// The log and what connections share.
    pub fn wal(&self) -> &Arc<Wal> {
        &self.wal
    }

    /// WAL mode ends; see [`WalHandle::leave`].
    pub fn leave(&self, handle: &WalHandle) -> Result<()> {
        self.ship_the_rest();
        // The tasks must not be at the files while those are removed.
        let background = self.background.lock().take();
        drop(background);
        // Nobody joins a log whose directory is being removed.
        let is_closed = self.wal.log().close_door();
        let result = if is_closed { handle.leave() } else { Err(self.busy()) };
        if result.is_ok() {
            self.wal.log().release_lock(true);
        } else {
            self.wal.log().open_door();
        }
        result.inspect_err(|_| {
            // The database stays virtual, so it needs its tasks again.
            match Background::start(&self.wal, &self.workers) {
                Ok(background) => *self.background.lock() = Some(background),
                Err(error) => self.wal.log().note_error(&error),
            }
        })
    }

    /// The shipping of the log, if it has storage and is open.
    pub fn shipping(&self) -> Option<Arc<Shipping>> {
        self.background.lock().as_ref()?.shipping()
    }

    /// Give storage what it does not have yet, for as long as the options allow and `Patience` has it. What remains is in the
    /// segments.
    fn ship_the_rest(&self) {
        let log = self.wal.log();
        if !log.has_storage() || log.check_writable().is_err() {
            return;
        }
        // Nothing was written since storage had all of it: it is not asked.
        if log.stored_frame_no().is_none()
            && self.shipping().is_some_and(|shipping| shipping.noted(log).is_some())
        {
            return;
        }
        let storage = log.options().shipping.storage.as_ref().map(ToString::to_string).unwrap_or_default();
        let timeout = log.options().shipping.close_timeout;
        let allowed = self.patience.begin(&storage, timeout, Instant::now());
        let shipped = log.remote().wait_stored(log.published_frame_no(), allowed);
        self.patience.ended(&storage, timeout, allowed, shipped.is_ok(), Instant::now());
        if let Err(error) = shipped.and_then(|()| log.checkpointer().note_stored()) {
            log.note_error(&error);
        }
    }

    fn busy(&self) -> Error {
        let holder = "a process that opens or closes it, and does not get on".into();
        Error::Busy { path: self.wal.log().database().to_owned(), holder }
    }

    fn close(&self) {
        let log = self.wal.log();
        let has_left = self.wal.has_left();
        let is_whole = !has_left && log.check_writable().is_ok();
        if is_whole && !log.has_others() {
            self.ship_the_rest();
        }
        drop(self.background.lock().take());
        if is_whole && log.has_others() {
            // Their tasks may be asleep, and nobody wakes them. Before the door is closed: a process may have been stopped in an fsync.
            self.sync_last().unwrap_or_else(|error| log.note_error(&error));
        }
        // An opener that comes now finds either a process that has the log open, or a log that was closed.
        let is_last = log.close_door() && !log.has_others();
        if is_last {
            self.close_as_last(has_left, is_whole);
        }
        log.release_lock(is_last);
    }

    /// No other process has the database open, and none can open it meanwhile.
    fn close_as_last(&self, has_left: bool, is_whole: bool) {
        let log = self.wal.log();
        if !has_left && !log.is_read_only() && log.base().is_unlinked() {
            // There is nothing to bring forward.
            if let Err(error) = log.end_unlinked() {
                log.note_error(&error);
            }
        } else if is_whole {
            self.flush().unwrap_or_else(|error| log.note_error(&error));
        }
    }

    fn sync_last(&self) -> Result<()> {
        let log = self.wal.log();
        log.durability().sync_to(log.published_frame_no(), SyncSite::LastFrames)
    }

    /// What is committed becomes durable, where the next open looks for it.
    fn flush(&self) -> Result<()> {
        let log = self.wal.log();
        let synced = self.sync_last();
        if log.place().is_gone() {
            // Nobody will find the log again, so the base file must have all of it.
            return log.checkpointer().drain().map(drop);
        }
        synced?;
        if !log.place().is_in_place() {
            // It was moved, perhaps without its log.
            log.checkpointer().drain()?;
            log.writer().shrink_spares();
            return log.place().remove_aside();
        }
        if log.has_storage() {
            // SQLite's last checkpoint could only go as far as storage was then.
            log.checkpointer().checkpoint()?;
        }
        log.writer().shrink_spares();
        Ok(())
    }
}

#[derive(Default)]
struct Slot {
    open: Option<Arc<OpenDatabase>>,
    handles: usize,
}

/// See the module.
#[derive(Default)]
pub struct Registry {
    slots: Mutex<HashMap<Identity, Arc<Mutex<Slot>>>>,
    /// Database files of which an fsync failed when a log was about to be made on them, and what it said. What a failed fsync
    /// did not write counts as written, so the next one would succeed and mean nothing; and what it was to write is in the page
    /// cache alone, which may have lost it since, so writing it again would not help (invariant 10). The fsync of a pass is another
    /// matter: the next pass writes all its pages again, from the log.
    doubtful: Mutex<HashMap<Identity, String>>,
    /// How long closes wait for storage.
    patience: Arc<Patience>,
    /// What works for all of them.
    workers: Workers,
    /// The open databases again, by log directory. A leaf: a slot may be locked meanwhile, for as long as its database closes.
    places: Mutex<Vec<Weak<OpenDatabase>>>,
}

/// Makes the wal-index of a log.
type MakeIndex<'a> = dyn Fn(&Arc<Log>) -> Result<Box<dyn SharedIndex>> + 'a;

/// What opens a log that is not open yet.
pub struct OpenRequest<'a> {
    /// Files.
    pub io: &'a dyn Io,
    /// The database file.
    pub database: &'a Path,
    /// Options of this connection's URI over those of the process.
    pub options: Options,
    /// Makes what [`Log::open`] needs.
    pub source: &'a dyn Fn(Options) -> Result<LogSource>,
    /// Makes the wal-index.
    pub index: &'a MakeIndex<'a>,
}

/// A connection's claim on an open database.
pub struct Claim {
    /// The database.
    pub database: Arc<OpenDatabase>,
    identity: Identity,
}

impl Registry {
    fn slot(&self, identity: Identity) -> Arc<Mutex<Slot>> {
        let mut slots = self.slots.lock();
        // A slot that nobody else has a pointer to is at rest.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.lock().open.is_some());
        Arc::clone(slots.entry(identity).or_default())
    }

    /// Share the open log of a database, or open it. `Ok(None)`: it has none.
    pub fn attach(&self, request: &OpenRequest<'_>) -> Result<Option<Claim>> {
        let identity = request.io.identity(request.database)?;
        let slot = self.slot(identity);
        let mut slot = slot.lock();
        if let Some(open) = slot.open.as_ref().filter(|open| !open.wal.has_left()) {
            if let Some(conflict) = request.options.conflicts_with(&open.options) {
                return Err(Error::Usage(conflict));
            }
            let database = Arc::clone(open);
            slot.handles += 1;
            return Ok(Some(Claim { database, identity }));
        }
        if let Some(cause) = self.doubtful.lock().get(&identity) {
            return Err(Error::Io {
                op: FileOp::Sync,
                path: request.database.to_owned(),
                offset: None,
                kind: std::io::ErrorKind::Other,
                message: format!(
                    "an earlier one failed while the log of this database was being made ({cause}). What it did not write counts as \
                     written now, and no log has it, so this process cannot make it durable any more: check the disk, then open the \
                     database in a new process"
                ),
            });
        }
        let source = (request.source)(request.options.clone())?;
        let dir = source.dir.clone();
        self.make_way(&dir)?;
        let opened = Log::open(source).inspect_err(|error| match error {
            Error::Io { op: FileOp::Sync, path, .. } | Error::Full { op: FileOp::Sync, path }
                if path == request.database =>
            {
                self.doubtful.lock().insert(identity, error.to_string());
            }
            _ => {}
        });
        let Some(log) = opened? else { return Ok(None) };
        let log = Arc::new(log);
        let wal = Arc::new(Wal::new(Arc::clone(&log), (request.index)(&log)?));
        let background = Background::start(&wal, &self.workers)?;
        let database = Arc::new(OpenDatabase {
            wal,
            options: request.options.clone(),
            dir,
            background: Mutex::new(Some(background)),
            workers: self.workers.clone(),
            patience: Arc::clone(&self.patience),
        });
        self.places.lock().push(Arc::downgrade(&database));
        *slot = Slot { open: Some(Arc::clone(&database)), handles: 1 };
        Ok(Some(Claim { database, identity }))
    }

    /// Give a claim back. The last one closes the log.
    pub fn detach(&self, claim: Claim) {
        let slot = self.slot(claim.identity);
        let mut slot = slot.lock();
        // A database that left WAL mode and came back has another log in the slot.
        if !slot.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, &claim.database)) {
            return;
        }
        slot.handles -= 1;
        if slot.handles == 0 {
            slot.open = None;
            claim.database.close();
            drop(claim);
        }
    }

    /// A log is to be opened in `dir`. If this process has one open there, it is that of another file, which had the name before
    /// and lost it: it steps aside.
    fn make_way(&self, dir: &Path) -> Result<()> {
        let others: Vec<Arc<OpenDatabase>> = {
            let mut places = self.places.lock();
            places.retain(|open| open.strong_count() > 0);
            places.iter().filter_map(Weak::upgrade).filter(|open| open.dir == dir).collect()
        };
        others.iter().filter(|open| !open.wal.has_left()).try_for_each(|open| open.wal.log().step_aside())
    }
}
