//! The commit table: frame number, time and database size of every commit of a range, in blocks that can be decoded alone.
//! Merging bundles keeps all of it.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::varint;
use super::{Span, Trailer};
use crate::error;
use crate::format::{Problem, crc32};
use crate::memory;

/// Bytes of a block's record in the commit index.
pub const COMMIT_INFO_SIZE: usize = 48;
/// A block ends when it has this many commits.
const COMMITS_MAX: u32 = 4096;
/// So no block is longer than this, and a reader takes no longer one: 25 bytes for each commit.
const LEN_MAX: u32 = COMMITS_MAX * 25;

/// A commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its last frame.
    pub frame_no: u64,
    /// When it was made, microseconds since 1970, by the clock of the machine that made it.
    pub commit_us: u64,
    /// Pages of the database after it.
    pub db_size_pages: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawInfo {
    first_frame_no: U64,
    last_frame_no: U64,
    min_commit_us: U64,
    max_commit_us: U64,
    commit_count: U32,
    len: U32,
    crc: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<RawInfo>() == COMMIT_INFO_SIZE);

/// What the commit index says of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitBlockInfo {
    /// Last frame of its first commit.
    pub first_frame_no: u64,
    /// Last frame of its last commit.
    pub last_frame_no: u64,
    /// Earliest time of a commit in it.
    pub min_commit_us: u64,
    /// Latest time of a commit in it.
    pub max_commit_us: u64,
    /// Commits in it.
    pub commit_count: u32,
    /// Where it is in the object.
    pub span: Span,
    crc: u32,
}

pub(super) fn decode_index(
    index: &[u8],
    commits: Span,
    trailer: &Trailer,
) -> Result<Vec<CommitBlockInfo>, Problem> {
    let records = <[RawInfo]>::ref_from_bytes(index)
        .map_err(|_| format!("a commit index of {} bytes is no whole number of records", index.len()))?;
    let mut infos = Vec::with_capacity(records.len());
    let mut at = commits.start;
    let mut next_frame_no = trailer.start_frame_no;
    for raw in records {
        let info = CommitBlockInfo {
            first_frame_no: raw.first_frame_no.get(),
            last_frame_no: raw.last_frame_no.get(),
            min_commit_us: raw.min_commit_us.get(),
            max_commit_us: raw.max_commit_us.get(),
            commit_count: raw.commit_count.get(),
            span: at..at + u64::from(raw.len.get()),
            crc: raw.crc.get(),
        };
        if info.first_frame_no < next_frame_no
            || info.last_frame_no < info.first_frame_no
            || info.last_frame_no > trailer.end_frame_no
            || info.commit_count == 0
            || info.commit_count > COMMITS_MAX
            || raw.len.get() > LEN_MAX
        {
            return Err(format!("the commit index is not in order at frame {}", info.first_frame_no));
        }
        next_frame_no = info.last_frame_no + 1;
        at = info.span.end;
        infos.push(info);
    }
    if at != commits.end {
        return Err(format!("the commit blocks end at offset {at}, expected {}", commits.end));
    }
    Ok(infos)
}

/// Collects commits into blocks.
#[derive(Default)]
pub(super) struct CommitWriter {
    data: Vec<u8>,
    first: Option<Commit>,
    last: Option<Commit>,
    min_commit_us: u64,
    max_commit_us: u64,
    commit_count: u32,
}

impl CommitWriter {
    pub(super) fn stored_len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.commit_count >= COMMITS_MAX
    }

    /// Take the memory of one more commit.
    pub(super) fn reserve(&mut self) -> error::Result<()> {
        // Three numbers of at most 10 bytes.
        memory::reserve(&mut self.data, 30, "a commit block")
    }

    /// Add a commit, behind the one before it.
    pub(super) fn push(&mut self, commit: Commit) {
        let before = self.last.unwrap_or(Commit { frame_no: 0, commit_us: 0, db_size_pages: 0 });
        varint::put_difference(&mut self.data, before.frame_no, commit.frame_no);
        varint::put_difference(&mut self.data, before.commit_us, commit.commit_us);
        varint::put_difference(
            &mut self.data,
            u64::from(before.db_size_pages),
            u64::from(commit.db_size_pages),
        );
        if self.first.is_none() {
            self.first = Some(commit);
            (self.min_commit_us, self.max_commit_us) = (commit.commit_us, commit.commit_us);
        }
        self.min_commit_us = self.min_commit_us.min(commit.commit_us);
        self.max_commit_us = self.max_commit_us.max(commit.commit_us);
        self.last = Some(commit);
        self.commit_count += 1;
    }

    /// End the block: its bytes go to `out`, its record to `index`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, index: &mut Vec<u8>) {
        let (Some(first), Some(last)) = (self.first, self.last) else { return };
        let raw = RawInfo {
            first_frame_no: first.frame_no.into(),
            last_frame_no: last.frame_no.into(),
            min_commit_us: self.min_commit_us.into(),
            max_commit_us: self.max_commit_us.into(),
            commit_count: self.commit_count.into(),
            len: (self.data.len() as u32).into(),
            crc: crc32(0, &[&self.data]).into(),
            reserved: 0.into(),
        };
        index.extend_from_slice(raw.as_bytes());
        out.append(&mut self.data);
        *self = CommitWriter::default();
    }
}

/// Reads the commits of a block, in order.
pub struct CommitReader<'a> {
    data: &'a [u8],
    left: u32,
    info: CommitBlockInfo,
    before: Commit,
}

impl<'a> CommitReader<'a> {
    /// Check a block's bytes against its record.
    pub fn new(info: &CommitBlockInfo, bytes: &'a [u8]) -> Result<CommitReader<'a>, Problem> {
        let crc = crc32(0, &[bytes]);
        if bytes.len() as u64 != info.span.end - info.span.start || crc != info.crc {
            return Err(format!(
                "a commit block of {} bytes has checksum {crc:08x}, expected {} bytes and {:08x}",
                bytes.len(),
                info.span.end - info.span.start,
                info.crc
            ));
        }
        let before = Commit { frame_no: 0, commit_us: 0, db_size_pages: 0 };
        Ok(CommitReader { data: bytes, left: info.commit_count, info: info.clone(), before })
    }

    /// The next commit. `None`: that was all.
    pub fn next_commit(&mut self) -> Result<Option<Commit>, Problem> {
        if self.left == 0 {
            if !self.data.is_empty() || self.before.frame_no != self.info.last_frame_no {
                return Err("a commit block holds more or less than its record says".into());
            }
            return Ok(None);
        }
        let is_first = self.left == self.info.commit_count;
        self.left -= 1;
        let frame_no = varint::take_difference(&mut self.data, self.before.frame_no)?;
        let commit_us = varint::take_difference(&mut self.data, self.before.commit_us)?;
        let size = varint::take_difference(&mut self.data, u64::from(self.before.db_size_pages))?;
        let Ok(db_size_pages) = u32::try_from(size) else {
            return Err(format!("the commit at frame {frame_no} has a database of {size} pages"));
        };
        let in_order =
            if is_first { frame_no == self.info.first_frame_no } else { frame_no > self.before.frame_no };
        if !in_order || frame_no > self.info.last_frame_no {
            return Err(format!("the commit at frame {frame_no} is out of order"));
        }
        if !(self.info.min_commit_us..=self.info.max_commit_us).contains(&commit_us) {
            return Err(format!("the commit at frame {frame_no} has a time that its block does not have"));
        }
        self.before = Commit { frame_no, commit_us, db_size_pages };
        Ok(Some(self.before))
    }
}
