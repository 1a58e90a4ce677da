//! Copying a segment whose fsync nobody knows to have succeeded.

use super::Segment;
use super::scan::{Frames, verify_next};
use crate::error::{Error, Result};
use crate::format::Problem;
use crate::format::frame::{FrameHeader, verify};
use crate::io::{File, SyncSite};
use crate::memory;

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

impl Segment {
    /// Copy the published frames into the new file `copy`, and fsync it.
    ///
    /// They are verified once more: pages whose fsync failed may be dropped from memory at any time, and what is read in
    /// their place from the disk is not what recovery has seen.
    ///
    /// The frames that recovery stepped over are copied as they are: the checksum of the last one may be what shows that the next
    /// frame follows it.
    pub fn copy_to(&self, copy: &dyn File, site: SyncSite) -> Result<()> {
        let mut frames = Frames::new(&*self.file, &self.header)?;
        let mut chain = Some(self.seed);
        let mut written = 0;
        let mut buffer = self.header.encode_head();
        // It ends a piece with the frame that makes it long enough.
        memory::reserve(&mut buffer, CHUNK + self.frame_size(), "a copy of a segment")?;
        if self.first > self.start() {
            copy.write_at(&buffer, 0)?;
            buffer.clear();
            chain = None;
            let mut frame = Vec::new();
            memory::resize(&mut frame, self.frame_size(), "a frame")?;
            for frame_no in self.start()..self.first {
                let offset = self.frame_offset(frame_no);
                // One that cannot be read is a hole in the copy: recovery did without it.
                if self.file.read_at(&mut frame, offset).is_ok_and(|got| got == frame.len()) {
                    copy.write_at(&frame, offset)?;
                }
            }
            written = self.frame_offset(self.first);
        }
        for frame_no in self.first..=self.end() {
            let at = frame_no - self.start();
            let offset = frames.offset(at);
            let problem = match frames.get(at)? {
                None => format!("the file ends before frame {frame_no}"),
                Some(frame) => match follow(frame, frame_no, self.seed, chain) {
                    Ok(verified) => {
                        chain = Some(verified.crc.get());
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
            let what = format!("{problem}, although it was whole when the log was opened: open it again");
            return Err(Error::corrupt(&self.path, offset, what));
        }
        copy.write_at(&buffer, written)?;
        copy.sync(site)
    }
}

/// Check a frame that follows one with the checksum `chain`; `None`: recovery has found that it follows.
fn follow(frame: &[u8], frame_no: u64, seed: u32, chain: Option<u32>) -> Result<&FrameHeader, Problem> {
    match chain {
        Some(chain) => verify_next(frame, frame_no, seed, chain),
        None => verify(frame, frame_no, seed),
    }
}
