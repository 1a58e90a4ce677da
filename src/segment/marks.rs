//! What a process learns of the frames that another one has written to a segment.
//!
//! A process that writes frames knows their pages. Any other opens the file by its name, is told how far the frames go (by the positions of the
//! log, and by the names of the segments), and reads the marks when somebody asks for them.

use std::path::Path;
use std::sync::Arc;

use super::load::read_index;
use super::scan::read_head;
use super::{FrameMark, Segment};
use crate::error::{Error, Result};
use crate::format::frame::verify;
use crate::io::File;
use crate::memory;
use crate::sync::atomic::Ordering;
use crate::types::{LogId, PageSize};

const MARKS: &str = "the list of a segment's frames";

impl Segment {
    /// The segment in `file`, which has the name of one that begins at `start`, of which the frames before `first` are of no interest. It has no
    /// frames until it is told of some ([`Segment::extend`]).
    ///
    /// Errors: [`Error::Corrupt`] when it is another one, since its file was freed and is used again, or damaged.
    pub fn join(
        file: Arc<dyn File>,
        path: &Path,
        start: u64,
        first: u64,
        log_id: LogId,
        page_size: PageSize,
    ) -> Result<Segment> {
        let (header, seal, _) = read_head(&*file)?;
        if (header.start_frame_no, header.log_id, header.page_size) != (start, log_id, page_size) {
            let what = format!(
                "it has the name of the segment that begins at frame {start}, but its head is that of log {}, frame {}",
                header.log_id, header.start_frame_no
            );
            return Err(Error::corrupt(path, 0, what));
        }
        let segment = Segment::existing(file, path.to_owned(), header, Vec::new(), seal.is_some());
        Ok(segment.from_frame(first))
    }

    /// Frames up to `to`, which are published, are in the file.
    pub fn extend(&self, to: u64) {
        self.end.fetch_max(to, Ordering::AcqRel);
    }

    /// Have the marks of the frames up to `to`, as far as the segment goes: from the index if it is sealed, else from the frames, which are verified.
    ///
    /// Errors: [`Error::Corrupt`] when a frame is not what it should be; [`Error::NoMemory`].
    pub fn read_marks(&self, to: u64) -> Result<()> {
        let count = (to.min(self.end()) + 1).saturating_sub(self.first) as usize;
        let known = self.marks.read().len();
        if count <= known {
            return Ok(());
        }
        let found = match self.marks_of_index(known, count - known) {
            Some(found) => found,
            None => self.marks_of_frames(self.first + known as u64, count - known)?,
        };
        let mut marks = self.marks.write();
        // Another thread may have done the same meanwhile.
        let new = found.get(marks.len() - known..).unwrap_or_default();
        memory::reserve(&mut marks, new.len(), MARKS)?;
        marks.extend_from_slice(new);
        Ok(())
    }

    /// `count` marks, after those that are `known`, from the index of a sealed segment. `None`: it has none, or one that is not whole; the
    /// frames say the same.
    fn marks_of_index(&self, known: usize, count: usize) -> Option<Vec<FrameMark>> {
        let (header, Some(seal), _) = read_head(&*self.file).ok()? else { return None };
        if header != self.header {
            return None;
        }
        let mut marks = read_index(&*self.file, &header, &seal).ok()?;
        let skipped = (self.first - self.start()) as usize + known;
        if marks.len() < skipped + count {
            return None;
        }
        marks.truncate(skipped + count);
        marks.drain(..skipped);
        Some(marks)
    }

    fn marks_of_frames(&self, from: u64, count: usize) -> Result<Vec<FrameMark>> {
        let mut marks = Vec::new();
        memory::reserve(&mut marks, count, MARKS)?;
        let mut frame = Vec::new();
        memory::resize(&mut frame, self.frame_size(), "a frame")?;
        for frame_no in from..from + count as u64 {
            let offset = self.frame_offset(frame_no);
            self.file.read_exact_at(&mut frame, offset)?;
            let header = verify(&frame, frame_no, self.seed)
                .map_err(|problem| Error::corrupt(&self.path, offset, problem))?;
            marks
                .push(FrameMark { page_no: header.page_no.get(), db_size_pages: header.db_size_pages.get() });
        }
        Ok(marks)
    }
}
