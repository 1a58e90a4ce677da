//! A segment: one file of consecutive frames.
//!
//! A segment begins and ends at transaction boundaries, so a transaction is never spread over two files; a very large
//! one makes a very large segment. Files are recycled (`spare.rs`): overwriting blocks that are already written is twice
//! as fast to fsync as appending to a file.

mod copy;
mod load;
mod marks;
mod scan;
mod spare;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use load::load;
pub use scan::{Bad, End, Scan, headless_witness, scan};
pub use spare::{SpareFiles, is_spare_name};

use crate::error::{Error, Result};
use crate::format::frame::{FRAME_HEADER_SIZE, FrameLayout, verify};
use crate::format::segment_header::{SEAL_OFFSET, Seal, SegmentHeader};
pub use crate::format::segment_index::FrameMark;
use crate::format::segment_index::{append_index, index_crc, index_offset, index_size};
use crate::io::{File, Io, SyncSite};
use crate::memory;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::types::SegmentState;

/// An open segment. The file is removed or recycled only when nobody reads from it any more (`Arc`).
pub struct Segment {
    header: SegmentHeader,
    seed: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    /// The first frame that `marks` tells of. Later than the start: recovery stepped over the ones before, which are damaged and
    /// in the base file.
    first: u64,
    /// The last published frame that is known to be in the file.
    end: AtomicU64,
    /// Published frames, from `first` on. Those that another process has written are read when they are needed (`marks.rs`), so there may be
    /// fewer than up to `end`.
    marks: RwLock<Vec<FrameMark>>,
    sealed: AtomicBool,
    /// Recovery found the frames in the page cache, and nothing shows that they were fsynced.
    doubtful: bool,
}

/// The name of the segment file that starts at `frame_no`.
pub fn segment_name(frame_no: u64) -> String {
    format!("{frame_no:020}.seg")
}

/// The first frame number in the name of a segment file.
pub fn parse_segment_name(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?;
    (number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| number.parse().ok())?
}

impl Segment {
    /// Begin a segment in `file`, which is at `path`: writes the head.
    pub fn begin(file: Arc<dyn File>, path: PathBuf, header: SegmentHeader) -> Result<Segment> {
        file.write_at(&header.encode_head(), 0)?;
        Ok(Self::existing(file, path, header, Vec::new(), false))
    }

    /// A segment whose frames are known.
    pub fn existing(
        file: Arc<dyn File>,
        path: PathBuf,
        header: SegmentHeader,
        marks: Vec<FrameMark>,
        sealed: bool,
    ) -> Segment {
        let first = header.start_frame_no;
        Segment {
            seed: header.crc(),
            first,
            end: AtomicU64::new(first + marks.len() as u64 - 1),
            header,
            path,
            file,
            marks: RwLock::new(marks),
            sealed: AtomicBool::new(sealed),
            doubtful: false,
        }
    }

    /// The same, of which recovery stepped over the frames before `first`; the marks begin there.
    pub fn from_frame(self, first: u64) -> Segment {
        let end = first + self.marks.read().len() as u64 - 1;
        Segment { first, end: AtomicU64::new(end), ..self }
    }

    /// The same, found by recovery in a file whose fsync may have failed: another fsync of it proves nothing.
    pub fn doubted(self) -> Segment {
        Segment { doubtful: true, ..self }
    }

    /// The same frames in another file, which takes the place of this one: a copy by [`Segment::copy_to`].
    pub fn in_copy(&self, file: Arc<dyn File>) -> Segment {
        let copy = Self::existing(file, self.path.clone(), self.header, self.marks.read().clone(), false)
            .from_frame(self.first);
        copy.extend(self.end());
        copy
    }

    /// Whether an fsync of the file proves nothing, so that the frames have to be copied.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Its header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Checksum of the header: the seed of the frames' checksums, and where their chain begins.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Its file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its first frame number.
    pub fn start(&self) -> u64 {
        self.header.start_frame_no
    }

    /// The first frame that was not stepped over by recovery.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Its last published frame number; one less than [`Segment::first`] when it has none.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    fn layout(&self) -> FrameLayout {
        FrameLayout::new(self.header.page_size)
    }

    /// Bytes of a frame on disk.
    pub fn frame_size(&self) -> usize {
        self.layout().frame_size()
    }

    /// Where a frame is in the file. The frame must not be before the segment.
    pub fn frame_offset(&self, frame_no: u64) -> u64 {
        self.layout().offset(frame_no - self.start())
    }

    /// Bytes of the head and the published frames.
    pub fn used_bytes(&self) -> u64 {
        self.frame_offset(self.end() + 1)
    }

    /// Whether the frames are fsynced and the seal is written.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// The state that status reports show; `current`: it is the one that frames are appended to.
    pub fn state(&self, current: bool) -> SegmentState {
        if current { SegmentState::Current } else { SegmentState::Sealed }
    }

    /// The mark of a published frame.
    pub fn mark(&self, frame_no: u64) -> Option<FrameMark> {
        let at = usize::try_from(frame_no.checked_sub(self.first)?).ok()?;
        self.marks.read().get(at).copied()
    }

    /// Call `visit` with each published frame in `from..=to` that is in this segment, and was not stepped over, as far as the marks are here
    /// ([`Segment::read_marks`]).
    pub fn for_each_mark(&self, from: u64, to: u64, mut visit: impl FnMut(u64, FrameMark)) {
        let skip = from.saturating_sub(self.first) as usize;
        let marks = self.marks.read();
        for (at, &mark) in marks.iter().enumerate().skip(skip) {
            let frame_no = self.first + at as u64;
            if frame_no > to {
                return;
            }
            visit(frame_no, mark);
        }
    }

    /// Have memory for the marks of so many more frames, and all marks before them, so that [`Segment::publish`] of them cannot fail.
    pub fn reserve(&self, frames: usize) -> Result<()> {
        self.read_marks(self.end())?;
        memory::reserve(&mut self.marks.write(), frames, "the list of a segment's frames")
    }

    /// Frames have been published.
    pub fn publish(&self, published: &[FrameMark]) {
        let mut marks = self.marks.write();
        debug_assert_eq!(
            self.first + marks.len() as u64 - 1,
            self.end(),
            "marks of frames before them are missing"
        );
        marks.extend_from_slice(published);
        self.end.fetch_add(published.len() as u64, Ordering::AcqRel);
    }

    /// Write bytes of frames, the first of them at `frame_no`.
    pub fn write_frames(&self, frame_no: u64, offset_in_frame: usize, bytes: &[u8]) -> Result<()> {
        self.file.write_at(bytes, self.frame_offset(frame_no) + offset_in_frame as u64)
    }

    /// Read bytes of one frame as they are. Only for frames whose checksum is not final yet.
    pub fn read_raw(&self, frame_no: u64, offset_in_frame: usize, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, self.frame_offset(frame_no) + offset_in_frame as u64)
    }

    /// Read a whole frame into `frame` (resized to fit) and verify its checksum. Once it is published it must also be of
    /// the page that its mark says: marks come from the index of the segment, and not always from the frames.
    pub fn read_frame(&self, frame_no: u64, frame: &mut Vec<u8>) -> Result<()> {
        let offset = self.frame_offset(frame_no);
        memory::resize(frame, self.frame_size(), "a frame")?;
        self.file.read_exact_at(frame, offset)?;
        let found = match verify(frame, frame_no, self.seed) {
            Ok(header) => {
                FrameMark { page_no: header.page_no.get(), db_size_pages: header.db_size_pages.get() }
            }
            Err(problem) => return Err(Error::corrupt(&self.path, offset, problem)),
        };
        match self.mark(frame_no).filter(|mark| *mark != found) {
            None => Ok(()),
            Some(mark) => Err(Error::corrupt(
                &self.path,
                offset,
                format!(
                    "frame {frame_no} is of page {} (size {}), the index of the segment says page {} (size {})",
                    found.page_no, found.db_size_pages, mark.page_no, mark.db_size_pages
                ),
            )),
        }
    }

    /// Make everything written to the file survive a power loss.
    pub fn sync(&self, site: SyncSite) -> Result<()> {
        self.file.sync(site)
    }

    /// Write the index and the seal of the segment, whose frames are fsynced already: from then on damage in it is an error,
    /// not a torn tail. False: there is nothing to seal, or recovery stepped over frames of it, of which an index could not tell.
    /// [`Segment::sync_seal`] must follow.
    ///
    /// One fsync does for both. Whichever part of them a power loss leaves is known for what it is: a torn seal is none,
    /// and an index that is not the one whose checksum the seal holds is not used, but the frames are.
    pub fn write_seal(&self, io: &dyn Io) -> Result<bool> {
        let end = self.end();
        if self.is_sealed() || end < self.start() || self.first > self.start() {
            return Ok(false);
        }
        self.read_marks(end)?;
        let mut frame = Vec::new();
        self.read_frame(end, &mut frame)?;
        let crc = &frame[FRAME_HEADER_SIZE - 4..FRAME_HEADER_SIZE];
        let last_crc = u32::from_be_bytes([crc[0], crc[1], crc[2], crc[3]]);
        let mut index = Vec::new();
        {
            let marks = self.marks.read();
            memory::reserve(&mut index, index_size(marks.len() as u64) as usize, "the index of a segment")?;
            append_index(&marks, &mut index);
        }
        self.file.write_at(&index, index_offset(self.used_bytes()))?;
        let index_crc = index_crc(&index, self.seed);
        let seal = Seal { end_frame_no: end, sealed_us: io.now_us(), last_crc, index_crc };
        self.file.write_at(&seal.encode(&self.header), SEAL_OFFSET as u64)?;
        Ok(true)
    }

    /// Whether the file still has the head of this segment.
    pub fn has_its_head(&self) -> bool {
        scan::read_head(&*self.file).is_ok_and(|(header, ..)| header == self.header)
    }

    /// Whether another process has sealed the segment, durably.
    pub fn learn_seal(&self) -> Result<bool> {
        let (header, seal, _) = scan::read_head(&*self.file)?;
        let is_sealed = header == self.header && seal.is_some_and(|seal| seal.end_frame_no == self.end());
        self.sealed.fetch_or(is_sealed, Ordering::AcqRel);
        Ok(is_sealed)
    }

    /// Make the seal durable.
    pub fn sync_seal(&self) -> Result<()> {
        self.file.sync(SyncSite::Seal)?;
        self.sealed.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the file still has its name.
    pub fn is_named(&self) -> bool {
        self.file.is_named(&self.path)
    }

    /// Bytes of the file, which may be longer than its frames.
    pub fn file_size(&self) -> Result<u64> {
        self.file.size()
    }
}
