//! Checkpoint passes: bringing the base file forward from durable, absorbed frames.
//!
//! A pass goes in this order, and each step relies on the one before (invariants 6 to 9 in `docs/design.md`):
//!
//! 1. every frame up to the target is fsynced, so the base file never holds what the log could lose;
//! 2. the intent goes into a metadata slot: from now on the base file may be between two states;
//! 3. if the file becomes longer, the footer moves to the new end; pages are written in page order, each once, and the file is
//!    fsynced;
//! 4. the footer is written, the file is cut if it becomes shorter, and fsynced;
//! 5. the metadata says that the base file is at the target;
//! 6. the position *checkpointed* moves: readers find those pages in the base file;
//! 7. segments that nobody needs are freed, oldest first, and the directory is fsynced.
//!
//! A crash anywhere before 5 repeats the pass from the segments, which are all still there.

mod free;
mod leave;
mod notes;
mod pace;
mod pass;
mod pin;

use std::sync::Arc;
use std::time::Duration;

pub use pace::Debt;
use pace::Pace;
pub(crate) use pin::PinnedBase;

use super::base::BaseState;
use super::durability::Durability;
use super::meta_file::Metadata;
use super::place::Place;
use super::remote::Remote;
use super::shared::Shared;
use super::view::View;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::io::SyncSite;
use crate::shm::{Entered, PassLimit, Section};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Brings the base file forward, and owns the metadata that says how far it is.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    view: Arc<View>,
    place: Arc<Place>,
    durability: Arc<Durability>,
    writer: Arc<Writer>,
    remote: Arc<Remote>,
    meta: Arc<Metadata>,
    /// A thread holds this while it writes to the base file or frees segments.
    pass: Mutex<()>,
    /// The base file carries a footer of this log.
    has_footer: AtomicBool,
    pace: Pace,
}

/// Nobody else runs a pass.
type InPass<'a> = (MutexGuard<'a, ()>, Entered<'a>);

/// So long another process is waited for where that is not necessary.
const BRIEFLY: Duration = Duration::from_millis(20);

/// The parts of the log that the checkpointer needs.
pub(super) struct Parts<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) view: &'a Arc<View>,
    pub(super) place: &'a Arc<Place>,
    pub(super) durability: &'a Arc<Durability>,
    pub(super) writer: &'a Arc<Writer>,
    pub(super) remote: &'a Arc<Remote>,
}

impl Checkpointer {
    pub(super) fn new(parts: &Parts<'_>, meta: Arc<Metadata>, has_footer: bool) -> Checkpointer {
        Checkpointer {
            shared: Arc::clone(parts.shared),
            view: Arc::clone(parts.view),
            place: Arc::clone(parts.place),
            durability: Arc::clone(parts.durability),
            writer: Arc::clone(parts.writer),
            remote: Arc::clone(parts.remote),
            meta,
            pass: Mutex::new(()),
            has_footer: AtomicBool::new(has_footer),
            pace: Pace::default(),
        }
    }

    /// Make the committed frames up to `frame_no` part of the view. `frame_no` is rounded down to a commit.
    ///
    /// Errors: frames that another process has written cannot be read; nothing is absorbed then. See [`View::catch_up`].
    pub(crate) fn absorb(&self, frame_no: u64) -> Result<()> {
        self.writer.publish(frame_no);
        // Only when there is something new: the checkpointer comes here too, and would wake itself for ever while passes do not get on.
        if self.view.absorb(frame_no)? && self.shared.backlog_bytes() >= self.shared.options.checkpoint_size {
            self.shared.checkpointer.notify();
        }
        Ok(())
    }

    /// The current generation of `wal.c` begins after this frame: frames up to it are read by nobody through the WAL.
    pub(crate) fn set_generation_base(&self, frame_no: u64) {
        self.shared.positions.begin_generation(frame_no);
        self.shared.checkpointer.notify();
    }

    /// The last connection is gone: wait for the pass that an application may have asked for, and let none begin. Such a pass writes to the
    /// base file, which may be another process's next. The caller gives the lock file up before the result.
    pub(super) fn close(&self) -> MutexGuard<'_, ()> {
        let pass = self.pass.lock();
        self.shared.closed.store(true, Ordering::Relaxed);
        pass
    }

    /// Bring the base file to the last absorbed frame, and free what is not needed any more. Returns the checkpointed
    /// frame number. Passes exclude each other.
    pub(crate) fn checkpoint(&self) -> Result<u64> {
        let before = self.shared.positions.checkpointed();
        let result = self.run_pass();
        let advanced = self.shared.positions.checkpointed() > before || !self.can_checkpoint();
        self.pass_ended(result.is_ok() && advanced);
        result
    }

    /// Nobody else runs a pass, in any process, until the result is dropped.
    fn enter_pass(&self) -> Result<InPass<'_>> {
        let pass = self.pass.lock();
        let entered = self.shared.memory.enter(Section::Pass);
        self.in_pass(pass, entered)
    }

    /// The same, if another process does not run one.
    fn try_enter_pass(&self) -> Result<Option<InPass<'_>>> {
        let pass = self.pass.lock();
        let Some(entered) = self.shared.memory.enter_within(Section::Pass, BRIEFLY) else { return Ok(None) };
        self.in_pass(pass, entered).map(Some)
    }

    fn in_pass<'a>(&self, pass: MutexGuard<'a, ()>, entered: Entered<'a>) -> Result<InPass<'a>> {
        if entered.is_inherited()
            && let Err(error) = self.go_on_after_death()
        {
            entered.abandon();
            return Err(error);
        }
        Ok((pass, entered))
    }

    /// A process died in a pass. What it wrote to the base file is written once more by the next one, but it may have come as far as to say in the
    /// metadata that it is done.
    fn go_on_after_death(&self) -> Result<()> {
        // First the look, which finds out whether that process died in a write of the metadata: then it is written once more.
        self.meta()?;
        self.durability.settle()?;
        let meta = self.meta()?;
        let positions = &self.shared.positions;
        if meta.checkpointed_frame_no > positions.checkpointed() {
            positions.open_base(meta.db_size_pages);
            positions
                .checkpoint(meta.checkpointed_frame_no, PassLimit::Interrupted, || self.shared.io.now_us());
        }
        Ok(())
    }

    fn run_pass(&self) -> Result<u64> {
        let _pass = self.enter_pass()?;
        self.writer.check_writable()?;
        self.check_base_is_ours()?;
        let target = self.shared.pass_target();
        // A crash interrupted a pass, so the base file mixes two states. A new pass that stops short of the old intent would record
        // that mixture as a clean state. So wait until storage has everything up to the intent.
        if self.interrupted_pass()?.is_none_or(|intent| intent <= target) {
            self.checkpoint_to(target, self.shared.pass_limit())?;
        }
        self.free_segments()?;
        self.durability.clear_error();
        self.shared.trouble.end_refusal_of_passes();
        Ok(self.shared.positions.checkpointed())
    }

    /// The frame to which a pass was to bring the base file that has begun, and not been completed: until it is, the base
    /// file is of no single state.
    pub(crate) fn interrupted_pass(&self) -> Result<Option<u64>> {
        let meta = self.meta()?;
        Ok(meta.has_intent().then_some(meta.intent_frame_no))
    }

    /// One pass, to an absorbed frame that ends a commit, and not before the end of an interrupted one. The caller holds
    /// `pass`.
    fn checkpoint_to(&self, target: u64, limit: PassLimit) -> Result<()> {
        if self.shared.memory.is_pinned() {
            // Somebody is reading the base file as it is. There will be another pass.
            return Ok(());
        }
        let target = target.max(self.shared.positions.checkpointed());
        if target > self.shared.positions.checkpointed() || !self.has_footer.load(Ordering::Acquire) {
            self.durability.sync_to(target, SyncSite::PassFrames)?;
            self.advance_base(target, limit)?;
        }
        Ok(())
    }

    /// Whether a pass would bring the base file forward: storage, if there is one, has more than the base file has.
    pub(crate) fn can_checkpoint(&self) -> bool {
        self.shared.pass_target() > self.shared.positions.checkpointed()
    }

    /// Whether the base file is still this log's, should its directory be gone. Another process that finds no directory, or another
    /// one, begins a log on the file, and what this one would write would take the place of its commits.
    ///
    /// Errors: [`Error::Foreign`]; nothing may be written then.
    fn check_base_is_ours(&self) -> Result<()> {
        self.place.look();
        if !self.place.is_gone() {
            return Ok(());
        }
        let meta = self.meta()?;
        let footer = BaseState::read(&*self.shared.base, Some(&meta))?.footer();
        // A pass that was interrupted may have taken the footer away already.
        let is_ours = footer.map_or(meta.has_intent(), |footer| {
            footer == meta.footer() || meta.has_intent() && footer.log_id == meta.log_id
        });
        if is_ours && !self.shared.io.anchor_is_replaced(&self.shared.dir) {
            return Ok(());
        }
        Err(Error::Foreign {
            path: self.shared.database.clone(),
            what: format!(
                "its log directory '{}' was removed or renamed while it was open, and the file has another log by now. Frames {} to {} \
             are not in the file, and only in the segments of that directory, wherever it is",
                self.shared.dir.display(),
                self.shared.positions.checkpointed() + 1,
                self.shared.positions.published()
            ),
        })
    }

    /// Absorb everything, end the current segment and bring the base file up to date: afterwards it alone holds the
    /// database. The caller keeps writers, and readers of the WAL, away.
    pub(crate) fn drain(&self) -> Result<u64> {
        let published = self.shared.positions.published();
        self.absorb(published)?;
        self.set_generation_base(published);
        self.writer.retire_current();
        self.checkpoint()
    }
}
