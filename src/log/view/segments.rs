//! The list of segments. A process that writes adds what it begins; what other processes begin, append to and free is found by the names
//! in the log directory.
//!
//! The name of a segment is its first frame number, so the names say which frames are in which file, up to the published one: a file that
//! has a published frame got its name before. Nothing else says it. A file may have frames after its end, of transactions that were rolled
//! back when the next segment had not begun: whole, and with the numbers of frames that are in the next one. So no frame is read, and no
//! mark, before the names have been listed at a time when it was published. There is one way to do without a listing: a frame that was published before
//! the last known segment was seen to be the current one is in that or in one before it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::OpenMode;
use crate::log::shared::Shared;
use crate::segment::{Segment, parse_segment_name, segment_name};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock, thread};

/// So often a frame is looked up that another process is just publishing.
const FINDS: usize = 1000;

/// See the module.
pub(super) struct Segments {
    shared: Arc<Shared>,
    /// Ascending; the last one is the current one.
    list: RwLock<Vec<Arc<Segment>>>,
    /// All frames up to this one that the log has are in the list, and those that this process has written.
    known_to: AtomicU64,
    looking: Mutex<()>,
}

impl Segments {
    /// As of [`super::View::new`].
    pub(super) fn new(shared: &Arc<Shared>, found: Option<Vec<Arc<Segment>>>) -> Segments {
        let known_to = if found.is_some() { shared.positions.published() } else { 0 };
        Segments {
            shared: Arc::clone(shared),
            list: RwLock::new(found.unwrap_or_default()),
            known_to: AtomicU64::new(known_to),
            looking: Mutex::new(()),
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().clone()
    }

    pub(super) fn last(&self) -> Option<Arc<Segment>> {
        self.list.read().last().cloned()
    }

    pub(super) fn push(&self, segment: Arc<Segment>) {
        let mut list = self.list.write();
        // Another process may have removed one of this name, which had no frames.
        list.retain(|other| other.start() != segment.start());
        list.push(segment);
    }

    pub(super) fn replace(&self, segment: &Arc<Segment>, by: Arc<Segment>) {
        let mut list = self.list.write();
        if let Some(place) = list.iter_mut().find(|other| Arc::ptr_eq(other, segment)) {
            *place = by;
        }
    }

    pub(super) fn remove(&self, segment: &Arc<Segment>) {
        self.list.write().retain(|other| !Arc::ptr_eq(other, segment));
    }

    pub(super) fn take(&self, kept: impl Fn(&Arc<Segment>) -> bool) -> Vec<Arc<Segment>> {
        let mut list = self.list.write();
        let count = list.iter().position(kept).unwrap_or(list.len());
        list.drain(..count).collect()
    }

    /// The last segment that begins at a frame or before it. If that is published, the names are listed when the segment, as far as it is known, does
    /// not reach it.
    pub(super) fn find(&self, frame_no: u64) -> Result<Option<Arc<Segment>>> {
        let positions = &self.shared.positions;
        let mut failed = None;
        for _ in 0..FINDS {
            // In this order: another thread may be about to complete the list.
            let known_to = self.known_to.load(Ordering::Acquire);
            let found = self.find_known(frame_no);
            if found.as_ref().is_some_and(|segment| segment.end() >= frame_no) || frame_no <= known_to {
                return Ok(found);
            }
            let (published, written) = (positions.published(), positions.written());
            if frame_no <= published {
                self.know(frame_no)?;
                return Ok(self.find_known(frame_no));
            }
            if written < frame_no || !self.shared.memory.was_shared() {
                return Ok(found);
            }
            // wal.c has published it, and its process is about to say so. A transaction lies in one segment, the current one.
            let now = self.shared.memory.state().tail();
            if let Some(start) = now.start.filter(|&start| start <= frame_no) {
                match self.current(start, now.seed, published) {
                    Ok(segment) => return Ok(Some(segment)),
                    Err(error) if error.is_not_found() || matches!(error, Error::Corrupt { .. }) => {
                        failed = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            // It is published by now, and another segment has been begun.
            thread::yield_now();
        }
        failed.map_or(Ok(None), Err)
    }

    /// Have all segments with published frames up to `frame_no`, and have them end where they end by now.
    pub(super) fn know(&self, frame_no: u64) -> Result<()> {
        // In this order.
        let published = self.shared.positions.published();
        let known_to = self.known_to.load(Ordering::Acquire);
        if frame_no.min(published) <= known_to {
            return Ok(());
        }
        let current = self.shared.memory.state().tail();
        let is_current =
            |last: &Arc<Segment>| (Some(last.start()), last.seed()) == (current.start, current.seed);
        if let Some(last) = self.last().filter(|last| is_current(last) && last.start() <= known_to + 1) {
            last.extend(published);
            self.known_to.fetch_max(published, Ordering::AcqRel);
            return Ok(());
        }
        self.look()
    }

    /// The segment that begins at `start` and has a head with the checksum `seed`, to which a process appends after frame `published`.
    pub(super) fn current(&self, start: u64, seed: u32, published: u64) -> Result<Arc<Segment>> {
        let known = |segment: &Arc<Segment>| (segment.start(), segment.seed()) == (start, seed);
        self.know(published)?;
        let extended = |segment: Arc<Segment>| {
            segment.extend(published);
            segment
        };
        if let Some(segment) = self.find_known(start).filter(known) {
            return Ok(extended(segment));
        }
        // Another thread may be about to put it into the list, and to have it end later than this one knows.
        let _looking = self.looking.lock();
        if let Some(segment) = self.find_known(start).filter(known) {
            return Ok(extended(segment));
        }
        let path = self.shared.dir.join(segment_name(start));
        let file = self.shared.io.open(&path, OpenMode::ReadWrite)?;
        let joined = Segment::join(file, &path, start, start, self.shared.log_id, self.shared.page_size)?;
        if joined.seed() != seed {
            let what = "it is not the segment that processes append to, which had this name";
            return Err(Error::corrupt(&path, 0, what));
        }
        joined.extend(published);
        let segment = Arc::new(joined);
        let mut list = self.list.write();
        // One of this name was removed, since it had no frames.
        list.retain(|other| other.start() != start);
        list.push(Arc::clone(&segment));
        list.sort_by_key(|segment| segment.start());
        Ok(segment)
    }

    /// As of [`super::View::free_files`].
    pub(super) fn free_files(&self, limit: u64) -> Result<Vec<PathBuf>> {
        // In this order: the end of a segment that is complete, as it is found now, is its end.
        let complete_before = self.shared.memory.state().complete_before();
        self.look()?;
        let published = self.shared.positions.published();
        let names = self.shared.io.list(&self.shared.dir)?;
        let mut starts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
        starts.sort_unstable();
        let is_free = |&(at, &start): &(usize, &u64)| {
            let end = starts.get(at + 1).map_or(published, |next| next - 1);
            let is_known = self.find_known(start).is_some_and(|segment| segment.start() == start);
            start <= end && end <= limit && start < complete_before && !is_known
        };
        let free = starts.iter().enumerate().filter(is_free);
        Ok(free.map(|(_, &start)| self.shared.dir.join(segment_name(start))).collect())
    }

    /// Forget the segments that anybody may free.
    pub(super) fn forget_free(&self) {
        let positions = &self.shared.positions;
        let free = positions.checkpointed().min(positions.generation_base());
        let complete_before = self.shared.memory.state().complete_before();
        self.list.write().retain(|segment| segment.end() > free || segment.start() >= complete_before);
    }

    fn find_known(&self, frame_no: u64) -> Option<Arc<Segment>> {
        let list = self.list.read();
        let at = list.partition_point(|segment| segment.start() <= frame_no);
        at.checked_sub(1).map(|at| Arc::clone(&list[at]))
    }

    /// List the names: open what is new, have the segments end where they end by now, and forget those that were freed.
    pub(super) fn look(&self) -> Result<()> {
        let _looking = self.looking.lock();
        let positions = &self.shared.positions;
        // Before the names. A segment without a published frame may be removed again, and its name be given to another one.
        let published = positions.published();
        let names = self.shared.io.list(&self.shared.dir)?;
        let mut starts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
        starts.retain(|&start| start <= published);
        starts.sort_unstable();
        // What is known stays: between two segments frames may be missing that the base file has, and the names do not tell of that.
        let known_to = self.known_to.load(Ordering::Acquire);
        let mut opened: Vec<Arc<Segment>> = Vec::new();
        for (at, &start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(published, |next| next - 1);
            // One without frames may have been removed, and another one begun under its name.
            let is_it = |segment: &Arc<Segment>| {
                segment.end() >= start || segment.is_named() && segment.has_its_head()
            };
            match self.find_known(start).filter(|segment| segment.start() == start && is_it(segment)) {
                Some(segment) if end > known_to => segment.extend(end),
                Some(_) => {}
                None => opened.extend(self.open(start, end)?),
            }
        }
        // Only then: a file whose name was not listed because it was freed was checkpointed before. In a directory that was removed no file
        // has a name, and frames may still be appended to one.
        let checkpointed = positions.checkpointed();
        let is_removed = self.shared.io.anchor_is_removed();
        let is_freed = |segment: &Segment| {
            let may_be = segment.start() <= published && segment.end() <= checkpointed && !is_removed;
            may_be && starts.binary_search(&segment.start()).is_err()
        };
        let mut list = self.list.write();
        list.retain(|segment| !is_freed(segment));
        list.retain(|segment| opened.iter().all(|opened| opened.start() != segment.start()));
        list.extend(opened);
        list.sort_by_key(|segment| segment.start());
        drop(list);
        self.known_to.fetch_max(published, Ordering::AcqRel);
        Ok(())
    }

    /// Open a segment that this process does not know. `None`: nobody needs it any more, and it may be freed at any moment.
    fn open(&self, start: u64, end: u64) -> Result<Option<Arc<Segment>>> {
        let positions = &self.shared.positions;
        let is_needed = || end > positions.checkpointed().min(positions.generation_base());
        if !is_needed() {
            return Ok(None);
        }
        let shared = &self.shared;
        let path = shared.dir.join(segment_name(start));
        let mode = if shared.read_only { OpenMode::Read } else { OpenMode::ReadWrite };
        // Recovery may have stepped over damage in frames that the base file has, and nobody asks for their pages.
        let first = start.max(positions.checkpointed() + 1).min(end + 1);
        let joined = shared
            .io
            .open(&path, mode)
            .and_then(|file| Segment::join(file, &path, start, first, shared.log_id, shared.page_size));
        match joined {
            Ok(segment) => {
                segment.extend(end);
                let is_doubtful = end <= shared.memory.state().doubtful_to() && end > positions.synced();
                Ok(Some(Arc::new(if is_doubtful { segment.doubted() } else { segment })))
            }
            // It was freed since the names were listed.
            Err(error)
                if (error.is_not_found() || matches!(error, Error::Corrupt { .. })) && !is_needed() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
