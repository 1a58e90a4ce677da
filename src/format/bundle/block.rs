//! Page blocks: a directory, then the stored images of pages.
//!
//! A block can be decoded alone. Its images are ascending by page, and by frame within a page. The first image of a
//! page is stored as it is, or LZ4-compressed; each one after it may instead be its difference (exclusive or) to the image
//! before it, LZ4-compressed: consecutive images of a page mostly differ in a few bytes.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::varint;
use super::{Content, Span, Trailer};
use crate::error;
use crate::format::{Problem, crc32};
use crate::memory;
use crate::types::PageSize;

/// Bytes of a block's record in the page index.
pub const BLOCK_INFO_SIZE: usize = 32;
/// A block ends when it has this many images,
const IMAGES_TARGET: u32 = 512;
/// or this many bytes of different pages when decoded (one page at least),
const DECODED_TARGET: usize = 64 << 10;
/// or this many stored bytes. Small blocks, since a merge holds one or two of each bundle in memory.
const STORED_TARGET: usize = 64 << 10;

/// A directory has at most so many bytes for each image.
const DIRECTORY_ENTRY_MAX: usize = 20;

/// What memory is taken for.
const BLOCK: &str = "a page block";

/// Limits that a reader holds a block to: images,
const IMAGES_MAX: u32 = 512;
/// bytes of different pages when decoded,
const DECODED_MAX: usize = 256 << 10;
/// and bytes as it is stored.
const LEN_MAX: u32 = 384 << 10;

const _: () = {
    assert!(IMAGES_TARGET <= IMAGES_MAX && DECODED_TARGET <= DECODED_MAX);
    // The last image may go beyond the target.
    assert!(STORED_TARGET + 65536 + DIRECTORY_ENTRY_MAX * IMAGES_MAX as usize <= LEN_MAX as usize);
};

/// Encodings of an image.
const RAW: u64 = 0;
const LZ4: u64 = 1;
const DIFFERENCE: u64 = 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawInfo {
    first_page_no: U32,
    last_page_no: U32,
    image_count: U32,
    directory_len: U32,
    len: U32,
    crc: U32,
    max_frame_no: U64,
}

const _: () = assert!(size_of::<RawInfo>() == BLOCK_INFO_SIZE);

/// What the page index says of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its first page.
    pub first_page_no: u32,
    /// Its last page.
    pub last_page_no: u32,
    /// Images in it.
    pub image_count: u32,
    /// The newest frame in it.
    pub max_frame_no: u64,
    /// Where it is in the object.
    pub span: Span,
    directory_len: u32,
    crc: u32,
}

impl BlockInfo {
    /// The most bytes that the last images of its pages take when decoded.
    pub fn decoded_len_max(&self, page_size: PageSize) -> usize {
        let images = self.image_count.min(IMAGES_MAX) as usize;
        images.min(pages_max(page_size)) * page_size.bytes()
    }
}

/// The most pages that a block has images of.
fn pages_max(page_size: PageSize) -> usize {
    DECODED_MAX / page_size.bytes()
}

pub(super) fn decode_index(index: &[u8], pages: Span, trailer: &Trailer) -> Result<Vec<BlockInfo>, Problem> {
    let records = <[RawInfo]>::ref_from_bytes(index)
        .map_err(|_| format!("a page index of {} bytes is no whole number of records", index.len()))?;
    let mut infos = Vec::with_capacity(records.len());
    let mut at = pages.start;
    let mut page_before = 0;
    for raw in records {
        let end = at + u64::from(raw.len.get());
        let info = BlockInfo {
            first_page_no: raw.first_page_no.get(),
            last_page_no: raw.last_page_no.get(),
            image_count: raw.image_count.get(),
            max_frame_no: raw.max_frame_no.get(),
            span: at..end,
            directory_len: raw.directory_len.get(),
            crc: raw.crc.get(),
        };
        // Within a bundle of every frame, the images of one page may go on in the next block.
        let least = page_before + u32::from(trailer.content != Content::EveryFrame);
        if info.first_page_no == 0
            || info.first_page_no < least
            || info.last_page_no < info.first_page_no
            || info.image_count == 0
            || info.image_count > IMAGES_MAX
            || raw.len.get() > LEN_MAX
            || info.directory_len > raw.len.get()
            || info.max_frame_no > trailer.end_frame_no
        {
            return Err(format!("the page index is not in order at page {}", info.first_page_no));
        }
        page_before = info.last_page_no.min(u32::MAX - 1);
        at = end;
        infos.push(info);
    }
    if at != pages.end {
        return Err(format!("the page blocks end at offset {at}, expected {}", pages.end));
    }
    Ok(infos)
}

/// Collects images into blocks.
pub(super) struct BlockWriter {
    page_size: PageSize,
    directory: Vec<u8>,
    data: Vec<u8>,
    first_page_no: u32,
    image_count: u32,
    page_count: usize,
    max_frame_no: u64,
    /// The last image that was pushed.
    page_no: u32,
    frame_no: u64,
    image: Vec<u8>,
    scratch: Vec<u8>,
}

impl BlockWriter {
    pub(super) fn new(page_size: PageSize) -> BlockWriter {
        BlockWriter {
            page_size,
            directory: Vec::new(),
            data: Vec::new(),
            first_page_no: 0,
            image_count: 0,
            page_count: 0,
            max_frame_no: 0,
            page_no: 0,
            frame_no: 0,
            image: Vec::new(),
            scratch: vec![0; lz4_flex::block::get_maximum_output_size(page_size.bytes())],
        }
    }

    pub(super) fn stored_len(&self) -> usize {
        self.directory.len() + self.data.len()
    }

    /// Whether the next image, of page `page_no`, belongs to another block.
    pub(super) fn is_full(&self, page_no: u32) -> bool {
        let pages = self.page_count + usize::from(page_no != self.page_no);
        self.image_count > 0
            && (self.image_count >= IMAGES_TARGET
                || pages * self.page_size.bytes() > DECODED_TARGET
                || self.stored_len() >= STORED_TARGET)
    }

    /// Take the memory of one more image.
    pub(super) fn reserve(&mut self) -> error::Result<()> {
        memory::reserve(&mut self.directory, DIRECTORY_ENTRY_MAX, BLOCK)?;
        memory::reserve(&mut self.data, self.page_size.bytes(), BLOCK)?;
        let image = self.page_size.bytes().saturating_sub(self.image.len());
        memory::reserve(&mut self.image, image, BLOCK)
    }

    /// Add an image, behind the one before it in the order of pages and frames.
    pub(super) fn push(&mut self, page_no: u32, frame_no: u64, image: &[u8]) {
        if self.image_count == 0 {
            self.first_page_no = page_no;
            self.page_no = page_no;
            self.frame_no = 0;
            self.page_count = 0;
        }
        let same_page = self.image_count > 0 && page_no == self.page_no;
        let encoding = if same_page {
            for (old, &new) in self.image.iter_mut().zip(image) {
                *old ^= new;
            }
            DIFFERENCE
        } else {
            self.page_count += 1;
            self.image.clear();
            self.image.extend_from_slice(image);
            LZ4
        };
        let len = lz4_flex::block::compress_into(&self.image, &mut self.scratch).unwrap_or(usize::MAX);
        let (encoding, stored) =
            if len < image.len() { (encoding, &self.scratch[..len]) } else { (RAW, image) };
        varint::put(&mut self.directory, u64::from(page_no - self.page_no));
        varint::put_difference(&mut self.directory, self.frame_no, frame_no);
        varint::put(&mut self.directory, (stored.len() as u64) << 2 | encoding);
        self.data.extend_from_slice(stored);
        if same_page {
            self.image.copy_from_slice(image);
        }
        self.page_no = page_no;
        self.frame_no = frame_no;
        self.max_frame_no = self.max_frame_no.max(frame_no);
        self.image_count += 1;
    }

    /// End the block: its bytes go to `out`, its record to `index`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, index: &mut Vec<u8>) {
        if self.image_count == 0 {
            return;
        }
        let raw = RawInfo {
            first_page_no: self.first_page_no.into(),
            last_page_no: self.page_no.into(),
            image_count: self.image_count.into(),
            directory_len: (self.directory.len() as u32).into(),
            len: (self.stored_len() as u32).into(),
            crc: crc32(0, &[&self.directory, &self.data]).into(),
            max_frame_no: self.max_frame_no.into(),
        };
        index.extend_from_slice(raw.as_bytes());
        out.extend_from_slice(&self.directory);
        out.extend_from_slice(&self.data);
        self.directory.clear();
        self.data.clear();
        self.image_count = 0;
        self.max_frame_no = 0;
    }
}

/// A page, a frame, and the image of the page as of that frame.
pub type Image<'a> = (u32, u64, &'a [u8]);

/// Reads the images of a block, in order.
pub struct BlockReader<'a> {
    directory: &'a [u8],
    data: &'a [u8],
    left: u32,
    last_page_no: u32,
    max_frame_no: u64,
    page_no: u32,
    frame_no: u64,
    /// Pages that may still come.
    pages_left: usize,
    image: Vec<u8>,
    scratch: Vec<u8>,
    has_image: bool,
}

impl<'a> BlockReader<'a> {
    /// Check a block's bytes against its record.
    pub fn new(info: &BlockInfo, bytes: &'a [u8], page_size: PageSize) -> Result<BlockReader<'a>, Problem> {
        if bytes.len() as u64 != info.span.end - info.span.start {
            return Err(format!(
                "a page block has {} bytes, expected {}",
                bytes.len(),
                info.span.end - info.span.start
            ));
        }
        let crc = crc32(0, &[bytes]);
        if crc != info.crc {
            return Err(format!("a page block has checksum {crc:08x}, expected {:08x}", info.crc));
        }
        let (directory, data) = bytes
            .split_at_checked(info.directory_len as usize)
            .ok_or_else(|| "a page block is shorter than its directory".to_owned())?;
        Ok(BlockReader {
            directory,
            data,
            left: info.image_count,
            last_page_no: info.last_page_no,
            max_frame_no: info.max_frame_no,
            page_no: info.first_page_no,
            frame_no: 0,
            pages_left: pages_max(page_size),
            image: vec![0; page_size.bytes()],
            scratch: vec![0; page_size.bytes()],
            has_image: false,
        })
    }

    /// The next image: its page and its frame. `None`: that was all.
    pub fn next_image(&mut self) -> Result<Option<Image<'_>>, Problem> {
        if self.left == 0 {
            if !self.directory.is_empty() || !self.data.is_empty() || self.page_no != self.last_page_no {
                return Err("a page block holds more or less than its record says".into());
            }
            return Ok(None);
        }
        self.left -= 1;
        let step = varint::take(&mut self.directory)?;
        let page_no = u32::try_from(step)
            .ok()
            .and_then(|step| self.page_no.checked_add(step))
            .filter(|&page_no| page_no <= self.last_page_no)
            .ok_or_else(|| format!("a page block has a page beyond page {}", self.last_page_no))?;
        let frame_no = varint::take_difference(&mut self.directory, self.frame_no)?;
        let same_page = self.has_image && step == 0;
        if !self.has_image && step != 0 {
            return Err(format!("a page block begins with page {page_no}, not with that of its record"));
        }
        if !same_page {
            self.pages_left =
                self.pages_left.checked_sub(1).ok_or_else(|| "a page block has too many pages".to_owned())?;
        }
        if frame_no > self.max_frame_no || (same_page && frame_no <= self.frame_no) {
            return Err(format!("frame {frame_no} of page {page_no} is out of order"));
        }
        let stored = varint::take(&mut self.directory)?;
        let (data, rest) = usize::try_from(stored >> 2)
            .ok()
            .and_then(|len| self.data.split_at_checked(len))
            .ok_or_else(|| format!("frame {frame_no} of page {page_no} is cut short"))?;
        self.data = rest;
        match stored & 3 {
            RAW if data.len() == self.image.len() => self.image.copy_from_slice(data),
            LZ4 => decompress(data, &mut self.image)?,
            DIFFERENCE if same_page => {
                decompress(data, &mut self.scratch)?;
                for (byte, &change) in self.image.iter_mut().zip(&self.scratch) {
                    *byte ^= change;
                }
            }
            encoding => {
                return Err(format!("frame {frame_no} of page {page_no} has encoding {encoding} here"));
            }
        }
        self.has_image = true;
        self.page_no = page_no;
        self.frame_no = frame_no;
        Ok(Some((page_no, frame_no, &self.image)))
    }
}

/// Decompress to exactly one page: what holds more or less is damaged, or hostile.
fn decompress(data: &[u8], page: &mut [u8]) -> Result<(), Problem> {
    match lz4_flex::block::decompress_into(data, page) {
        Ok(len) if len == page.len() => Ok(()),
        Ok(len) => Err(format!("a page decompresses to {len} bytes, expected {}", page.len())),
        Err(error) => Err(format!("a page does not decompress: {error}")),
    }
}

/// A record that fits `bytes`, whatever they are.
#[cfg(test)]
pub(super) fn test_info(
    first_page_no: u32,
    last_page_no: u32,
    image_count: u32,
    directory_len: u32,
    bytes: &[u8],
) -> BlockInfo {
    BlockInfo {
        first_page_no,
        last_page_no,
        image_count,
        max_frame_no: u64::MAX,
        span: 0..bytes.len() as u64,
        directory_len,
        crc: crc32(0, &[bytes]),
    }
}
