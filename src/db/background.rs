//! The background threads of an open database (those that ship it are in `ship`).
//!
//! - *syncer*: swaps a segment that is due, seals those that are complete, fsyncs at an interval what `synchronous=NORMAL`
//!   did not, and prepares the next segment file, and memory of the frame cache, before they are needed.
//! - *checkpointer*: runs a pass when enough has been absorbed; and when the oldest commit is old enough, absorbs what
//!   open read transactions allow, and runs one then.
//!
//! Both sleep while there is nothing to do: an idle database costs no wake-ups.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, FileOp, Result};
use crate::io::SyncSite;
use crate::log::Log;
use crate::ship;
use crate::sync::Instant;
use crate::wal::Wal;

/// A task that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// Writers pause when nothing was committed for this long.
const PAUSE: Duration = Duration::from_micros(200);

pub(super) struct Background {
    wal: Arc<Wal>,
    threads: Vec<JoinHandle<()>>,
    shipping: Option<ship::Threads>,
}

impl Background {
    pub(super) fn start(wal: &Arc<Wal>) -> Result<Background> {
        let mut background = Background { wal: Arc::clone(wal), threads: Vec::new(), shipping: None };
        if !wal.log().is_read_only() && wal.log().io().runs_threads() {
            wal.log().syncer_wakeup().restart();
            wal.log().checkpointer_wakeup().restart();
            background.spawn("vwal-syncer", sync_loop)?;
            background.spawn("vwal-ckpt", checkpoint_loop)?;
            background.shipping = ship::start(wal.log())?;
        }
        Ok(background)
    }

    /// The shipping of the log, if it has storage.
    pub(super) fn shipping(&self) -> Option<Arc<ship::Shipping>> {
        self.shipping.as_ref().map(|threads| Arc::clone(threads.shipping()))
    }

    fn spawn(&mut self, name: &str, run: fn(&Wal)) -> Result<()> {
        let wal = Arc::clone(&self.wal);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&wal));
        match thread {
            Ok(thread) => {
                self.threads.push(thread);
                Ok(())
            }
            Err(error) => Err(Error::io(FileOp::StartThread, self.wal.log().database(), None, &error)),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.shipping.take());
        self.wal.log().syncer_wakeup().stop();
        self.wal.log().checkpointer_wakeup().stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.wal.log().note_error(&Error::Usage("a background thread of vwal panicked".into()));
            }
        }
    }
}

pub(crate) fn sync_loop(wal: &Wal) {
    let log = wal.log();
    let interval = log.options().sync_interval;
    // A commit that was not durable, and when it was first seen.
    let mut waiting: Option<(Instant, u64)> = None;
    // The segment during which a spare file could not be made.
    let mut spare_failed_at = None;
    // The last frame when the current segment was due.
    let mut seen = None;
    let mut failed = false;
    while !log.syncer_wakeup().is_stopped() {
        // Each of these on its own: a disk without room for a segment or an index must not keep commits from being fsynced.
        let mut errors = Vec::new();
        log.view().cache().prepare();
        let segment = log.writer().current_segment().map(|segment| segment.start());
        if log.writer().wants_spare() && segment != spare_failed_at && log.durability().check_poison().is_ok()
        {
            errors.extend(
                log.writer()
                    .prepare_spare()
                    .inspect_err(|_| {
                        // Most likely the disk is nearly full, and what is left of it is for commits. Segments do without.
                        spare_failed_at = segment;
                    })
                    .err(),
            );
        }
        let look_again = log.writer().look_after_current(&mut seen).unwrap_or_else(|error| {
            errors.push(error);
            false
        });
        errors.extend(log.writer().seal_segments().err());
        if let Some((_, frame_no)) = waiting.take_if(|(since, _)| since.elapsed() >= interval)
            && log.synced_frame_no() < frame_no
        {
            errors.extend(log.durability().sync_to(log.published_frame_no(), SyncSite::UnaskedFrames).err());
        }
        errors.iter().for_each(|error| log.note_error(error));
        if failed && errors.is_empty() {
            log.clear_error();
        }
        failed = !errors.is_empty();
        // From here on a commit wakes this thread, unless it is about to wake up anyway.
        let is_unsynced =
            || log.published_frame_no() > log.synced_frame_no() && log.durability().check_poison().is_ok();
        let timeout = if log.syncer_wakeup().may_sleep(|| is_unsynced() && !interval.is_zero()) {
            waiting = None;
            None
        } else {
            let (since, _) = waiting.get_or_insert_with(|| (Instant::now(), log.published_frame_no()));
            Some(interval.saturating_sub(since.elapsed()))
        };
        // Once the log is poisoned there is nothing left to try.
        let tries_again = failed && log.durability().check_poison().is_ok();
        let most = if look_again { Some(PAUSE) } else { tries_again.then_some(RETRY) };
        log.syncer_wakeup().wait(timeout.into_iter().chain(most).min());
    }
}

pub(crate) fn checkpoint_loop(wal: &Wal) {
    let log = wal.log();
    let mut stuck = false;
    while !log.checkpointer_wakeup().is_stopped() {
        let timeout = if stuck { Some(RETRY) } else { due_in(log) };
        if timeout != Some(Duration::ZERO) {
            log.checkpointer_wakeup().wait(timeout);
        }
        if log.checkpointer_wakeup().is_stopped() {
            return;
        }
        if log.durability().check_poison().is_err() {
            // There is nothing left to do for this thread but to be stopped: `due_in` has it sleep until then.
            stuck = false;
            continue;
        }
        let before = log.checkpointed_frame_no();
        let by_age = age_due_in(log) == Some(Duration::ZERO);
        if by_age {
            // What SQLite has not checkpointed for so long, it is not about to. Before that it is left to SQLite, so that
            // PRAGMA wal_checkpoint and the WAL hook tell what they tell without vwal.
            wal.absorb_passively();
        }
        let due = by_age || size_is_due(log);
        let result = if due {
            log.checkpointer().checkpoint().map(drop)
        } else {
            log.checkpointer().free_segments_between_passes()
        };
        // Open read transactions may hold everything back, and an error may last: do not run in circles.
        stuck = result.is_err() || (due && log.checkpointed_frame_no() == before);
        if let Err(error) = &result {
            log.note_error(error);
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
