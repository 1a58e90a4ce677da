//! The list of parts in the head of a bundle that is too large for one object.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::Problem;

/// Bytes of a part's record.
pub const PART_INFO_SIZE: usize = 48;

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Images of pages.
    Pages,
    /// A run of the commit table.
    Commits,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    number: U32,
    kind: U32,
    first_page_no: U32,
    last_page_no: U32,
    first_frame_no: U64,
    last_frame_no: U64,
    size: U64,
    trailer_crc: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<Raw>() == PART_INFO_SIZE);

/// A part of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number, from 1.
    pub number: u32,
    /// What it holds.
    pub kind: PartKind,
    /// First page of a part with pages, else 0.
    pub first_page_no: u32,
    /// Last page of a part with pages, else 0.
    pub last_page_no: u32,
    /// Last frame of the first commit in a part with commits, else 0.
    pub first_frame_no: u64,
    /// Last frame of the last commit in a part with commits, else 0.
    pub last_frame_no: u64,
    /// Bytes of the object.
    pub size: u64,
    /// The checksum in its trailer, which covers those of its indexes, and through them all of it.
    pub trailer_crc: u32,
}

impl PartInfo {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let raw = Raw {
            number: self.number.into(),
            kind: match self.kind {
                PartKind::Pages => 0,
                PartKind::Commits => 1,
            }
            .into(),
            first_page_no: self.first_page_no.into(),
            last_page_no: self.last_page_no.into(),
            first_frame_no: self.first_frame_no.into(),
            last_frame_no: self.last_frame_no.into(),
            size: self.size.into(),
            trailer_crc: self.trailer_crc.into(),
            reserved: 0.into(),
        };
        out.extend_from_slice(raw.as_bytes());
    }
}

/// Parts with pages come first, ascending; then those with commits, ascending.
pub(super) fn decode_list(list: &[u8]) -> Result<Vec<PartInfo>, Problem> {
    let records = <[Raw]>::ref_from_bytes(list)
        .map_err(|_| format!("a list of parts of {} bytes is no whole number of records", list.len()))?;
    let mut parts: Vec<PartInfo> = Vec::with_capacity(records.len());
    for (number, raw) in (1u32..).zip(records) {
        let part = PartInfo {
            number: raw.number.get(),
            kind: match raw.kind.get() {
                0 => PartKind::Pages,
                1 => PartKind::Commits,
                kind => return Err(format!("part {number} is of kind {kind}")),
            },
            first_page_no: raw.first_page_no.get(),
            last_page_no: raw.last_page_no.get(),
            first_frame_no: raw.first_frame_no.get(),
            last_frame_no: raw.last_frame_no.get(),
            size: raw.size.get(),
            trailer_crc: raw.trailer_crc.get(),
        };
        let in_order = match (parts.last().map(|before| (before.kind, before)), part.kind) {
            (None, _) | (Some((PartKind::Pages, _)), PartKind::Commits) => true,
            (Some((PartKind::Pages, before)), PartKind::Pages) => part.first_page_no >= before.last_page_no,
            (Some((PartKind::Commits, before)), PartKind::Commits) => {
                part.first_frame_no > before.last_frame_no
            }
            (Some((PartKind::Commits, _)), PartKind::Pages) => false,
        };
        if !in_order
            || part.number != number
            || part.last_page_no < part.first_page_no
            || part.last_frame_no < part.first_frame_no
        {
            return Err(format!("the list of parts is not in order at part {number}"));
        }
        parts.push(part);
    }
    Ok(parts)
}
