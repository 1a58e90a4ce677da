//! Copying a segment whose fsync nobody knows to have succeeded.

use super::scan::{Frames, Scan, verify_next};
use crate::error::{Error, Result};
use crate::io::File;

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

/// Copy the frames of `scan`, which are those of `file`, into the new file `copy`, and fsync it.
///
/// The frames are verified once more: pages whose fsync failed may be dropped from memory at any time, and what is read in
/// their place from the disk is not what was scanned.
pub fn copy_frames(file: &dyn File, scan: &Scan, copy: &dyn File) -> Result<()> {
    let header = &scan.header;
    let seed = header.crc();
    let mut frames = Frames::new(file, header);
    let mut chain = seed;
    let mut written = 0;
    let mut buffer = header.encode_head();
    for at in 0..scan.marks.len() as u64 {
        let (frame_no, offset) = (header.start_frame_no + at, frames.offset(at));
        let problem = match frames.get(at)? {
            None => format!("the file ends before frame {frame_no}"),
            Some(frame) => match verify_next(frame, frame_no, seed, chain) {
                Ok(verified) => {
                    chain = verified.crc.get();
                    buffer.extend_from_slice(frame);
                    if buffer.len() >= CHUNK {
                        copy.write_at(&buffer, written)?;
                        written += buffer.len() as u64;
                        buffer.clear();
                    }
                    continue;
                }
                Err(problem) => problem,
            },
        };
        let what = format!("{problem}, although it was whole a moment ago: open the database again");
        return Err(Error::corrupt(file.path(), offset, what));
    }
    copy.write_at(&buffer, written)?;
    copy.sync()
}
