//! Copying a segment whose fsync nobody knows to have succeeded.

use super::Segment;
use super::scan::{Frames, verify_next};
use crate::error::{Error, Result};
use crate::io::{File, SyncSite};

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

impl Segment {
    /// Copy the published frames into the new file `copy`, and fsync it.
    ///
    /// They are verified once more: pages whose fsync failed may be dropped from memory at any time, and what is read in
    /// their place from the disk is not what recovery has seen.
    pub fn copy_to(&self, copy: &dyn File, site: SyncSite) -> Result<()> {
        let mut frames = Frames::new(&*self.file, &self.header);
        let mut chain = self.seed;
        let mut written = 0;
        let mut buffer = self.header.encode_head();
        for frame_no in self.start()..=self.end() {
            let at = frame_no - self.start();
            let offset = frames.offset(at);
            let problem = match frames.get(at)? {
                None => format!("the file ends before frame {frame_no}"),
                Some(frame) => match verify_next(frame, frame_no, self.seed, chain) {
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
            let what = format!("{problem}, although it was whole when the log was opened: open it again");
            return Err(Error::corrupt(&self.path, offset, what));
        }
        copy.write_at(&buffer, written)?;
        copy.sync(site)
    }
}
