//! Objects in storage: bundles of frames, and the parts of large ones.
//!
//! A bundle covers a range of frames that ends at a commit. One that is too large for an object is cut into *parts*,
//! objects of the same layout; its head, which is written last, lists them. The images of the bundle are those of its
//! parts, one part after the other, and then those of the head itself; so are its commits. An object is, in this order:
//!
//! | section | content |
//! |---|---|
//! | front | magic and version, 16 bytes |
//! | page blocks | images of pages, ascending by page and frame, in blocks that can be decoded alone (`block.rs`) |
//! | commit blocks | frame number, time and database size of every commit (`commit_table.rs`) |
//! | page index | a record of 32 bytes for each page block |
//! | commit index | a record of 48 bytes for each commit block |
//! | parts | a record of 48 bytes for each part (`parts.rs`); only in the head of a bundle that has parts |
//! | trailer | what the object is, and the lengths of the sections, 192 bytes |
//!
//! So the end of an object, whose size a listing tells, says where everything is. All checksums are over stored bytes.

mod block;
mod builder;
mod commit_table;
mod parts;
mod varint;

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use block::{BLOCK_INFO_SIZE, BlockInfo, BlockReader, Image};
pub use builder::{ObjectBuilder, Summary};
pub use commit_table::{COMMIT_INFO_SIZE, Commit, CommitBlockInfo, CommitReader};
pub use parts::{PART_INFO_SIZE, PartInfo, PartKind};

use super::{Problem, crc32};
use crate::types::{Level, LogId, PageSize};

const MAGIC: u64 = u64::from_be_bytes(*b"VWALBNDL");
const VERSION: u32 = 1;

/// Bytes before the first page block.
pub const FRONT_SIZE: usize = 16;
/// Bytes of the trailer.
pub const TRAILER_SIZE: usize = 192;
/// No object is larger than this, so none that claims to be is read. Writers stay far below it.
pub const OBJECT_SIZE_MAX: u64 = 1 << 31;
/// The indexes of an object are not longer than this together, since a reader holds them in memory. (A bundle of
/// 1.3 million parts: some terabytes.)
pub const INDEXES_LEN_MAX: u64 = 64 << 20;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawFront {
    magic: U64,
    version: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTrailer {
    log_id: [u8; 16],
    successor: [u8; 16],
    start_frame_no: U64,
    end_frame_no: U64,
    nonce: U64,
    min_commit_us: U64,
    max_commit_us: U64,
    last_commit_us: U64,
    commit_count: U64,
    image_count: U64,
    pages_len: U64,
    commits_len: U64,
    page_index_len: U32,
    commit_index_len: U32,
    parts_len: U32,
    page_index_crc: U32,
    commit_index_crc: U32,
    parts_crc: U32,
    page_size: U32,
    db_size_pages: U32,
    part: U32,
    level: u8,
    flags: u8,
    reserved: [u8; 26],
    crc: U32,
    version: U32,
    magic: U64,
}

const _: () = {
    assert!(size_of::<RawFront>() == FRONT_SIZE);
    assert!(size_of::<RawTrailer>() == TRAILER_SIZE);
    assert!(std::mem::offset_of!(RawTrailer, start_frame_no) == 32);
    assert!(std::mem::offset_of!(RawTrailer, pages_len) == 96);
    assert!(std::mem::offset_of!(RawTrailer, page_index_len) == 112);
    assert!(std::mem::offset_of!(RawTrailer, level) == 148);
    assert!(std::mem::offset_of!(RawTrailer, crc) == 176);
    assert!(std::mem::offset_of!(RawTrailer, magic) == 184);
};

const FLAG_EVERY_FRAME: u8 = 1;
const FLAG_FULL_IMAGE: u8 = 2;
const FLAG_TERMINATOR: u8 = 4;

/// What a bundle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Each frame of the range: the database can be restored to each of its commits.
    EveryFrame,
    /// Of each page that the range changed, its last image: the database can be restored to the end of the range, from
    /// any state within it.
    LastImages,
    /// Every page of the database as of the end of the range: nothing before it is needed.
    FullImage,
    /// Nothing. The log ends before `start_frame_no`, and another one continues it.
    Terminator {
        /// The log that goes on.
        successor: LogId,
    },
}

impl Content {
    fn flags(self) -> u8 {
        match self {
            Content::EveryFrame => FLAG_EVERY_FRAME,
            Content::LastImages => 0,
            Content::FullImage => FLAG_FULL_IMAGE,
            Content::Terminator { .. } => FLAG_TERMINATOR,
        }
    }
}

/// What an object is, as its trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The log that the frames are of.
    pub log_id: LogId,
    /// Level of the bundle.
    pub level: Level,
    /// What the bundle holds.
    pub content: Content,
    /// Page size.
    pub page_size: PageSize,
    /// The first frame that the bundle covers; 0 stands for what was there before the first frame.
    pub start_frame_no: u64,
    /// The last one, which ends a commit. One less than the first in a terminator.
    pub end_frame_no: u64,
    /// Pages of the database as of the end.
    pub db_size_pages: u32,
    /// Random: ties the parts of a bundle to its head, and tells two writers of the same range apart.
    pub nonce: u64,
    /// 0: the head of the bundle. Otherwise the number of the part.
    pub part: u32,
    /// Earliest time of a commit, microseconds since 1970. (Clocks jump: it need not be the first commit's.)
    pub min_commit_us: u64,
    /// Latest time of a commit.
    pub max_commit_us: u64,
    /// Time of the commit at `end_frame_no`.
    pub last_commit_us: u64,
    /// Commits in the bundle, those in its parts included when this is the head.
    pub commit_count: u64,
    /// Images in the bundle, those in its parts included when this is the head.
    pub image_count: u64,
    pages_len: u64,
    commits_len: u64,
    page_index_len: u32,
    commit_index_len: u32,
    parts_len: u32,
    page_index_crc: u32,
    commit_index_crc: u32,
    parts_crc: u32,
}

/// A byte range of an object.
pub type Span = std::ops::Range<u64>;

impl Trailer {
    /// Where the page blocks are; they follow each other in the order of the page index.
    pub fn pages_span(&self) -> Span {
        let start = FRONT_SIZE as u64;
        start..start + self.pages_len
    }

    /// Where the commit blocks are.
    pub fn commits_span(&self) -> Span {
        let start = self.pages_span().end;
        start..start + self.commits_len
    }

    /// Where the page index is.
    pub fn page_index_span(&self) -> Span {
        let start = self.commits_span().end;
        start..start + u64::from(self.page_index_len)
    }

    /// Where the commit index is.
    pub fn commit_index_span(&self) -> Span {
        let start = self.page_index_span().end;
        start..start + u64::from(self.commit_index_len)
    }

    /// Where the list of parts is.
    pub fn parts_span(&self) -> Span {
        let start = self.commit_index_span().end;
        start..start + u64::from(self.parts_len)
    }

    /// The three indexes, which lie together in front of the trailer.
    pub fn indexes_span(&self) -> Span {
        self.page_index_span().start..self.parts_span().end
    }

    /// Bytes of the object.
    pub fn object_size(&self) -> u64 {
        self.parts_span().end + TRAILER_SIZE as u64
    }

    /// Check and read the records of the page blocks. `index` is what lies in [`Trailer::page_index_span`].
    pub fn page_blocks(&self, index: &[u8]) -> Result<Vec<BlockInfo>, Problem> {
        check_section("page index", index, self.page_index_len, self.page_index_crc)?;
        let blocks = block::decode_index(index, self.pages_span(), self)?;
        let images = blocks.iter().map(|block| u64::from(block.image_count)).sum();
        self.check_count("images", images, self.image_count)?;
        Ok(blocks)
    }

    /// Check and read the records of the commit blocks. `index` is what lies in [`Trailer::commit_index_span`].
    pub fn commit_blocks(&self, index: &[u8]) -> Result<Vec<CommitBlockInfo>, Problem> {
        check_section("commit index", index, self.commit_index_len, self.commit_index_crc)?;
        let blocks = commit_table::decode_index(index, self.commits_span(), self)?;
        let commits = blocks.iter().map(|block| u64::from(block.commit_count)).sum();
        self.check_count("commits", commits, self.commit_count)?;
        let times = self.min_commit_us..=self.max_commit_us;
        match blocks.iter().find(|b| !times.contains(&b.min_commit_us) || !times.contains(&b.max_commit_us)) {
            Some(block) => Err(format!(
                "the times of the commits at frame {} are not those of the bundle",
                block.first_frame_no
            )),
            None => Ok(blocks),
        }
    }

    /// Check and read the list of parts. `list` is what lies in [`Trailer::parts_span`].
    pub fn parts(&self, list: &[u8]) -> Result<Vec<PartInfo>, Problem> {
        check_section("list of parts", list, self.parts_len, self.parts_crc)?;
        parts::decode_list(list)
    }

    /// The checksum that stands in the trailer.
    pub fn checksum(&self) -> u32 {
        trailer_crc(&self.encode())
    }

    /// The 192 bytes at the end of the object.
    fn encode(&self) -> [u8; TRAILER_SIZE] {
        let successor = match self.content {
            Content::Terminator { successor } => successor.to_bytes(),
            _ => [0; 16],
        };
        let mut raw = RawTrailer {
            log_id: self.log_id.to_bytes(),
            successor,
            start_frame_no: self.start_frame_no.into(),
            end_frame_no: self.end_frame_no.into(),
            nonce: self.nonce.into(),
            min_commit_us: self.min_commit_us.into(),
            max_commit_us: self.max_commit_us.into(),
            last_commit_us: self.last_commit_us.into(),
            commit_count: self.commit_count.into(),
            image_count: self.image_count.into(),
            pages_len: self.pages_len.into(),
            commits_len: self.commits_len.into(),
            page_index_len: self.page_index_len.into(),
            commit_index_len: self.commit_index_len.into(),
            parts_len: self.parts_len.into(),
            page_index_crc: self.page_index_crc.into(),
            commit_index_crc: self.commit_index_crc.into(),
            parts_crc: self.parts_crc.into(),
            page_size: self.page_size.get().into(),
            db_size_pages: self.db_size_pages.into(),
            part: self.part.into(),
            level: self.level.code(),
            flags: self.content.flags(),
            reserved: [0; 26],
            crc: 0.into(),
            version: VERSION.into(),
            magic: MAGIC.into(),
        };
        raw.crc = trailer_crc(raw.as_bytes()).into();
        let mut bytes = [0; TRAILER_SIZE];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Check and read the trailer of an object of `size` bytes. `bytes` is the end of the object, at least
    /// [`TRAILER_SIZE`] bytes of it.
    pub fn decode(bytes: &[u8], size: u64) -> Result<Trailer, Problem> {
        let raw = bytes
            .len()
            .checked_sub(TRAILER_SIZE)
            .and_then(|at| RawTrailer::ref_from_bytes(&bytes[at..]).ok())
            .ok_or_else(|| format!("{} bytes are too few for a trailer of {TRAILER_SIZE}", bytes.len()))?;
        if raw.magic.get() != MAGIC {
            return Err("it does not end with the trailer of a vwal bundle (wrong magic)".into());
        }
        if raw.version.get() != VERSION {
            return Err(format!("format version {}, this vwal reads version {VERSION}", raw.version));
        }
        let crc = trailer_crc(raw.as_bytes());
        if raw.crc.get() != crc {
            return Err(format!("trailer checksum {:08x}, expected {crc:08x}", raw.crc));
        }
        let is_terminator = raw.flags == FLAG_TERMINATOR;
        if raw.reserved != [0; 26] || (raw.successor != [0; 16] && !is_terminator) {
            return Err("a reserved field of the trailer is not zero".into());
        }
        let trailer = Trailer {
            log_id: LogId::from_bytes(raw.log_id),
            level: Level::from_code(raw.level).ok_or_else(|| format!("a bundle of level {}", raw.level))?,
            content: match raw.flags {
                FLAG_EVERY_FRAME => Content::EveryFrame,
                0 => Content::LastImages,
                FLAG_FULL_IMAGE => Content::FullImage,
                FLAG_TERMINATOR => Content::Terminator { successor: LogId::from_bytes(raw.successor) },
                flags => return Err(format!("a bundle with flags {flags:#04x}")),
            },
            page_size: PageSize::new(raw.page_size.get())
                .ok_or_else(|| format!("a bundle with page size {}", raw.page_size))?,
            start_frame_no: raw.start_frame_no.get(),
            end_frame_no: raw.end_frame_no.get(),
            db_size_pages: raw.db_size_pages.get(),
            nonce: raw.nonce.get(),
            part: raw.part.get(),
            min_commit_us: raw.min_commit_us.get(),
            max_commit_us: raw.max_commit_us.get(),
            last_commit_us: raw.last_commit_us.get(),
            commit_count: raw.commit_count.get(),
            image_count: raw.image_count.get(),
            pages_len: raw.pages_len.get(),
            commits_len: raw.commits_len.get(),
            page_index_len: raw.page_index_len.get(),
            commit_index_len: raw.commit_index_len.get(),
            parts_len: raw.parts_len.get(),
            page_index_crc: raw.page_index_crc.get(),
            commit_index_crc: raw.commit_index_crc.get(),
            parts_crc: raw.parts_crc.get(),
        };
        trailer.check(size)?;
        Ok(trailer)
    }

    /// What the head of a bundle with parts has itself is not more than what the bundle has.
    fn check_count(&self, what: &str, own: u64, all: u64) -> Result<(), Problem> {
        if own == all || (own < all && self.parts_len > 0) {
            return Ok(());
        }
        Err(format!("{own} {what}, expected {all}"))
    }

    fn check(&self, size: u64) -> Result<(), Problem> {
        let sections = [
            FRONT_SIZE as u64,
            self.pages_len,
            self.commits_len,
            u64::from(self.page_index_len),
            u64::from(self.commit_index_len),
            u64::from(self.parts_len),
            TRAILER_SIZE as u64,
        ];
        let sum = sections.iter().try_fold(0u64, |sum, &len| sum.checked_add(len));
        if sum != Some(size) || size > OBJECT_SIZE_MAX {
            return Err(format!("the object has {size} bytes, but its trailer accounts for {sum:?}"));
        }
        let indexes = sections[3] + sections[4] + sections[5];
        if indexes > INDEXES_LEN_MAX {
            return Err(format!("its indexes have {indexes} bytes, {INDEXES_LEN_MAX} are allowed"));
        }
        let empty = matches!(self.content, Content::Terminator { .. });
        let range_is_right = if empty {
            self.end_frame_no.checked_add(1) == Some(self.start_frame_no)
        } else {
            self.start_frame_no <= self.end_frame_no
        };
        if !range_is_right || self.end_frame_no > 1 << 62 {
            return Err(format!("a bundle of frames {} to {}", self.start_frame_no, self.end_frame_no));
        }
        Ok(())
    }
}

/// Check the 16 bytes at the front of an object.
pub fn check_front(bytes: &[u8]) -> Result<(), Problem> {
    match bytes.get(..FRONT_SIZE).and_then(|front| RawFront::ref_from_bytes(front).ok()) {
        Some(front) if front.magic.get() == MAGIC && front.version.get() != VERSION => {
            Err(format!("format version {}, this vwal reads version {VERSION}", front.version))
        }
        Some(front) if front.magic.get() == MAGIC && front.reserved.get() == 0 => Ok(()),
        _ => Err("it does not begin as a vwal bundle (wrong magic)".into()),
    }
}

fn front() -> [u8; FRONT_SIZE] {
    let raw = RawFront { magic: MAGIC.into(), version: VERSION.into(), reserved: 0.into() };
    let mut bytes = [0; FRONT_SIZE];
    bytes.copy_from_slice(raw.as_bytes());
    bytes
}

/// The checksum stands in the middle of what it covers, and counts as zero.
fn trailer_crc(bytes: &[u8]) -> u32 {
    const AT: usize = std::mem::offset_of!(RawTrailer, crc);
    crc32(0, &[&bytes[..AT], &[0; 4], &bytes[AT + 4..]])
}

fn check_section(name: &str, bytes: &[u8], len: u32, crc: u32) -> Result<(), Problem> {
    if bytes.len() as u64 != u64::from(len) {
        return Err(format!("the {name} has {} bytes, expected {len}", bytes.len()));
    }
    let found = crc32(0, &[bytes]);
    if found != crc {
        return Err(format!("the {name} has checksum {found:08x}, expected {crc:08x}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
