//! A frame: one page as a transaction left it.
//!
//! SQLite's own 24-byte frame header comes first and is kept to the byte, since `wal.c` may read it back
//! (<https://sqlite.org/fileformat2.html#walformat>). Behind it stand the frame number, the commit time, how far the log
//! was fsynced when the frame was written, and a checksum that covers all of it, the page, and (through `previous_crc`)
//! every frame before it. Since `previous_crc` is part of the frame, one frame can be verified alone.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::segment_header::SEGMENT_HEAD_SIZE;
use super::{Problem, crc32};
use crate::types::PageSize;

/// Bytes of SQLite's frame header.
pub const SQLITE_FRAME_HEADER_SIZE: usize = 24;
/// Bytes before the page.
pub const FRAME_HEADER_SIZE: usize = 56;

/// The header of a frame as it is on disk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub struct FrameHeader {
    /// SQLite: page number.
    pub page_no: U32,
    /// SQLite: for a commit frame the size of the database in pages, else 0.
    pub db_size_pages: U32,
    /// SQLite: the two salts and the two checksums of its WAL.
    pub sqlite_rest: [u8; 16],
    /// The replication index of the frame.
    pub frame_no: U64,
    /// For a commit frame the time, microseconds since 1970, else 0.
    pub commit_us: U64,
    /// The log was fsynced up to this frame when this one was written.
    pub synced_frame_no: U64,
    /// `crc` of the frame before, or of the segment header for the first one.
    pub previous_crc: U32,
    /// CRC-32 of the header before this field, then the page, seeded with the checksum of the segment's header.
    pub crc: U32,
}

const _: () = {
    assert!(size_of::<FrameHeader>() == FRAME_HEADER_SIZE);
    assert!(std::mem::offset_of!(FrameHeader, sqlite_rest) == 8);
    assert!(std::mem::offset_of!(FrameHeader, frame_no) == SQLITE_FRAME_HEADER_SIZE);
    assert!(std::mem::offset_of!(FrameHeader, previous_crc) == 48);
    assert!(std::mem::offset_of!(FrameHeader, crc) == 52);
};

/// Where the frames of a segment are: one after the other, after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    frame_size: u64,
}

impl FrameLayout {
    /// The layout of a segment with pages of this size.
    pub fn new(page_size: PageSize) -> FrameLayout {
        FrameLayout { frame_size: (FRAME_HEADER_SIZE + page_size.bytes()) as u64 }
    }

    /// Bytes of a frame.
    pub fn frame_size(self) -> usize {
        self.frame_size as usize
    }

    /// Byte offset of the frame at `index`, counted from 0: where that many frames end.
    pub fn offset(self, index: u64) -> u64 {
        SEGMENT_HEAD_SIZE as u64 + index * self.frame_size
    }

    /// The same for a number that may come from damage. `None`: no file goes so far.
    pub fn checked_offset(self, index: u64) -> Option<u64> {
        index.checked_mul(self.frame_size)?.checked_add(SEGMENT_HEAD_SIZE as u64)
    }

    /// The index of the frame that has the byte at `offset`, which is not before the first frame.
    pub fn index_at(self, offset: u64) -> u64 {
        offset.saturating_sub(SEGMENT_HEAD_SIZE as u64) / self.frame_size
    }

    /// How many whole frames there may be in a file of `size` bytes, at most.
    pub fn most_in(self, size: u64) -> u64 {
        self.index_at(size)
    }
}

/// Offset of our fields: what [`FrameStamp`] fills in.
const STAMP_OFFSET: usize = SQLITE_FRAME_HEADER_SIZE;

/// The fields that the log adds to SQLite's header.
#[derive(Clone, Copy, Debug)]
pub struct FrameStamp {
    /// Checksum of the segment's header, so that frames of another life of the file never pass for frames of this one.
    pub seed: u32,
    /// See [`FrameHeader::frame_no`].
    pub frame_no: u64,
    /// See [`FrameHeader::commit_us`].
    pub commit_us: u64,
    /// See [`FrameHeader::synced_frame_no`].
    pub synced_frame_no: u64,
    /// See [`FrameHeader::previous_crc`].
    pub previous_crc: u32,
}

impl FrameStamp {
    /// Fill in the fields behind SQLite's header of `frame` (header and page) and return its checksum.
    pub fn apply(&self, frame: &mut [u8]) -> u32 {
        let (header, page) = frame.split_at_mut(FRAME_HEADER_SIZE);
        header[STAMP_OFFSET..STAMP_OFFSET + 8].copy_from_slice(&self.frame_no.to_be_bytes());
        header[STAMP_OFFSET + 8..STAMP_OFFSET + 16].copy_from_slice(&self.commit_us.to_be_bytes());
        header[STAMP_OFFSET + 16..STAMP_OFFSET + 24].copy_from_slice(&self.synced_frame_no.to_be_bytes());
        header[STAMP_OFFSET + 24..STAMP_OFFSET + 28].copy_from_slice(&self.previous_crc.to_be_bytes());
        let crc = crc32(self.seed, &[&header[..FRAME_HEADER_SIZE - 4], page]);
        header[FRAME_HEADER_SIZE - 4..].copy_from_slice(&crc.to_be_bytes());
        crc
    }
}

/// When the commit that `frame` (header and page) ends was made, microseconds since 1970; `None`: it ends none.
pub fn commit_time(frame: &[u8]) -> Option<u64> {
    let (header, _) = FrameHeader::ref_from_prefix(frame).ok()?;
    (header.db_size_pages.get() != 0).then(|| header.commit_us.get())
}

/// The checksum in the header of `frame` (header and page), and the one that its bytes have. Equal: it is intact.
pub fn checksums(frame: &[u8], seed: u32) -> (u32, u32) {
    let (header, page) = frame.split_at(FRAME_HEADER_SIZE);
    let (covered, crc) = header.split_at(FRAME_HEADER_SIZE - 4);
    (u32::from_be_bytes([crc[0], crc[1], crc[2], crc[3]]), crc32(seed, &[covered, page]))
}

/// Check that `frame` (header and page) is intact and is frame `frame_no` of the segment whose header has the checksum
/// `seed`. Says nothing about the chain.
pub fn verify(frame: &[u8], frame_no: u64, seed: u32) -> Result<&FrameHeader, Problem> {
    let Some((header, page)) = frame.split_at_checked(FRAME_HEADER_SIZE) else {
        return Err(format!("frame {frame_no} is cut short: {} bytes", frame.len()));
    };
    let crc = crc32(seed, &[&header[..FRAME_HEADER_SIZE - 4], page]);
    let header = FrameHeader::ref_from_bytes(header).map_err(|error| error.to_string())?;
    if header.crc.get() != crc {
        return Err(format!("frame {frame_no} has checksum {:08x}, expected {crc:08x}", header.crc));
    }
    if header.frame_no.get() != frame_no {
        return Err(format!("frame {} stands where frame {frame_no} belongs", header.frame_no));
    }
    if header.page_no.get() == 0 {
        return Err(format!("frame {frame_no} is for page 0, and pages start at 1"));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_the_head_of_a_segment() {
        let layout = FrameLayout::new(PageSize::new(512).unwrap());
        assert_eq!((layout.offset(0), layout.offset(3)), (4096, 4096 + 3 * 568));
        assert_eq!(layout.checked_offset(3), Some(layout.offset(3)));
        assert_eq!(layout.checked_offset(u64::MAX / 600), Some(layout.offset(u64::MAX / 600)));
        assert_eq!(layout.checked_offset(u64::MAX / 568), None);
        assert_eq!((layout.index_at(4096 + 567), layout.index_at(4096 + 568)), (0, 1));
        assert_eq!((layout.most_in(100), layout.most_in(4096 + 1136)), (0, 2));
    }

    #[test]
    fn any_flipped_bit_breaks_the_frame() {
        let mut frame = vec![0u8; FRAME_HEADER_SIZE + 512];
        frame[3] = 9;
        let stamp = FrameStamp { seed: 5, frame_no: 42, commit_us: 1, synced_frame_no: 40, previous_crc: 7 };
        let crc = stamp.apply(&mut frame);
        let header = verify(&frame, 42, 5).unwrap();
        assert_eq!((header.page_no.get(), header.crc.get(), header.previous_crc.get()), (9, crc, 7));
        assert!(verify(&frame, 43, 5).is_err());
        assert!(verify(&frame, 42, 6).is_err());
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&frame, 42, 5).is_err(), "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..frame.len() {
            assert!(verify(&frame[..cut], 42, 5).is_err());
        }
    }
}
