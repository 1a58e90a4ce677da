//! The list of segments. A process that writes adds what it begins; what other processes begin, append to and free is found by the names
//! in the log directory.
//!
//! The name of a segment is its first frame number, so the names say which frames are in which file, up to the published one: a file that
//! has a published frame got its name before. Nothing else says it. A file may have frames after its end, of transactions that were rolled
//! back when the next segment had not begun: whole, and with the numbers of frames that are in the next one. So no frame is read, and no
//! mark, before the names have been listed at a time when it was published.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::OpenMode;
use crate::log::shared::Shared;
use crate::segment::{Segment, parse_segment_name, segment_name};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

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
        self.list.write().push(segment);
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
        let found = self.find_known(frame_no);
        let is_known = found.as_ref().is_some_and(|segment| segment.end() >= frame_no)
            || frame_no <= self.known_to.load(Ordering::Acquire)
            || frame_no > self.shared.positions.published();
        if is_known {
            return Ok(found);
        }
        self.look()?;
        Ok(self.find_known(frame_no))
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
        let mut opened = Vec::new();
        for (at, &start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(published, |next| next - 1);
            match self.find_known(start).filter(|segment| segment.start() == start) {
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
                Ok(Some(Arc::new(segment)))
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
