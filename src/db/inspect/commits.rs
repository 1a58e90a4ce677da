//! The commits that are in the log of a database, from its segments.

use std::path::Path;

use zerocopy::FromBytes;

use super::{Depth, inspect};
use crate::error::Result;
use crate::format::frame::{FRAME_HEADER_SIZE, FrameHeader};
use crate::format::segment_header::SEGMENT_HEAD_SIZE;
use crate::io::{Io, OpenMode, SystemIo};
use crate::types::PageSize;

/// A commit in the log on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedCommit {
    /// Its last frame.
    pub frame_no: u64,
    /// When it was made, microseconds since 1970.
    pub commit_us: u64,
    /// Pages that it wrote.
    pub pages: u64,
    /// Pages of the database after it.
    pub db_size_pages: u32,
    /// Page size.
    pub page_size: PageSize,
}

/// The commits that are still in segments, oldest first. Takes no lock, and changes nothing; what is freed while it is
/// read is left out.
pub fn commits(database: &Path) -> Result<Vec<LoggedCommit>> {
    let inspection = inspect(database, Depth::Heads)?;
    let Some(page_size) = inspection.page_size else { return Ok(Vec::new()) };
    let frame_size = (FRAME_HEADER_SIZE + page_size.bytes()) as u64;
    let io = SystemIo::like(database);
    let mut commits = Vec::new();
    for segment in &inspection.segments {
        let file = match io.open(&segment.path, OpenMode::Read) {
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        let mut begins = segment.start_frame_no;
        for frame_no in segment.start_frame_no..=segment.end_frame_no {
            let mut header = [0; FRAME_HEADER_SIZE];
            let offset = SEGMENT_HEAD_SIZE as u64 + (frame_no - segment.start_frame_no) * frame_size;
            file.read_exact_at(&mut header, offset)?;
            let Ok(header) = FrameHeader::ref_from_bytes(&header) else { break };
            // The file may have another life by now.
            if header.frame_no.get() != frame_no {
                break;
            }
            if header.db_size_pages.get() != 0 {
                commits.push(LoggedCommit {
                    frame_no,
                    commit_us: header.commit_us.get(),
                    pages: frame_no + 1 - begins,
                    db_size_pages: header.db_size_pages.get(),
                    page_size,
                });
                begins = frame_no + 1;
            }
        }
    }
    Ok(commits)
}
