//! The footer: a record behind the last page of the base file that says up to which frame of which log the file is.
//!
//! The first four fields are those of libsql's footer, in its order and endianness. The others tie the footer to the
//! pages before it: when SQLite without vwal writes to the file, the change counter moves on and the footer no longer
//! matches.

use zerocopy::byteorder::big_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Problem, crc32};
use crate::types::{LogId, PageSize, Parent};

const MAGIC: u64 = u64::from_be_bytes(*b"VWALFOOT");
const VERSION: u16 = 2;

/// Bytes of the footer.
pub const FOOTER_SIZE: usize = 86;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: U64,
    version: U16,
    replication_index: U64,
    log_id: U128,
    page_size: U32,
    db_size_pages: U32,
    change_counter: U32,
    version_valid_for: U32,
    commit_us: U64,
    parent_log_id: U128,
    parent_frame_no: U64,
    crc: U32,
}

const _: () = {
    assert!(size_of::<Raw>() == FOOTER_SIZE);
    assert!(std::mem::offset_of!(Raw, replication_index) == 10);
    assert!(std::mem::offset_of!(Raw, log_id) == 18);
    assert!(std::mem::offset_of!(Raw, page_size) == 34);
    assert!(std::mem::offset_of!(Raw, commit_us) == 50);
    assert!(std::mem::offset_of!(Raw, crc) == 82);
};

/// What a footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The base file holds every frame up to this one.
    pub frame_no: u64,
    /// The log it belongs to.
    pub log_id: LogId,
    /// Page size of the base file.
    pub page_size: PageSize,
    /// Pages before the footer. 0: a pass is under way that makes the file longer, and the footer has moved ahead.
    pub db_size_pages: u32,
    /// File change counter of page 1 when the footer was written.
    pub change_counter: u32,
    /// Version-valid-for number of page 1 when the footer was written.
    pub version_valid_for: u32,
    /// When `frame_no` was committed, microseconds since 1970; when the log began, if `frame_no` is 0.
    pub commit_us: u64,
    /// The log that this one continues, if it does.
    pub parent: Option<Parent>,
}

impl Footer {
    /// The bytes to write behind the last page.
    pub fn encode(&self) -> [u8; FOOTER_SIZE] {
        let mut raw = Raw {
            magic: MAGIC.into(),
            version: VERSION.into(),
            replication_index: self.frame_no.into(),
            log_id: self.log_id.0.as_u128().into(),
            page_size: self.page_size.get().into(),
            db_size_pages: self.db_size_pages.into(),
            change_counter: self.change_counter.into(),
            version_valid_for: self.version_valid_for.into(),
            commit_us: self.commit_us.into(),
            parent_log_id: self.parent.map_or(0, |parent| parent.log_id.0.as_u128()).into(),
            parent_frame_no: self.parent.map_or(0, |parent| parent.frame_no).into(),
            crc: 0.into(),
        };
        raw.crc = crc32(0, &[&raw.as_bytes()[..FOOTER_SIZE - 4]]).into();
        let mut bytes = [0; FOOTER_SIZE];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Check and read a footer.
    pub fn decode(bytes: &[u8]) -> Result<Footer, Problem> {
        let raw = Raw::ref_from_bytes(bytes)
            .map_err(|_| format!("the footer has {} bytes, expected {FOOTER_SIZE}", bytes.len()))?;
        if raw.magic.get() != MAGIC {
            return Err("this is not a vwal footer (wrong magic)".into());
        }
        if raw.version.get() != VERSION {
            return Err(format!("footer version {}, this vwal reads version {VERSION}", raw.version));
        }
        let crc = crc32(0, &[&bytes[..FOOTER_SIZE - 4]]);
        if raw.crc.get() != crc {
            return Err(format!("footer checksum {:08x}, expected {crc:08x}", raw.crc));
        }
        if raw.replication_index.get() > 1 << 62 {
            return Err(format!("footer with frame number {}", raw.replication_index));
        }
        Ok(Footer {
            frame_no: raw.replication_index.get(),
            log_id: LogId(uuid::Uuid::from_u128(raw.log_id.get())),
            page_size: PageSize::new(raw.page_size.get())
                .ok_or_else(|| format!("footer with page size {}", raw.page_size))?,
            db_size_pages: raw.db_size_pages.get(),
            change_counter: raw.change_counter.get(),
            version_valid_for: raw.version_valid_for.get(),
            commit_us: raw.commit_us.get(),
            parent: (raw.parent_log_id.get() != 0).then(|| Parent {
                log_id: LogId(uuid::Uuid::from_u128(raw.parent_log_id.get())),
                frame_no: raw.parent_frame_no.get(),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let footer = Footer {
            frame_no: 77,
            log_id: LogId(uuid::Uuid::from_u128(5)),
            page_size: PageSize::new(4096).unwrap(),
            db_size_pages: 12,
            change_counter: 3,
            version_valid_for: 3,
            commit_us: 1_700_000_000_000_000,
            parent: Some(Parent { log_id: LogId(uuid::Uuid::from_u128(4)), frame_no: 70 }),
        };
        let bytes = footer.encode();
        assert_eq!(Footer::decode(&bytes), Ok(footer));
        for at in 0..bytes.len() {
            assert!(Footer::decode(&bytes[..at]).is_err());
            for bit in 0..8 {
                let mut bad = bytes;
                bad[at] ^= 1 << bit;
                assert!(Footer::decode(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}
