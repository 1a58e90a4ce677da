//! A decoded page block.

use crate::error::Result;
use crate::format::Problem;
use crate::format::bundle::{BlockInfo, BlockReader};
use crate::memory;
use crate::types::PageSize;

/// The newest image of each page in a block.
pub(super) struct Decoded {
    /// Page and frame of each image, pages ascending.
    pub pages: Vec<(u32, u64)>,
    /// The images, one after the other.
    pub images: Vec<u8>,
}

impl Decoded {
    /// Room for a block, in what another one leaves if there is such.
    ///
    /// Errors: [`NoMemory`](crate::Error::NoMemory).
    pub(super) fn for_block(info: &BlockInfo, page_size: PageSize, used: Option<Decoded>) -> Result<Decoded> {
        let mut room = used.unwrap_or(Decoded { pages: Vec::new(), images: Vec::new() });
        room.pages.clear();
        room.images.clear();
        memory::reserve(&mut room.pages, info.image_count as usize, "the pages of a bundle")?;
        memory::reserve(&mut room.images, info.decoded_len_max(page_size), "the pages of a bundle")?;
        Ok(room)
    }

    /// Decode a block: frames up to `up_to_frame_no`, pages in `wanted`.
    pub(super) fn fill(
        mut self,
        info: &BlockInfo,
        bytes: &[u8],
        page_size: PageSize,
        up_to_frame_no: u64,
        wanted: std::ops::RangeInclusive<u32>,
    ) -> std::result::Result<Decoded, Problem> {
        let mut reader = BlockReader::new(info, bytes, page_size)?;
        let Decoded { pages, images } = &mut self;
        while let Some((page_no, frame_no, image)) = reader.next_image()? {
            if frame_no > up_to_frame_no || !wanted.contains(&page_no) {
                continue;
            }
            match pages.last_mut() {
                // Frames of a page ascend.
                Some(last) if last.0 == page_no => {
                    *last = (page_no, frame_no);
                    images.truncate(images.len() - page_size.bytes());
                }
                _ => pages.push((page_no, frame_no)),
            }
            images.extend_from_slice(image);
        }
        Ok(self)
    }
}
