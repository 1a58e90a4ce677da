//! The background tasks of an open database (those that ship it are in `ship`), and the threads that all databases share.
//!
//! - *syncer*: swaps a segment that is due, seals those that are complete, fsyncs at an interval what `synchronous=NORMAL`
//!   did not, and prepares the next segment file, and memory of the frame cache, before they are needed.
//! - *checkpointer*: runs a pass when enough has been absorbed; and when the oldest commit is old enough, absorbs what
//!   open read transactions allow, and runs one then.
//!
//! Both sleep while there is nothing to do: an idle database costs no wake-ups, unless several processes have it open.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, FileOp, Result};
use crate::io::SyncSite;
use crate::log::Log;
use crate::pool::{Next, Pool, Running, Step};
use crate::ship;
use crate::sync::Instant;
use crate::wal::Wal;

/// A task that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// While other processes have the database open, what they leave undone when they die is looked for this often.
const WATCH: Duration = Duration::from_secs(1);
/// Writers pause when nothing was committed for this long.
const PAUSE: Duration = Duration::from_micros(200);
/// So many steps of syncers, and of shippers for which commits wait, can wait for a disk at a time, and the next one is not held up.
const DISK_THREADS: usize = 5;
/// So many passes run at a time. They may take long, and have threads of their own: the fsyncs of the interval do not wait for them.
const PASS_THREADS: usize = 3;

/// The threads of the process that work for its open databases.
#[derive(Clone)]
pub(super) struct Workers {
    disk: Pool,
    passes: Pool,
    ship: ship::Workers,
}

impl Default for Workers {
    fn default() -> Self {
        let disk = Pool::new("vwal-disk", DISK_THREADS, || {});
        let passes = Pool::new("vwal-ckpt", PASS_THREADS, || {});
        Workers { ship: ship::Workers::new(&disk), disk, passes }
    }
}

/// The running tasks of one database. Dropping it stops them.
pub(super) struct Background {
    wal: Arc<Wal>,
    tasks: Vec<Running>,
    shipping: Option<ship::Tasks>,
}

impl Background {
    /// Start them. Errors: the system gives none of the threads that there have to be.
    pub(super) fn start(wal: &Arc<Wal>, workers: &Workers) -> Result<Background> {
        let mut background = Background { wal: Arc::clone(wal), tasks: Vec::new(), shipping: None };
        if !wal.log().is_read_only() && wal.log().io().runs_threads() {
            background.tasks = start_tasks(wal, &workers.disk, &workers.passes)
                .map_err(|error| Error::io(FileOp::StartThread, wal.log().database(), None, &error))?;
            background.shipping = ship::start(wal.log(), &workers.ship)?;
        }
        Ok(background)
    }

    /// The shipping of the log, if it has storage.
    pub(super) fn shipping(&self) -> Option<Arc<ship::Shipping>> {
        self.shipping.as_ref().map(|tasks| Arc::clone(tasks.shipping()))
    }
}

/// Start syncer and checkpointer of a database.
pub(crate) fn start_tasks(wal: &Arc<Wal>, disk: &Pool, passes: &Pool) -> std::io::Result<Vec<Running>> {
    let syncer = disk.start(|waker| {
        wal.log().syncer_wakeup().attach(waker);
        Box::new(Syncer::new(wal))
    })?;
    let checkpointer = passes.start(|waker| {
        wal.log().checkpointer_wakeup().attach(waker);
        Box::new(Checkpointer { wal: Arc::clone(wal), is_awake: false, stuck: false })
    })?;
    Ok(vec![syncer, checkpointer])
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.shipping.take());
        for task in self.tasks.drain(..) {
            if task.stop().is_err() {
                self.wal.log().note_error(&panicked());
            }
        }
        self.wal.log().syncer_wakeup().detach();
        self.wal.log().checkpointer_wakeup().detach();
    }
}

fn panicked() -> Error {
    Error::Usage("a background task of vwal panicked".into())
}

/// Tells of a panic when it comes: the task is gone then, and what it was for is not done any more.
struct TellsPanic(Arc<Wal>);

impl Drop for TellsPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.log().note_error(&panicked());
        }
    }
}

struct Syncer {
    wal: Arc<Wal>,
    /// A commit that was not durable, and when it was first seen.
    waiting: Option<(Instant, u64)>,
    /// The segment during which a spare file could not be made.
    spare_failed_at: Option<Option<u64>>,
    /// The last frame when the current segment was due.
    seen: Option<u64>,
    failed: bool,
}

impl Syncer {
    fn new(wal: &Arc<Wal>) -> Syncer {
        Syncer { wal: Arc::clone(wal), waiting: None, spare_failed_at: None, seen: None, failed: false }
    }
}

impl Step for Syncer {
    fn step(&mut self) -> Next {
        let _told = TellsPanic(Arc::clone(&self.wal));
        let log = self.wal.log();
        let interval = log.options().sync_interval;
        // Each of these on its own: a disk without room for a segment or an index must not keep commits from being fsynced.
        let mut errors = Vec::new();
        // First of all what there is a time for.
        if let Some((_, frame_no)) = self.waiting.take_if(|(since, _)| since.elapsed() >= interval)
            && log.synced_frame_no() < frame_no
        {
            errors.extend(log.durability().sync_to(log.published_frame_no(), SyncSite::UnaskedFrames).err());
        }
        log.view().cache().prepare();
        let segment = log.writer().current_start();
        if log.writer().wants_spare()
            && self.spare_failed_at != Some(segment)
            && log.durability().check_poison().is_ok()
            && let Err(error) = log.writer().prepare_spare()
        {
            // Most likely the disk is nearly full, and what is left of it is for commits. Segments do without.
            self.spare_failed_at = Some(segment);
            errors.push(error);
        }
        let look_again = log.writer().look_after_current(&mut self.seen).unwrap_or_else(|error| {
            errors.push(error);
            false
        });
        errors.extend(log.writer().seal_segments().err());
        errors.iter().for_each(|error| log.note_error(error));
        if self.failed && errors.is_empty() {
            log.clear_error();
        }
        self.failed = !errors.is_empty();
        // From here on a commit wakes this task, unless it is about to wake up anyway.
        let is_unsynced =
            || log.published_frame_no() > log.synced_frame_no() && log.durability().check_poison().is_ok();
        let timeout = if log.syncer_wakeup().may_sleep(|| is_unsynced() && !interval.is_zero()) {
            self.waiting = None;
            None
        } else {
            let (since, _) = self.waiting.get_or_insert_with(|| (Instant::now(), log.published_frame_no()));
            Some(interval.saturating_sub(since.elapsed()))
        };
        // Once the log is poisoned there is nothing left to try.
        let tries_again = self.failed && log.durability().check_poison().is_ok();
        let watch = log.memory().has_others().then_some(WATCH);
        let most = if look_again { Some(PAUSE) } else { tries_again.then_some(RETRY) };
        timeout.into_iter().chain(most).chain(watch).min().map_or(Next::WhenWoken, Next::In)
    }
}

struct Checkpointer {
    wal: Arc<Wal>,
    /// It has slept since it was started.
    is_awake: bool,
    stuck: bool,
}

impl Checkpointer {
    fn work(&mut self) {
        let log = self.wal.log();
        if log.durability().check_poison().is_err() {
            // There is nothing left to do for this task but to be stopped: `due_in` has it sleep until then.
            self.stuck = false;
            return;
        }
        let before = log.checkpointed_frame_no();
        let by_age = age_due_in(log) == Some(Duration::ZERO);
        if by_age {
            // What SQLite has not checkpointed for so long, it is not about to. Before that it is left to SQLite, so that
            // PRAGMA wal_checkpoint and the WAL hook tell what they tell without vwal.
            self.wal.absorb_passively();
        }
        let due = by_age || size_is_due(log);
        let result = if due {
            log.checkpointer().checkpoint().map(drop)
        } else {
            log.checkpointer().free_segments_between_passes()
        };
        // Open read transactions may hold everything back, and an error may last: do not run in circles.
        self.stuck = result.is_err() || (due && log.checkpointed_frame_no() == before);
        if let Err(error) = &result {
            log.note_error(error);
        }
    }
}

impl Step for Checkpointer {
    fn step(&mut self) -> Next {
        let _told = TellsPanic(Arc::clone(&self.wal));
        // The first time it only looks when something is due.
        if self.is_awake {
            self.work();
        }
        self.is_awake = true;
        let watch = self.wal.log().memory().has_others().then_some(WATCH);
        let due = if self.stuck { Some(RETRY) } else { due_in(self.wal.log()) };
        match due.into_iter().chain(watch).min() {
            Some(Duration::ZERO) => Next::Now,
            Some(time) => Next::In(time),
            None => Next::WhenWoken,
        }
    }
}

/// When the next pass is due: zero is now, `None` until something changes.
fn due_in(log: &Log) -> Option<Duration> {
    if log.durability().check_poison().is_err() {
        None
    } else if size_is_due(log) {
        Some(Duration::ZERO)
    } else {
        age_due_in(log)
    }
}

fn size_is_due(log: &Log) -> bool {
    log.checkpointer().can_checkpoint() && log.backlog_bytes() >= log.options().checkpoint_size
}

/// When the oldest commit that is not in the base file is old enough.
fn age_due_in(log: &Log) -> Option<Duration> {
    let age = log.options().checkpoint_age;
    let oldest_us = log.positions().oldest_us().filter(|_| !age.is_zero())?;
    Some(age.saturating_sub(Duration::from_micros(log.io().now_us().saturating_sub(oldest_us))))
}
