//! The view: the database file as SQLite sees it, and the frames that it is made of.
//!
//! The *view* of the database file is, for each page, its newest absorbed frame, or else the base file. When `wal.c`
//! believes that it has copied frames into the database file, those frames become part of the view: their pages' entries
//! in the index now point at them. This is absorption, a checkpoint that moves no data.
//!
//! An entry goes on pointing at its frame when a pass has brought it to the base file. Up to the position *checkpointed*, a frame that
//! the index names is read from the base file: every page of that is as of the frame of its entry, until a newer frame of the page is
//! absorbed. A pass to frame N writes only pages whose entries are of frames after the checkpointed one, so nobody reads them in the
//! base file before the position moves to N, and what it writes is never newer than the entry.
//!
//! Frames are absorbed as a prefix, up to a commit. `wal.c` tells how far it went in `nBackfillAttempted`, which is never
//! beyond the snapshot of any reader that reads the WAL, and it keeps readers of the bare database file away meanwhile
//! (`WAL_READ_LOCK(0)`): so no open read transaction sees the view change (invariant 4).

mod segments;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use super::shared::Shared;
use crate::cache::{LogCache, PageKey};
use crate::error::{Error, Result};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::memory;
use crate::page_index::{Content, PageIndex};
use crate::segment::{FrameMark, Segment};
use crate::shm::Section;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use segments::Segments;

/// The segments, which frame is the newest absorbed one of a page, and pages in memory.
pub(crate) struct View {
    shared: Arc<Shared>,
    segments: Segments,
    /// Of this process.
    pub(super) index: PageIndex,
    pub(super) cache: LogCache,
    absorbing: Mutex<Indexed>,
    /// [`Indexed::to`], for readers.
    indexed_to: AtomicU64,
}

/// How far the page index goes.
struct Indexed {
    /// It has every frame up to this one that the base file lacks.
    to: u64,
    /// No entry is of a page after this one.
    pages: u32,
}

/// Where bytes of the database file are that somebody wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewRead {
    /// So many of them are in the buffer; after them is the end of the file.
    Here(usize),
    /// All of them are in the base file, and the caller reads them there. [`View::keep_base_page`] wants to know what they are.
    InBase(Content),
}

/// What a pass brings to the base file.
pub(super) struct NewestFrames {
    /// (page, frame), ascending by page.
    pub(super) list: Vec<(u32, u64)>,
    /// Size of the database after the last commit in the range.
    pub(super) db_size_pages: Option<u32>,
}

thread_local! {
    /// A frame as it is read from disk, to be verified before any of it is handed out.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl View {
    /// `segments`: the segments of the log, ascending, if recovery has found them; `None`: it was open already, and they are looked up.
    pub(super) fn new(
        shared: &Arc<Shared>,
        segments: Option<Vec<Arc<Segment>>>,
        index: PageIndex,
        cache: LogCache,
    ) -> View {
        let (to, pages) = (index.newest(), index.smallest().max(shared.positions.view_pages()));
        View {
            shared: Arc::clone(shared),
            segments: Segments::new(shared, segments),
            index,
            cache,
            absorbing: Mutex::new(Indexed { to, pages }),
            indexed_to: AtomicU64::new(to),
        }
    }

    /// The segments that are known here, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.all()
    }

    /// Pages in memory.
    pub(crate) fn cache(&self) -> &LogCache {
        &self.cache
    }

    /// Make the committed frames up to `frame_no` part of the view. `frame_no` is rounded down to a commit. False: it has them all already.
    ///
    /// Errors: as of [`View::catch_up`]; nothing is absorbed then.
    pub(super) fn absorb(&self, frame_no: u64) -> Result<bool> {
        let positions = &self.shared.positions;
        if frame_no.min(positions.published()) <= positions.absorbed() {
            return Ok(false);
        }
        // Before the lock, which readers want: a process that was stopped in the section must not hold them up.
        let _alone = self.shared.memory.enter(Section::Absorption);
        let mut indexed = self.absorbing.lock();
        self.index_absorbed(&mut indexed)?;
        let from = positions.absorbed() + 1;
        let to = frame_no.min(positions.published());
        if to < from {
            return Ok(false);
        }
        self.learn(from, to)?;
        // Twice, since frames after the last commit that is covered must not be absorbed.
        let mut last_commit = None;
        self.for_each_mark(from, to, |frame_no, mark| {
            if mark.db_size_pages != 0 {
                last_commit = Some(frame_no);
            }
        });
        let Some(last) = last_commit else { return Ok(false) };
        let pages = self.index_frames(&self.segments(), &mut indexed, last, positions.view_pages());
        positions.absorb(last, pages);
        Ok(true)
    }

    /// Have entries for all frames that are absorbed.
    ///
    /// Errors: frames that another process has written cannot be read.
    fn index_absorbed(&self, indexed: &mut Indexed) -> Result<()> {
        let positions = &self.shared.positions;
        loop {
            let to = positions.absorbed();
            if indexed.to >= to {
                return Ok(());
            }
            let known = self.learn(indexed.to + 1, to);
            // What is not in this list any more was freed, which is seen next.
            let segments = self.segments();
            // After the frames were looked up, and before they are relied on: segments whose frames are in the base file may have been freed, and
            // the list is not whole then.
            let free = positions.checkpointed().min(positions.generation_base());
            // Of a segment that was opened later than that, the frames that the base file has are not known either.
            let skipped = known.as_ref().map_or(0, |&first| first - 1).max(free);
            if skipped > indexed.to {
                self.skip(indexed, skipped);
                continue;
            }
            known?;
            let pages = indexed.pages;
            self.index_frames(&segments, indexed, to, pages);
            if self.shared.memory.was_shared() {
                self.segments.forget_free();
            }
        }
    }

    /// The index has nothing of the frames up to `to`, which are all in the base file: neither do the cached pages of before count any more.
    ///
    /// No read transaction of this process is older than those frames: it would keep the generation from ending, and the next one from being absorbed.
    fn skip(&self, indexed: &mut Indexed, to: u64) {
        self.index.retire(to);
        self.index.shrink(self.shared.positions.base_pages());
        indexed.pages = indexed.pages.max(self.shared.positions.view_pages());
        indexed.to = to;
        self.indexed_to.store(to, Ordering::Release);
    }

    /// Have entries for the frames up to `to`, the end of a commit, whose marks are known. `pages`: of the database before them. Returns those after
    /// them.
    fn index_frames(&self, segments: &[Arc<Segment>], indexed: &mut Indexed, to: u64, pages: u32) -> u32 {
        let mut absorption =
            self.index.absorb(to, self.shared.positions.checkpointed(), pages.max(indexed.pages), pages);
        for segment in segments {
            segment.for_each_mark(indexed.to + 1, to, |frame_no, mark| {
                absorption.frame(frame_no, mark.page_no, mark.db_size_pages);
            });
        }
        (indexed.to, indexed.pages) = (to, absorption.largest());
        self.indexed_to.store(to, Ordering::Release);
        absorption.pages()
    }

    /// Have entries for all frames that are absorbed, as far as readers need them.
    fn follow(&self) -> Result<()> {
        if self.indexed_to.load(Ordering::Acquire) >= self.shared.positions.absorbed() {
            return Ok(());
        }
        self.index_absorbed(&mut self.absorbing.lock())
    }

    /// Know the pages of all frames up to `to` that are not absorbed, so that to absorb them cannot fail.
    ///
    /// Errors: frames that another process has written cannot be read, or there is no memory for the list of them.
    pub(crate) fn catch_up(&self, to: u64) -> Result<()> {
        let positions = &self.shared.positions;
        self.index_absorbed(&mut self.absorbing.lock())?;
        self.learn(positions.absorbed() + 1, to.min(positions.published())).map(drop)
    }

    /// Know the pages of published frames. What this process has written it knows. Returns the first frame from which on it knows all: it is
    /// later than `from` where the base file has those before.
    fn learn(&self, from: u64, to: u64) -> Result<u64> {
        let (mut next, mut first) = (from, from);
        while next <= to {
            let segment = self.segment_of(next)?;
            // Once: another thread may have the segment end later meanwhile.
            let end = segment.end().min(to);
            segment.read_marks(end)?;
            if segment.first() > next {
                first = segment.first();
            }
            let mut has_memory = Ok(());
            segment.for_each_mark(next, end, |_, mark| {
                if has_memory.is_ok() {
                    has_memory = self.index.prepare(mark.page_no);
                }
            });
            has_memory?;
            next = end + 1;
        }
        Ok(first)
    }

    /// Have all segments with published frames up to `frame_no`, as far as they go.
    ///
    /// Errors: one of another process cannot be opened.
    pub(super) fn know(&self, frame_no: u64) -> Result<()> {
        self.segments.know(frame_no)
    }

    /// The segment to which a process appends after frame `published`: it begins at `start`, and its head has the checksum `seed`.
    pub(super) fn current_segment(&self, start: u64, seed: u32, published: u64) -> Result<Arc<Segment>> {
        self.segments.current(start, seed, published)
    }

    /// Have all segments with published frames, with their ends, and forget those that were freed.
    pub(crate) fn look(&self) -> Result<()> {
        self.segments.look()
    }

    /// The files of segments that end at `limit` or before it, and that this process does not know.
    pub(super) fn free_files(&self, limit: u64) -> Result<Vec<PathBuf>> {
        self.segments.free_files(limit)
    }

    /// Have a new segment, which comes after all others.
    pub(super) fn push(&self, segment: Arc<Segment>) {
        self.segments.push(segment);
    }

    /// Have a segment in the place of another one: the same frames in another file.
    pub(super) fn replace(&self, segment: &Arc<Segment>, by: Arc<Segment>) {
        self.segments.replace(segment, by);
    }

    /// Have a segment no more, which has no frames.
    pub(super) fn remove(&self, segment: &Arc<Segment>) {
        self.segments.remove(segment);
    }

    /// Have the oldest segments no more, up to the first one that is `kept`. Returns them.
    pub(super) fn take(&self, kept: impl Fn(&Arc<Segment>) -> bool) -> Vec<Arc<Segment>> {
        self.segments.take(kept)
    }

    /// The newest segment.
    pub(super) fn last(&self) -> Option<Arc<Segment>> {
        self.segments.last()
    }

    fn for_each_mark(&self, from: u64, to: u64, mut visit: impl FnMut(u64, FrameMark)) {
        for segment in self.segments().iter().filter(|segment| segment.end() >= from && segment.start() <= to)
        {
            segment.for_each_mark(from, to, &mut visit);
        }
    }

    /// Call `visit` with the marks of published frames in `from..=to`, in order, for as long as it returns true. It ends at the
    /// first frame that the log does not have, or that recovery stepped over.
    ///
    /// Errors: as of [`View::catch_up`].
    pub(crate) fn for_each_mark_while(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, FrameMark) -> bool,
    ) -> Result<()> {
        let mut next = from;
        while next <= to
            && let Some(segment) = self.find_segment(next)?
            && segment.end() >= next
            && segment.first() <= next
        {
            let end = segment.end().min(to);
            segment.read_marks(end)?;
            let mut goes_on = true;
            segment.for_each_mark(next, end, |frame_no, mark| goes_on = goes_on && visit(frame_no, mark));
            if !goes_on {
                break;
            }
            next = end + 1;
        }
        Ok(())
    }

    /// Read bytes of the page in a frame that is written.
    pub(crate) fn read_page(&self, frame_no: u64, offset: usize, buf: &mut [u8]) -> Result<()> {
        if self.cache.read(PageKey::Frame(frame_no), offset, buf) {
            return Ok(());
        }
        self.read_uncached(frame_no, offset, buf)
    }

    fn read_uncached(&self, frame_no: u64, offset: usize, buf: &mut [u8]) -> Result<()> {
        self.with_frame(frame_no, |frame| {
            let page = &frame[FRAME_HEADER_SIZE..];
            buf.copy_from_slice(&page[offset..offset + buf.len()]);
            self.cache.keep(PageKey::Frame(frame_no), page);
        })
    }

    /// Read a frame from its segment and verify it.
    pub(crate) fn with_frame<T>(&self, frame_no: u64, use_frame: impl FnOnce(&[u8]) -> T) -> Result<T> {
        // Taken out while it is in use; and a thread that is ending has none any more.
        let mut frame = FRAME.try_with(RefCell::take).unwrap_or_default();
        let result = self.read_frame(frame_no, &mut frame).map(|()| use_frame(&frame));
        let _ = FRAME.try_with(|kept| kept.replace(frame));
        result
    }

    fn read_frame(&self, frame_no: u64, frame: &mut Vec<u8>) -> Result<()> {
        let segment = self.segment_of(frame_no)?;
        let error = match segment.read_frame(frame_no, frame) {
            Err(error) if matches!(error, Error::Corrupt { .. }) => error,
            result => return result,
        };
        // Another process may have freed the segment, and its file has other frames by now.
        if self.segments.look().is_err() {
            return Err(error);
        }
        let now = self.segment_of(frame_no)?;
        if Arc::ptr_eq(&now, &segment) { Err(error) } else { now.read_frame(frame_no, frame) }
    }

    fn segment_of(&self, frame_no: u64) -> Result<Arc<Segment>> {
        for _ in 0..2 {
            let Some(segment) = self.find_segment(frame_no)? else { break };
            // After the segment was found: where it ends may be as of before the frame was published.
            if segment.end() >= frame_no || frame_no > self.shared.positions.published() {
                return Ok(segment);
            }
        }
        Err(Error::corrupt(&self.shared.dir, None, format!("frame {frame_no} is in none of the segments")))
    }

    /// The segment that has a frame, or would have it.
    ///
    /// Errors: a segment of another process cannot be opened.
    pub(crate) fn find_segment(&self, frame_no: u64) -> Result<Option<Arc<Segment>>> {
        self.segments.find(frame_no)
    }

    /// Bytes in segments that hold frames, and how many segments those are.
    pub(crate) fn size(&self) -> (u64, u64) {
        let segments = self.segments();
        let used = segments.iter().filter(|segment| segment.end() >= segment.start());
        used.fold((0, 0), |(bytes, count), segment| (bytes + segment.used_bytes(), count + 1))
    }

    /// The newest frame of each page in a range of frames that ends at a commit.
    ///
    /// Errors: as of [`View::catch_up`].
    pub(super) fn newest_frames(&self, from: u64, to: u64) -> Result<NewestFrames> {
        self.learn(from, to)?;
        let mut list = Vec::new();
        let count = usize::try_from((to + 1).saturating_sub(from)).unwrap_or(usize::MAX);
        memory::reserve(&mut list, count, "the list of pages of a checkpoint")?;
        let mut db_size_pages = None;
        for segment in self.segments() {
            segment.for_each_mark(from, to, |frame_no, mark| {
                list.push((mark.page_no, frame_no));
                if mark.db_size_pages != 0 {
                    db_size_pages = Some(mark.db_size_pages);
                }
            });
        }
        list.sort_unstable();
        // Of equal pages the last one has the highest frame number.
        list.reverse();
        list.dedup_by_key(|&mut (page_no, _)| page_no);
        list.reverse();
        Ok(NewestFrames { list, db_size_pages })
    }

    /// A page that was read from the base file, where it was `content`. `offset` is that of the page in the file.
    ///
    /// It may have changed while it was read. But an absorption sets the entry of a page before any pass writes a newer frame of it, or cuts
    /// it off. So what was read is the content that the entry named if the entry is the same afterwards, and whatever happens then, it is
    /// never wrong to have it under that name: this needs no lock that keeps absorptions and passes away.
    pub(crate) fn keep_base_page(&self, page: &[u8], offset: u64, content: Content) {
        let page_size = self.shared.page_size.bytes();
        let is_page = page.len() == page_size && offset.is_multiple_of(page_size as u64);
        let (true, Ok(page_no)) = (is_page, u32::try_from(offset / page_size as u64 + 1)) else { return };
        // The bytes come first, then the entry.
        fence(Ordering::Acquire);
        if self.indexed_to.load(Ordering::Acquire) >= self.shared.positions.absorbed()
            && let Some(key) = key_of(page_no, content)
            && self.index.get(page_no) == content
        {
            self.cache.keep(key, page);
        }
    }

    /// The name of the content that the view has of a page; `None`: it has none.
    pub(super) fn key(&self, page_no: u32) -> Option<PageKey> {
        key_of(page_no, self.index.get(page_no))
    }

    /// Read bytes of the database file from the view.
    pub(crate) fn read_view(&self, buf: &mut [u8], offset: u64) -> Result<ViewRead> {
        let page_size = self.shared.page_size.bytes();
        let page_no = offset / page_size as u64 + 1;
        let within = (offset % page_size as u64) as usize;
        if within + buf.len() <= page_size {
            return self.read_view_page(page_no, within, buf);
        }
        // Not what SQLite does, but what the interface allows: page by page.
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let within = (at % page_size as u64) as usize;
            let len = (page_size - within).min(buf.len() - done);
            let part = &mut buf[done..done + len];
            let got = match self.read_view_page(at / page_size as u64 + 1, within, part)? {
                ViewRead::Here(got) => got,
                ViewRead::InBase(_) => self.shared.base.read_at(part, at)?,
            };
            done += got;
            if got < len {
                break;
            }
        }
        Ok(ViewRead::Here(done))
    }

    fn read_view_page(&self, page_no: u64, within: usize, buf: &mut [u8]) -> Result<ViewRead> {
        let Ok(page_no) = u32::try_from(page_no) else { return Ok(ViewRead::Here(0)) };
        loop {
            self.follow()?;
            let content = self.index.get(page_no);
            if key_of(page_no, content).is_some_and(|key| self.cache.read(key, within, buf)) {
                return Ok(ViewRead::Here(buf.len()));
            }
            let Some(frame_no) = self.only_in_log(content) else {
                // After the look at the position `checkpointed`: before that moves, this one covers every page of the new state.
                let is_beyond = page_no > self.shared.positions.base_pages();
                return Ok(if is_beyond { ViewRead::Here(0) } else { ViewRead::InBase(content) });
            };
            match self.read_uncached(frame_no, within, buf) {
                Ok(()) => return Ok(ViewRead::Here(buf.len())),
                Err(error) if self.only_in_log(self.index.get(page_no)) == Some(frame_no) => {
                    return Err(error);
                }
                // A pass has brought the frame to the base file since the look at the positions, and its segment was freed.
                Err(_) => {}
            }
        }
    }

    /// The frame that has this content, if the base file does not have it.
    fn only_in_log(&self, content: Content) -> Option<u64> {
        match content {
            Content::Frame(frame_no) if frame_no > self.shared.positions.checkpointed() => Some(frame_no),
            _ => None,
        }
    }
}

/// What the cache calls the content of a page; `None`: it is not always the same, and cannot be kept.
fn key_of(page_no: u32, content: Content) -> Option<PageKey> {
    match content {
        Content::Frame(frame_no) => Some(PageKey::Frame(frame_no)),
        Content::Base { retired } => Some(PageKey::Base { page_no, since: retired }),
        Content::Cut => None,
    }
}
