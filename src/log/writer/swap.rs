//! The current segment: when it has grown enough, what comes after it, and how what is complete is sealed.
//!
//! A segment is swapped between two transactions. Renaming and opening a file for the next one takes a while, so the
//! *syncer* does it when the segment is due and the writers pause: no transaction waits for it, and after a large one the
//! log is soon sealed, so that recovery need not read it. A writer that finds the segment well over its size does it itself:
//! where one commit follows the other, it would only have to wait for the syncer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Writer;
use super::tail::Tail;
use crate::error::{Error, Result};
use crate::format::segment_header::SegmentHeader;
use crate::io::{File, OpenMode, PathKind, SyncSite};
use crate::segment::{Segment, segment_name};
use crate::shm::Section;
use crate::sync::atomic::Ordering;

/// Published frames in the current segment. Between transactions.
fn frames_in(segment: &Segment, tail: &Tail) -> u64 {
    tail.position().0 - segment.start()
}

impl Writer {
    /// A write transaction writes its first frame: swap the segment if the syncer should have done so long ago.
    pub(super) fn begin_transaction(&self, tail: &mut Tail) -> Result<()> {
        let Some(segment) = tail.current() else { return self.swap_segment(tail) };
        let frames = frames_in(segment, tail);
        if frames == 0 || tail.position().0 < tail.stays_until {
            return Ok(());
        }
        let by_age = self.sizes.by_age && {
            let age = self.shared.io.now_us().saturating_sub(segment.header().created_us);
            self.shared.options.swap.is_due(frames, segment.used_bytes(), Duration::from_micros(age))
        };
        if by_age || frames >= self.sizes.late { self.swap_segment(tail) } else { Ok(()) }
    }

    /// Swap the current segment if it is due and nothing was committed since the last look (`seen`: the last frame then), and fsync the
    /// names of new segments, so that the first commit in one does not have to. True: look again in a moment.
    pub(crate) fn look_after_current(&self, seen: &mut Option<u64>) -> Result<bool> {
        if self.place.is_gone() {
            return Ok(false);
        }
        let soon = self.swap_due_segment(seen)?;
        self.durability.sync_new_names(SyncSite::SegmentNamesAhead)?;
        Ok(soon)
    }

    /// See [`Writer::look_after_current`]. Settles at which frame the syncer has to be woken next.
    fn swap_due_segment(&self, seen: &mut Option<u64>) -> Result<bool> {
        let before = seen.take();
        let mut tail = self.tail.lock();
        let Some(start) = self.current_start() else { return Ok(false) };
        let published = self.shared.positions.published();
        let (frames, sizes) = ((published + 1).saturating_sub(start), &self.sizes);
        if frames < sizes.due.max(1) {
            self.wake_syncer_at(start, frames);
        } else if published < tail.stays_until {
            self.syncer_wanted_at.store(tail.stays_until, Ordering::Relaxed);
        } else if self.check_writable().is_ok() {
            let Some(_between) = self.shared.memory.try_enter(Section::Transaction, false) else {
                // A transaction is open. Wake the syncer at a later commit, but not the next one: in a busy log that would wake it in vain.
                let next = published + 1 + (sizes.late - sizes.due) / 4;
                self.syncer_wanted_at.store(next, Ordering::Relaxed);
                return Ok(false);
            };
            tail.follow()?;
            let is_still_due = tail.position().0 == published + 1 && self.current_start() == Some(start);
            if before == Some(published) && is_still_due {
                self.swap_segment(&mut tail)?;
            } else {
                *seen = Some(published);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next commit that the syncer has to know of, whatever it sleeps for. Under the lock of the tail.
    fn wake_syncer_at(&self, start: u64, frames: u64) {
        let sizes = &self.sizes;
        let next = if frames < sizes.half && self.spares.is_empty() { sizes.half } else { sizes.due };
        self.syncer_wanted_at.store(start.saturating_add(next) - 1, Ordering::Relaxed);
    }

    /// Have a spare file ready for the next segment.
    pub(crate) fn prepare_spare(&self) -> Result<()> {
        let path = self.spares.prepare(&*self.shared.io, self.spare_size())?;
        self.durability.sync_names(SyncSite::SpareName)?;
        self.spares.add(path);
        Ok(())
    }

    /// Whether the next segment file should be prepared now.
    pub(crate) fn wants_spare(&self) -> bool {
        let published = self.shared.positions.published();
        let is_half = |start: u64| (published + 1).saturating_sub(start) >= self.sizes.half;
        // What makes system calls comes last.
        self.spares.is_empty()
            && !self.place.is_gone()
            && !self.shared.memory.state().has_left()
            && self.current_start().is_some_and(is_half)
            && !self.place.has_no_names()
    }

    /// Fsync and seal the segments that are complete, oldest first.
    pub(crate) fn seal_segments(&self) -> Result<()> {
        self.durability.check_poison()?;
        // In this order: the end of a segment that is complete, as it is found now, is its end.
        let complete_before = self.shared.memory.state().complete_before();
        self.view.know(self.shared.positions.published())?;
        let mut complete = self.view.segments();
        complete.retain(|segment| !segment.is_sealed() && segment.start() < complete_before);
        for segment in complete {
            self.durability.sync_just_to(segment.end(), SyncSite::SealedFrames)?;
            // It may be in another file now.
            let Some(segment) = self.view.find_segment(segment.start())? else { continue };
            let Some(alone) = self.shared.memory.enter_within(Section::Seal, self.patience()) else {
                return Ok(());
            };
            if self.shared.memory.was_shared() {
                // Another process may have freed the segment, and its file has other frames by now; or it has sealed it. If that process died
                // meanwhile, it is done once more.
                if !segment.is_named() || !alone.is_inherited() && segment.learn_seal()? {
                    continue;
                }
            }
            if segment.write_seal(&*self.shared.io)? {
                segment.sync_seal().inspect_err(|error| self.durability.poison_if_fsync_failed(error))?;
            }
        }
        Ok(())
    }

    /// How long a task waits for another process, which may have been stopped, with what the next turn can do as well.
    fn patience(&self) -> Duration {
        if self.shared.memory.was_shared() { Duration::from_millis(50) } else { Duration::from_secs(3600) }
    }

    /// Take the oldest segments out of the list: those that are complete and end at `limit` or before it.
    ///
    /// Errors: segments of other processes cannot be looked up.
    pub(crate) fn take_segments(&self, limit: u64) -> Result<Vec<Arc<Segment>>> {
        // In this order, as in `seal_segments`.
        let complete_before = self.shared.memory.state().complete_before();
        if self.shared.memory.was_shared() {
            self.view.look()?;
        }
        Ok(self.view.take(|segment| segment.end() > limit || segment.start() >= complete_before))
    }

    /// Bytes of a spare file: what a segment takes when it is swapped, if the policy says so.
    pub(crate) fn spare_size(&self) -> u64 {
        self.sizes.spare_bytes()
    }

    /// Append to a new segment from now on. There is no open frame.
    ///
    /// Where the directory takes no new file, since it was removed or this process may not write in it any more, the log goes on in the
    /// segment that it has; after the database is removed too, in a file without a name.
    ///
    /// Errors: the new file may have its name and its head already. Frames behind its start in the segment before it would look
    /// to recovery like a transaction that was rolled back, so there is no current segment then: the next transaction begins one at the
    /// same frame, or is told why not.
    fn swap_segment(&self, tail: &mut Tail) -> Result<()> {
        if !self.place.has_no_names() {
            self.durability.settle()?;
        }
        let (start_frame_no, previous_crc) = tail.position();
        let header = SegmentHeader {
            log_id: self.shared.log_id,
            page_size: self.shared.page_size,
            start_frame_no,
            created_us: self.shared.io.now_us(),
            salt: self.shared.io.random_u64(),
            previous_crc,
        };
        self.syncer_wanted_at.store(u64::MAX, Ordering::Relaxed);
        let before = tail.take_segment();
        let path = self.shared.dir.join(segment_name(start_frame_no));
        let file = match self.next_file(&path) {
            Ok(file) => file,
            Err(error) => return self.stay_in(before, tail, &path, error),
        };
        let segment = Arc::new(Segment::begin(file, path, header)?);
        self.view.push(Arc::clone(&segment));
        self.wake_syncer_at(start_frame_no, 0);
        tail.set_segment(segment);
        self.shared.syncer.notify();
        Ok(())
    }

    /// The file of the next segment.
    fn next_file(&self, path: &Path) -> Result<Arc<dyn File>> {
        let spare = self.spares.take(&*self.shared.io, path);
        match spare.and_then(|spare| spare.map_or_else(|| self.shared.io.open(path, OpenMode::Create), Ok)) {
            Ok(file) => {
                self.durability.name_changed();
                Ok(file)
            }
            // A spare that could not be renamed, or no directory to make a file in.
            Err(_) if self.place.has_no_names() => self.shared.io.open_unnamed(path),
            Err(error) => Err(error),
        }
    }

    /// No file could be had for the next segment: go on in the one before, if it is certain that none has the name of the next one.
    fn stay_in(
        &self,
        before: Option<Arc<Segment>>,
        tail: &mut Tail,
        path: &Path,
        error: Error,
    ) -> Result<()> {
        use std::io::ErrorKind::{NotFound, PermissionDenied};
        let Some(segment) = before else {
            self.place.look_at_directory();
            let error = match error {
                Error::Io { kind: PermissionDenied, .. } => Error::ReadOnly { path: self.shared.dir.clone() },
                error => error,
            };
            return Err(self.place.gone().unwrap_or(error));
        };
        if !matches!(error, Error::Io { kind: NotFound | PermissionDenied, .. }) {
            return Err(error);
        }
        // A spare that could be renamed, and not be opened. Its head is not that of the next segment.
        let removed = self.shared.io.remove_file(path);
        let is_denied = |error: &Error| matches!(error, Error::Io { kind: PermissionDenied, .. });
        match self.shared.io.kind(path) {
            Ok(PathKind::Missing) => {}
            // A directory in which nothing can be looked up has got no new name from this process either.
            Err(ref denied) if is_denied(denied) && removed.as_ref().is_err_and(is_denied) => {}
            _ => return Err(error),
        }
        // It is tried again when the segment has twice the size.
        tail.stays_until = tail.position().0 + frames_in(&segment, tail);
        self.syncer_wanted_at.store(tail.stays_until, Ordering::Relaxed);
        tail.keep_segment(segment);
        self.shared.trouble.note_error(&error);
        Ok(())
    }

    /// Close the current segment: the next transaction begins another one. The caller makes sure that no transaction is
    /// being written. Does nothing where no other one could be made in the directory.
    pub(crate) fn retire_current(&self) {
        let has_no_names = self.place.has_no_names();
        if !has_no_names && !self.shared.io.anchor_takes_files() {
            return;
        }
        let mut tail = self.tail.lock();
        let Some(_between) = self.shared.memory.try_enter(Section::Transaction, true) else { return };
        if self.shared.positions.written() > self.shared.positions.published() {
            // Of a process that died.
            self.durability.take_back();
        }
        if let Err(error) = tail.follow() {
            return self.shared.trouble.note_error(&error);
        }
        let retired = tail.take_segment();
        self.shared.memory.state().set_complete_before(tail.position().0);
        if let Some(segment) = retired
            && segment.end() < segment.start()
        {
            // It was begun for a transaction that rolled back, or never came.
            self.view.remove(&segment);
            if has_no_names || self.place.is_gone() {
                return;
            }
            // Where it stays it is an empty segment, which recovery removes.
            if let Err(error) = self.shared.io.remove_file(segment.path()) {
                self.shared.trouble.note_error(&error);
            }
        }
    }
}
