//! The head of a segment file: one block of 4096 bytes with two records, the header and the seal.
//!
//! The header is written before the first frame. Its checksum is the start of the checksum chain of the frames, and it
//! covers the log id, the first frame number and a random salt: frames that a recycled file still holds from its former
//! life can never continue the chain of the new one.
//!
//! The seal is written when the segment is complete *and its frames are fsynced*, in a sector of its own, together with
//! the index behind the frames (`segment_index.rs`), whose checksum it holds. Damage behind a seal is damage; damage in an
//! unsealed segment is what a crash leaves.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Problem, crc32};
use crate::types::{LogId, PageSize};

const HEADER_MAGIC: u64 = u64::from_be_bytes(*b"VWALSEGM");
const SEAL_MAGIC: u64 = u64::from_be_bytes(*b"VWALSEAL");
const VERSION: u32 = 2;

/// Bytes before the first frame.
pub const SEGMENT_HEAD_SIZE: usize = 4096;
/// Offset of the seal: the last 512-byte sector of the head.
pub const SEAL_OFFSET: usize = SEGMENT_HEAD_SIZE - 512;
/// Bytes of the header record.
pub const SEGMENT_HEADER_SIZE: usize = 64;
/// Bytes of the seal record.
pub const SEAL_SIZE: usize = 36;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: U64,
    version: U32,
    page_size: U32,
    log_id: [u8; 16],
    start_frame_no: U64,
    created_us: U64,
    salt: U64,
    previous_crc: U32,
    crc: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSeal {
    magic: U64,
    end_frame_no: U64,
    sealed_us: U64,
    last_crc: U32,
    index_crc: U32,
    crc: U32,
}

const _: () = {
    assert!(size_of::<RawHeader>() == SEGMENT_HEADER_SIZE);
    assert!(std::mem::offset_of!(RawHeader, log_id) == 16);
    assert!(std::mem::offset_of!(RawHeader, start_frame_no) == 32);
    assert!(std::mem::offset_of!(RawHeader, crc) == 60);
    assert!(size_of::<RawSeal>() == SEAL_SIZE);
    assert!(std::mem::offset_of!(RawSeal, crc) == 32);
};

impl RawHeader {
    fn expected_crc(&self) -> u32 {
        crc32(0, &[&self.as_bytes()[..SEGMENT_HEADER_SIZE - 4]])
    }
}

/// No log gets beyond 2^62 frames, so sums of frame numbers in range never overflow.
fn is_frame_no(number: u64) -> bool {
    (1..=1 << 62).contains(&number)
}

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Page size of its frames.
    pub page_size: PageSize,
    /// Number of its first frame.
    pub start_frame_no: u64,
    /// When it was begun, microseconds since 1970.
    pub created_us: u64,
    /// Random, so that two lives of a file differ.
    pub salt: u64,
    /// Checksum of the frame before the first one: ties the segments of a log together.
    pub previous_crc: u32,
}

impl SegmentHeader {
    fn raw(&self) -> RawHeader {
        let mut raw = RawHeader {
            magic: HEADER_MAGIC.into(),
            version: VERSION.into(),
            page_size: self.page_size.get().into(),
            log_id: self.log_id.to_bytes(),
            start_frame_no: self.start_frame_no.into(),
            created_us: self.created_us.into(),
            salt: self.salt.into(),
            previous_crc: self.previous_crc.into(),
            crc: 0.into(),
        };
        raw.crc = raw.expected_crc().into();
        raw
    }

    /// The checksum of the header, where the chain of the frames begins.
    pub fn crc(&self) -> u32 {
        self.raw().crc.get()
    }

    /// The whole head with this header and no seal: [`SEGMENT_HEAD_SIZE`] bytes. Writing all of it removes the seal of
    /// the file's former life.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut head = vec![0; SEGMENT_HEAD_SIZE];
        head[..SEGMENT_HEADER_SIZE].copy_from_slice(self.raw().as_bytes());
        head
    }

    /// Whether a head is that of a segment which starts at `start` and is of another version: written whole, by another
    /// vwal. What it holds is not for this one to judge.
    pub fn is_of_another_version(head: &[u8], start: u64) -> bool {
        let record =
            head.get(..SEGMENT_HEADER_SIZE).and_then(|record| RawHeader::ref_from_bytes(record).ok());
        record.is_some_and(|raw| {
            raw.magic.get() == HEADER_MAGIC
                && raw.version.get() != VERSION
                && raw.crc.get() == raw.expected_crc()
                && raw.start_frame_no.get() == start
        })
    }

    /// Check and read the header at the start of a segment file.
    pub fn decode(head: &[u8]) -> Result<SegmentHeader, Problem> {
        let record = head.get(..SEGMENT_HEADER_SIZE).ok_or_else(|| {
            format!("the segment has {} bytes, its header alone has {SEGMENT_HEADER_SIZE}", head.len())
        })?;
        let raw = RawHeader::ref_from_bytes(record).map_err(|error| error.to_string())?;
        if raw.magic.get() != HEADER_MAGIC {
            return Err("this is not a vwal segment (wrong magic)".into());
        }
        if raw.version.get() != VERSION {
            return Err(format!("segment version {}, this vwal reads version {VERSION}", raw.version));
        }
        let crc = raw.expected_crc();
        if raw.crc.get() != crc {
            return Err(format!("segment header checksum {:08x}, expected {crc:08x}", raw.crc));
        }
        if !is_frame_no(raw.start_frame_no.get()) {
            return Err(format!(
                "the segment starts at frame {}; frame numbers are 1 to 2^62",
                raw.start_frame_no
            ));
        }
        Ok(SegmentHeader {
            log_id: LogId::from_bytes(raw.log_id),
            page_size: PageSize::new(raw.page_size.get())
                .ok_or_else(|| format!("segment with page size {}", raw.page_size))?,
            start_frame_no: raw.start_frame_no.get(),
            created_us: raw.created_us.get(),
            salt: raw.salt.get(),
            previous_crc: raw.previous_crc.get(),
        })
    }
}

/// The seal of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Its last frame.
    pub end_frame_no: u64,
    /// When it was sealed, microseconds since 1970.
    pub sealed_us: u64,
    /// Checksum of its last frame.
    pub last_crc: u32,
    /// Checksum of its index.
    pub index_crc: u32,
}

impl Seal {
    /// The bytes to write at [`SEAL_OFFSET`]. The header's checksum is covered, so a seal cannot outlive its header.
    pub fn encode(&self, header: &SegmentHeader) -> [u8; SEAL_SIZE] {
        let mut raw = RawSeal {
            magic: SEAL_MAGIC.into(),
            end_frame_no: self.end_frame_no.into(),
            sealed_us: self.sealed_us.into(),
            last_crc: self.last_crc.into(),
            index_crc: self.index_crc.into(),
            crc: 0.into(),
        };
        raw.crc = crc32(header.crc(), &[&raw.as_bytes()[..SEAL_SIZE - 4]]).into();
        let mut bytes = [0; SEAL_SIZE];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Whether a head holds a whole seal under a header with the checksum `header_crc`, which need not be there any more.
    pub fn is_whole(head: &[u8], header_crc: u32) -> bool {
        head.get(SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE)
            .and_then(|record| RawSeal::ref_from_bytes(record).ok())
            .is_some_and(|raw| {
                raw.magic.get() == SEAL_MAGIC
                    && raw.crc.get() == crc32(header_crc, &[&raw.as_bytes()[..SEAL_SIZE - 4]])
            })
    }

    /// Check and read the seal of a segment head. `Ok(None)`: not sealed.
    pub fn decode(head: &[u8], header: &SegmentHeader) -> Result<Option<Seal>, Problem> {
        let Some(record) = head.get(SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE) else {
            return Ok(None);
        };
        if record.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let raw = RawSeal::ref_from_bytes(record).map_err(|error| error.to_string())?;
        let crc = crc32(header.crc(), &[&record[..SEAL_SIZE - 4]]);
        if raw.magic.get() != SEAL_MAGIC || raw.crc.get() != crc {
            return Err(format!("the seal has checksum {:08x}, expected {crc:08x}", raw.crc));
        }
        if raw.end_frame_no.get() < header.start_frame_no || !is_frame_no(raw.end_frame_no.get()) {
            return Err(format!(
                "the seal says that the segment ends at frame {}, but it starts at frame {}",
                raw.end_frame_no, header.start_frame_no
            ));
        }
        Ok(Some(Seal {
            end_frame_no: raw.end_frame_no.get(),
            sealed_us: raw.sealed_us.get(),
            last_crc: raw.last_crc.get(),
            index_crc: raw.index_crc.get(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipped_bits_in_header_and_seal_are_noticed() {
        let header = SegmentHeader {
            log_id: LogId(uuid::Uuid::from_u128(1)),
            page_size: PageSize::new(512).unwrap(),
            start_frame_no: 11,
            created_us: 5,
            salt: 99,
            previous_crc: 0xdead_beef,
        };
        let seal = Seal { end_frame_no: 20, sealed_us: 6, last_crc: 3, index_crc: 4 };
        let mut head = header.encode_head();
        assert_eq!(SegmentHeader::decode(&head), Ok(header));
        assert_eq!(Seal::decode(&head, &header), Ok(None));
        head[SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE].copy_from_slice(&seal.encode(&header));
        assert_eq!(Seal::decode(&head, &header), Ok(Some(seal)));
        for bit in 0..SEGMENT_HEADER_SIZE * 8 {
            let mut bad = head.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
        }
        for bit in 0..SEAL_SIZE * 8 {
            let mut bad = head.clone();
            bad[SEAL_OFFSET + bit / 8] ^= 1 << (bit % 8);
            assert!(Seal::decode(&bad, &header).is_err(), "bit {bit}");
        }
        let other = SegmentHeader { salt: 100, ..header };
        assert!(Seal::decode(&head, &other).is_err(), "a seal belongs to one header");
    }
}
