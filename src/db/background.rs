//! The two background threads of an open database.
//!
//! - *syncer*: seals segments that are complete, fsyncs at an interval what `synchronous=NORMAL` did not, and prepares the
//!   next segment file before it is needed.
//! - *checkpointer*: runs a pass when enough has been absorbed, or when the oldest of it is old enough.
//!
//! Both sleep while there is nothing to do: an idle database costs no wake-ups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::log::Log;

/// A task that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Background {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    pub(super) fn start(log: &Arc<Log>) -> Result<Background> {
        let mut background = Background { log: Arc::clone(log), stop: Arc::default(), threads: Vec::new() };
        if !log.read_only {
            background.spawn("vwal-syncer", sync_loop)?;
            background.spawn("vwal-ckpt", checkpoint_loop)?;
        }
        Ok(background)
    }

    fn spawn(&mut self, name: &str, run: fn(&Log, &AtomicBool)) -> Result<()> {
        let (log, stop) = (Arc::clone(&self.log), Arc::clone(&self.stop));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&log, &stop));
        match thread {
            Ok(thread) => {
                self.threads.push(thread);
                Ok(())
            }
            Err(error) => Err(Error::io("start a thread for", self.log.database(), None, &error)),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.log.syncer.notify();
        self.log.checkpointer.notify();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.log.note_error(&Error::Usage("a background thread of vwal panicked".into()));
            }
        }
    }
}

fn sync_loop(log: &Log, stop: &AtomicBool) {
    let interval = log.options.sync_interval;
    // When the oldest commit that is not durable was first seen.
    let mut waiting_since: Option<Instant> = None;
    let mut failed = false;
    while !stop.load(Ordering::Acquire) {
        let mut result = log.seal_segments();
        if result.is_ok() && log.wants_spare() {
            result = log.spares.prepare(&*log.io, log.spare_size());
        }
        if result.is_ok() && waiting_since.is_some_and(|since| since.elapsed() >= interval) {
            result = log.sync_to(log.published_frame_no());
            waiting_since = None;
        }
        match &result {
            Err(error) => log.note_error(error),
            Ok(()) if failed => log.clear_error(),
            Ok(()) => {}
        }
        failed = result.is_err();
        // From here on a commit wakes this thread, unless it is about to wake up anyway.
        log.syncer_idle.store(true, Ordering::SeqCst);
        let unsynced = log.published_frame_no() > log.synced_frame_no() && log.check_poison().is_ok();
        let timeout = if unsynced && !interval.is_zero() {
            log.syncer_idle.store(false, Ordering::SeqCst);
            Some(interval.saturating_sub(waiting_since.get_or_insert_with(Instant::now).elapsed()))
        } else {
            waiting_since = None;
            None
        };
        log.syncer.wait(if failed { Some(timeout.map_or(RETRY, |timeout| timeout.max(RETRY))) } else { timeout });
    }
}

fn checkpoint_loop(log: &Log, stop: &AtomicBool) {
    let mut failed = false;
    while !stop.load(Ordering::Acquire) {
        let timeout = match (failed, due_in(log)) {
            (true, _) => Some(RETRY),
            (false, due) => due,
        };
        if timeout != Some(Duration::ZERO) {
            log.checkpointer.wait(timeout);
        }
        if stop.load(Ordering::Acquire) {
            return;
        }
        let result = if due_in(log) == Some(Duration::ZERO) {
            log.checkpoint().map(drop)
        } else if log.check_poison().is_ok() {
            let _pass = log.pass.lock();
            log.free_segments()
        } else {
            Ok(())
        };
        failed = result.is_err();
        if let Err(error) = &result {
            log.note_error(error);
        }
    }
}

/// When the next pass is due: zero is now, `None` until something changes.
fn due_in(log: &Log) -> Option<Duration> {
    if log.check_poison().is_err() || log.absorbed_frame_no() <= log.checkpointed_frame_no() {
        return None;
    }
    if log.backlog_bytes() >= log.options.checkpoint_size {
        return Some(Duration::ZERO);
    }
    let age = log.options.checkpoint_age;
    let oldest_us = log.oldest_us.load(Ordering::Acquire);
    if age.is_zero() || oldest_us == 0 {
        return None;
    }
    Some(age.saturating_sub(Duration::from_micros(log.io.now_us().saturating_sub(oldest_us))))
}
