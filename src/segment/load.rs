//! Reading a segment back for recovery: of a sealed one its head and its index, and of no other every frame.
//!
//! The frames of a sealed segment were fsynced before the seal was written, so nothing has to be found out about them.
//! Each one is verified whenever it is read from the file ([`super::Segment::read_frame`]), and damage is an error then.

use super::scan::{Scan, read_head, scan_frames};
use crate::error::{Error, Result};
use crate::format::frame::FrameLayout;
use crate::format::segment_header::{Seal, SegmentHeader};
use crate::format::segment_index::{FrameMark, decode_index, index_offset, index_size};
use crate::io::File;
use crate::memory;

/// Read what recovery has to know of a segment. Where the index of a sealed segment is not whole, that is noted, and the
/// frames are read and verified instead. The base file has the frames up to `in_base`.
///
/// Errors: as of [`super::scan`].
pub fn load(file: &dyn File, in_base: u64) -> Result<Scan> {
    let (header, seal, bad_seal) = read_head(file)?;
    let Some(seal) = seal else {
        return Ok(Scan { bad_seal, ..scan_frames(file, header, None, in_base, |_| {})? });
    };
    match read_index(file, &header, &seal) {
        Ok(marks) => Ok(Scan { marks, last_crc: seal.last_crc, ..Scan::begin(header, Some(seal)) }),
        // That says nothing of the index.
        Err(error @ Error::NoMemory { .. }) => Err(error),
        Err(error) => {
            let scan = scan_frames(file, header, Some(seal), in_base, |_| {})?;
            Ok(Scan { index_problem: Some(error), ..scan })
        }
    }
}

/// The index of a sealed segment.
pub(super) fn read_index(file: &dyn File, header: &SegmentHeader, seal: &Seal) -> Result<Vec<FrameMark>> {
    let frames = seal.end_frame_no - header.start_frame_no + 1;
    let layout = FrameLayout::new(header.page_size);
    let size = file.size()?;
    // Before anything is computed or allocated for a number of frames that the file cannot hold.
    if frames > layout.most_in(size) {
        let what =
            format!("the file has {size} bytes, too few for the {frames} frames that its seal tells of");
        return Err(Error::corrupt(file.path(), None, what));
    }
    let offset = index_offset(layout.offset(frames));
    let mut bytes = Vec::new();
    memory::resize(&mut bytes, index_size(frames) as usize, "the index of a segment")?;
    file.read_exact_at(&mut bytes, offset)?;
    let mut marks = Vec::new();
    memory::reserve(&mut marks, frames as usize, "the list of a segment's frames")?;
    decode_index(&bytes, frames, header.crc(), seal.index_crc, &mut marks)
        .map_err(|problem| Error::corrupt(file.path(), offset, problem))?;
    Ok(marks)
}
