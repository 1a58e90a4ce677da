//! The current segment: when it has grown enough, what comes after it, and how what is complete is sealed.
//!
//! A segment is swapped between two transactions. Renaming and opening a file for the next one takes a while, so the
//! *syncer* does it when the segment is due and the writers pause: no transaction waits for it, and after a large one the
//! log is soon sealed, so that recovery need not read it. A writer that finds the segment well over its size does it itself:
//! where one commit follows the other, it would only have to wait for the syncer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::tail::Tail;
use crate::error::{Error, Result};
use crate::format::segment_header::{SEGMENT_HEAD_SIZE, SegmentHeader};
use crate::format::segment_index::{index_offset, index_size};
use crate::io::{File, Io, OpenMode, PathKind, SyncSite};
use crate::options::SwapPolicy;
use crate::segment::{Segment, segment_name};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The name of a segment's copy until it takes the segment's place.
pub(super) const COPY_SUFFIX: &str = "copy";

/// Sizes of segments, in frames, as the policy has them.
pub(super) struct SegmentSizes {
    /// The syncer swaps a segment of this size. `u64::MAX`: whatever its size is.
    due: u64,
    /// A writer does so itself: the syncer has not come to it. An eighth more for large segments, nothing for small ones.
    late: u64,
    /// The next segment is begun soon, so there should be a spare file for it.
    half: u64,
    /// The policy looks at the age, which may make a segment due at any size.
    by_age: bool,
    /// Bytes of a spare file: room for the frames of a segment, and its index.
    spare_bytes: u64,
}

impl SegmentSizes {
    pub(super) fn new(policy: &SwapPolicy, frame_size: usize) -> SegmentSizes {
        const DEFAULT: u64 = 4 << 20;
        let (head, frame_size) = (SEGMENT_HEAD_SIZE as u64, frame_size as u64);
        let due = policy.due_frames(head, frame_size);
        let slack = |frames: u64| frames / 64 * 8;
        let bytes = due.map_or(DEFAULT, |frames| frames.saturating_mul(frame_size));
        let frames = bytes.clamp(64 << 10, 64 << 20) / frame_size;
        // The transaction that makes it due has some frames more.
        let room = frames + slack(frames) + 4;
        let spare_bytes = index_offset(head + room * frame_size) + index_size(room);
        SegmentSizes {
            due: due.unwrap_or(u64::MAX),
            late: due.map_or(u64::MAX, |frames| frames.saturating_add(slack(frames))),
            half: frames / 2,
            by_age: policy.looks_at_age(),
            spare_bytes,
        }
    }

    /// Bytes of a spare file.
    pub(super) fn spare_bytes(&self) -> u64 {
        self.spare_bytes
    }
}

/// Names in the log directory: how often they changed, and how much of that is durable.
#[derive(Default)]
pub(super) struct Names {
    fsync: Mutex<()>,
    changed: AtomicU64,
    durable: AtomicU64,
}

/// No transaction is being written.
fn is_between_transactions(tail: &Tail) -> bool {
    tail.end() + 1 == tail.position().0
}

/// Published frames in the current segment. Between transactions.
fn frames_in(segment: &Segment, tail: &Tail) -> u64 {
    tail.position().0 - segment.start()
}

impl Log {
    /// A write transaction writes its first frame: swap the segment if the syncer should have done so long ago.
    pub(super) fn begin_transaction(&self, tail: &mut Tail) -> Result<()> {
        let Some(segment) = &tail.segment else { return self.swap_segment(tail) };
        let frames = frames_in(segment, tail);
        if frames == 0 || tail.position().0 < tail.stays_until {
            return Ok(());
        }
        let by_age = self.segment_sizes.by_age && {
            let age = self.io.now_us().saturating_sub(segment.header().created_us);
            self.options.swap.is_due(frames, segment.used_bytes(), Duration::from_micros(age))
        };
        if by_age || frames >= self.segment_sizes.late { self.swap_segment(tail) } else { Ok(()) }
    }

    /// Swap the current segment if it is due and nothing was committed since the last look (`seen`: the last frame then), and
    /// make the names of new segments durable: the first commit in them need not. True: look again in a moment.
    pub(crate) fn look_after_current(&self, seen: &mut Option<u64>) -> Result<bool> {
        if self.is_gone() {
            return Ok(false);
        }
        let soon = self.swap_due_segment(seen)?;
        self.sync_new_names(SyncSite::SegmentNamesAhead)?;
        Ok(soon)
    }

    /// See [`Log::look_after_current`]. Settles at which frame the syncer has to be woken next.
    fn swap_due_segment(&self, seen: &mut Option<u64>) -> Result<bool> {
        let before = seen.take();
        let mut tail = self.tail.lock();
        let Some(segment) = &tail.segment else { return Ok(false) };
        let (frames, published) = (frames_in(segment, &tail), tail.position().0 - 1);
        let sizes = &self.segment_sizes;
        if frames < sizes.due.max(1) {
            self.wake_syncer_at(segment, frames);
        } else if published < tail.stays_until {
            self.syncer_wanted_at.store(tail.stays_until, Ordering::Relaxed);
        } else if !is_between_transactions(&tail) {
            // With a commit that follows: not with the very next one, if many do.
            let next = published + 1 + (sizes.late - sizes.due) / 4;
            self.syncer_wanted_at.store(next, Ordering::Relaxed);
        } else if self.check_writable().is_ok() {
            if before == Some(published) {
                self.swap_segment(&mut tail)?;
            } else {
                *seen = Some(published);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next commit that the syncer has to know of, whatever it sleeps for. Under the lock of the tail.
    fn wake_syncer_at(&self, segment: &Segment, frames: u64) {
        let sizes = &self.segment_sizes;
        let next = if frames < sizes.half && self.spares.is_empty() { sizes.half } else { sizes.due };
        self.syncer_wanted_at.store(segment.start().saturating_add(next) - 1, Ordering::Relaxed);
    }

    /// Whether the next segment file should be prepared now.
    pub(crate) fn wants_spare(&self) -> bool {
        let is_half = |segment: Arc<Segment>| segment.end() + 1 - segment.start() >= self.segment_sizes.half;
        // What makes system calls comes last.
        self.spares.is_empty()
            && !self.is_gone()
            && self.current_segment().is_some_and(is_half)
            && !self.has_no_names()
    }

    /// Fsync and seal the segments that are complete, oldest first.
    pub(crate) fn seal_segments(&self) -> Result<()> {
        self.check_poison()?;
        let complete: Vec<Arc<Segment>> = {
            // A swap changes the list and the current segment under the lock of the tail. Seen without it, a segment that
            // has just become the current one could be taken for a complete one.
            let tail = self.tail.lock();
            let segments = self.segments.read();
            segments
                .iter()
                .filter(|segment| !segment.is_sealed() && !tail.appends_to(segment))
                .map(Arc::clone)
                .collect()
        };
        for segment in complete {
            self.sync_just_to(segment.end(), SyncSite::SealedFrames)?;
            // It may be in another file now.
            let Some(segment) = self.find_segment(segment.start()) else { continue };
            if segment.write_seal(&*self.io)? {
                segment.sync_seal().inspect_err(|error| self.poison_if_fsync_failed(error))?;
            }
        }
        Ok(())
    }

    /// Make the frames of a segment durable of which an fsync proves nothing: they are copied into a file that is fsynced and
    /// takes the place of theirs. Whoever still reads from that may go on.
    ///
    /// Nothing frees the segment meanwhile, since it is not durable. The caller fsyncs the directory.
    pub(super) fn renew(&self, segment: &Arc<Segment>) -> Result<()> {
        let file = replace_by_copy(&*self.io, segment, SyncSite::RenewedSegment).inspect_err(|error| {
            // The pages that recovery read are gone: commits on top of them would be lost with them at the next open.
            if matches!(error, Error::Corrupt { .. }) {
                self.poison(error);
            }
        })?;
        self.names.changed.fetch_add(1, Ordering::AcqRel);
        let renewed = Arc::new(segment.in_copy(file));
        let mut segments = self.segments.write();
        if let Some(place) = segments.iter_mut().find(|other| Arc::ptr_eq(other, segment)) {
            *place = renewed;
        }
        Ok(())
    }

    /// Take the oldest segments out of the list: those that are complete and end at `limit` or before it.
    pub(crate) fn take_segments(&self, limit: u64) -> Vec<Arc<Segment>> {
        // The lock of the tail: as in `seal_segments`. A new current segment is empty, and so ends before any limit.
        let tail = self.tail.lock();
        let mut segments = self.segments.write();
        let keep = segments.iter().position(|segment| segment.end() > limit || tail.appends_to(segment));
        let count = keep.unwrap_or(segments.len());
        segments.drain(..count).collect()
    }

    /// Bytes of a spare file: what a segment takes when it is swapped, if the policy says so.
    pub(crate) fn spare_size(&self) -> u64 {
        self.segment_sizes.spare_bytes()
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
        let (start_frame_no, previous_crc) = tail.position();
        let header = SegmentHeader {
            log_id: self.log_id,
            page_size: self.page_size,
            start_frame_no,
            created_us: self.io.now_us(),
            salt: self.io.random_u64(),
            previous_crc,
        };
        self.syncer_wanted_at.store(u64::MAX, Ordering::Relaxed);
        let before = tail.segment.take();
        let path = self.dir.join(segment_name(start_frame_no));
        let file = match self.next_file(&path) {
            Ok(file) => file,
            Err(error) => return self.stay_in(before, tail, &path, error),
        };
        let segment = Arc::new(Segment::begin(file, path, header)?);
        self.segments.write().push(Arc::clone(&segment));
        self.wake_syncer_at(&segment, 0);
        tail.set_segment(segment);
        self.syncer.notify();
        Ok(())
    }

    /// The file of the next segment.
    fn next_file(&self, path: &Path) -> Result<Arc<dyn File>> {
        let spare = self.spares.take(&*self.io, path);
        match spare.and_then(|spare| spare.map_or_else(|| self.io.open(path, OpenMode::Create), Ok)) {
            Ok(file) => {
                self.names.changed.fetch_add(1, Ordering::AcqRel);
                Ok(file)
            }
            // A spare that could not be renamed, or no directory to make a file in.
            Err(_) if self.has_no_names() => self.io.open_unnamed(path),
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
            self.look_at_directory();
            let error = match error {
                Error::Io { kind: PermissionDenied, .. } => Error::ReadOnly { path: self.dir.clone() },
                error => error,
            };
            return Err(self.gone().unwrap_or(error));
        };
        if !matches!(error, Error::Io { kind: NotFound | PermissionDenied, .. }) {
            return Err(error);
        }
        // A spare that could be renamed, and not be opened. Its head is not that of the next segment.
        let removed = self.io.remove_file(path);
        let is_denied = |error: &Error| matches!(error, Error::Io { kind: PermissionDenied, .. });
        match self.io.kind(path) {
            Ok(PathKind::Missing) => {}
            // A directory in which nothing can be looked up has got no new name from this process either.
            Err(ref denied) if is_denied(denied) && removed.as_ref().is_err_and(is_denied) => {}
            _ => return Err(error),
        }
        // It is tried again when the segment has twice the size.
        tail.stays_until = tail.position().0 + frames_in(&segment, tail);
        self.syncer_wanted_at.store(tail.stays_until, Ordering::Relaxed);
        tail.segment = Some(segment);
        self.note_error(&error);
        Ok(())
    }

    /// Fsync the directory if a name of a segment in it is new. Whoever finds it done already may rely on it: it counts
    /// from the end of the fsync.
    pub(super) fn sync_new_names(&self, site: SyncSite) -> Result<()> {
        let changed = self.names.changed.load(Ordering::Acquire);
        if self.names.durable.load(Ordering::Acquire) >= changed { Ok(()) } else { self.sync_names(site) }
    }

    /// Fsync the directory. After a failure the names of segments that commits depend on may be lost as well.
    pub(crate) fn sync_names(&self, site: SyncSite) -> Result<()> {
        // The system tells an error once: nobody may try again before the log is poisoned.
        let _alone = self.names.fsync.lock();
        self.check_poison()?;
        let changed = self.names.changed.load(Ordering::Acquire);
        self.io.sync_dir(&self.dir, site).inspect_err(|error| self.poison_if_fsync_failed(error))?;
        self.names.durable.fetch_max(changed, Ordering::AcqRel);
        Ok(())
    }

    /// The segment that frames are appended to.
    pub(crate) fn current_segment(&self) -> Option<Arc<Segment>> {
        self.tail.lock().segment.clone()
    }

    /// Close the current segment: the next transaction begins another one. The caller makes sure that no transaction is
    /// being written. Does nothing where no other one could be made in the directory.
    pub(crate) fn retire_current(&self) {
        let has_no_names = self.has_no_names();
        if !has_no_names && !self.io.anchor_takes_files() {
            return;
        }
        let mut tail = self.tail.lock();
        if !is_between_transactions(&tail) {
            return;
        }
        if let Some(segment) = tail.segment.take()
            && segment.end() < segment.start()
        {
            // It was begun for a transaction that rolled back, or never came. The chain goes on from the segment before it.
            tail.set_crc(segment.header().previous_crc);
            self.segments.write().retain(|other| !Arc::ptr_eq(other, &segment));
            if has_no_names || self.is_gone() {
                return;
            }
            // Where it stays it is an empty segment, which recovery removes.
            if let Err(error) = self.io.remove_file(segment.path()) {
                self.note_error(&error);
            }
        }
    }
}

/// Put a copy of its published frames, and nothing else, in the place of a segment's file. The name is not durable yet.
pub(super) fn replace_by_copy(io: &dyn Io, segment: &Segment, site: SyncSite) -> Result<Arc<dyn File>> {
    let copy_path = segment.path().with_extension(COPY_SUFFIX);
    let copied = io.open(&copy_path, OpenMode::Create).and_then(|copy| {
        segment.copy_to(&*copy, site)?;
        drop(copy);
        io.rename(&copy_path, segment.path())
    });
    if let Err(error) = copied {
        // On a full disk its blocks are for commits. Where it stays, the next copy is written over it.
        let _ = io.remove_file(&copy_path);
        return Err(error);
    }
    io.open(segment.path(), OpenMode::ReadWrite)
}
