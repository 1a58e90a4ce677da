//! Making an object.

use super::block::BlockWriter;
use super::commit_table::{Commit, CommitWriter};
use super::{
    BLOCK_INFO_SIZE, COMMIT_INFO_SIZE, Content, FRONT_SIZE, PART_INFO_SIZE, PartInfo, TRAILER_SIZE, Trailer,
    front,
};
use crate::error::Result;
use crate::format::crc32;
use crate::memory;
use crate::types::{Level, LogId, PageSize};

/// What memory is taken for.
const OBJECT: &str = "an object for storage";

/// What a bundle is, apart from what can be told from its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// See [`Trailer::log_id`].
    pub log_id: LogId,
    /// See [`Trailer::level`].
    pub level: Level,
    /// See [`Trailer::content`].
    pub content: Content,
    /// See [`Trailer::start_frame_no`].
    pub start_frame_no: u64,
    /// See [`Trailer::end_frame_no`].
    pub end_frame_no: u64,
    /// See [`Trailer::db_size_pages`].
    pub db_size_pages: u32,
    /// See [`Trailer::nonce`].
    pub nonce: u64,
}

/// Counts and times of commits.
#[derive(Clone, Copy, Debug)]
struct Totals {
    commit_count: u64,
    image_count: u64,
    min_commit_us: u64,
    max_commit_us: u64,
    last_commit_us: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Totals {
            commit_count: 0,
            image_count: 0,
            min_commit_us: u64::MAX,
            max_commit_us: 0,
            last_commit_us: 0,
        }
    }
}

/// Builds one object: first images in the order of pages and frames, then commits in their order, then parts.
pub struct ObjectBuilder {
    page_size: PageSize,
    bytes: Vec<u8>,
    block: BlockWriter,
    page_index: Vec<u8>,
    commit_bytes: Vec<u8>,
    commit_block: CommitWriter,
    commit_index: Vec<u8>,
    parts: Vec<u8>,
    totals: Totals,
}

impl ObjectBuilder {
    /// An empty object for a database with this page size.
    pub fn new(page_size: PageSize) -> ObjectBuilder {
        ObjectBuilder {
            page_size,
            bytes: front().to_vec(),
            block: BlockWriter::new(page_size),
            page_index: Vec::new(),
            commit_bytes: Vec::new(),
            commit_block: CommitWriter::default(),
            commit_index: Vec::new(),
            parts: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Take the memory of one more image, so that [`ObjectBuilder::push_image`] needs none.
    ///
    /// Errors: [`NoMemory`](crate::Error::NoMemory); nothing has changed.
    pub fn reserve_image(&mut self) -> Result<()> {
        self.block.reserve()?;
        memory::reserve(&mut self.page_index, BLOCK_INFO_SIZE, OBJECT)?;
        memory::reserve(&mut self.bytes, self.block.stored_len(), OBJECT)
    }

    /// Take the memory of one more commit, so that [`ObjectBuilder::push_commit`] needs none.
    ///
    /// Errors: as [`ObjectBuilder::reserve_image`].
    pub fn reserve_commit(&mut self) -> Result<()> {
        self.commit_block.reserve()?;
        memory::reserve(&mut self.commit_index, COMMIT_INFO_SIZE, OBJECT)?;
        memory::reserve(&mut self.commit_bytes, self.commit_block.stored_len(), OBJECT)
    }

    /// Take the memory of `parts` parts and of what completes the object, so that [`ObjectBuilder::push_part`] and
    /// [`ObjectBuilder::finish`] need none.
    ///
    /// Errors: as [`ObjectBuilder::reserve_image`].
    pub fn reserve_end(&mut self, parts: usize) -> Result<()> {
        memory::reserve(&mut self.page_index, BLOCK_INFO_SIZE, OBJECT)?;
        memory::reserve(&mut self.commit_index, COMMIT_INFO_SIZE, OBJECT)?;
        memory::reserve(&mut self.commit_bytes, self.commit_block.stored_len(), OBJECT)?;
        memory::reserve(&mut self.parts, parts * PART_INFO_SIZE, OBJECT)?;
        let rest = self.stored_len() - self.bytes.len();
        memory::reserve(
            &mut self.bytes,
            rest + BLOCK_INFO_SIZE + COMMIT_INFO_SIZE + parts * PART_INFO_SIZE,
            OBJECT,
        )
    }

    /// Add the image of a page as of a frame. Images must come ascending by page, and by frame within a page; an image
    /// is one page long.
    pub fn push_image(&mut self, page_no: u32, frame_no: u64, image: &[u8]) {
        debug_assert_eq!(image.len(), self.page_size.bytes());
        if self.block.is_full(page_no) {
            self.block.finish(&mut self.bytes, &mut self.page_index);
        }
        self.block.push(page_no, frame_no, image);
        self.totals.image_count += 1;
    }

    /// Add a commit. Commits must come ascending.
    pub fn push_commit(&mut self, commit: Commit) {
        if self.commit_block.is_full() {
            self.commit_block.finish(&mut self.commit_bytes, &mut self.commit_index);
        }
        self.commit_block.push(commit);
        self.totals.commit_count += 1;
        self.totals.min_commit_us = self.totals.min_commit_us.min(commit.commit_us);
        self.totals.max_commit_us = self.totals.max_commit_us.max(commit.commit_us);
        self.totals.last_commit_us = commit.commit_us;
    }

    /// List a part that has been written: `trailer` is what its builder returned.
    pub fn push_part(&mut self, info: &PartInfo, trailer: &Trailer) {
        info.encode(&mut self.parts);
        self.totals.image_count += trailer.image_count;
        self.totals.commit_count += trailer.commit_count;
        if trailer.commit_count > 0 {
            self.totals.min_commit_us = self.totals.min_commit_us.min(trailer.min_commit_us);
            self.totals.max_commit_us = self.totals.max_commit_us.max(trailer.max_commit_us);
            // The commits of the head itself come behind those of all parts.
            if !self.has_commits() {
                self.totals.last_commit_us = trailer.last_commit_us;
            }
        }
    }

    /// About how many bytes the object has so far.
    pub fn stored_len(&self) -> usize {
        self.bytes.len()
            + self.block.stored_len()
            + self.page_index.len()
            + self.commit_bytes.len()
            + self.commit_block.stored_len()
            + self.commit_index.len()
            + self.parts.len()
            + TRAILER_SIZE
    }

    /// Whether it has commits of its own.
    pub fn has_commits(&self) -> bool {
        self.commit_block.stored_len() + self.commit_bytes.len() > 0
    }

    /// Whether it has images of its own.
    pub fn has_images(&self) -> bool {
        self.block.stored_len() > 0 || self.bytes.len() > FRONT_SIZE
    }

    /// Take the images out, into an object of their own. The commits stay.
    pub fn split_images(&mut self) -> ObjectBuilder {
        let mut images = ObjectBuilder::new(self.page_size);
        std::mem::swap(&mut images.bytes, &mut self.bytes);
        std::mem::swap(&mut images.block, &mut self.block);
        std::mem::swap(&mut images.page_index, &mut self.page_index);
        std::mem::swap(&mut images.totals.image_count, &mut self.totals.image_count);
        images
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.stored_len() == FRONT_SIZE + TRAILER_SIZE
    }

    /// Complete the object. `part`: 0 for the head of a bundle (or all of it), otherwise the number of the part.
    pub fn finish(mut self, summary: &Summary, part: u32) -> (Vec<u8>, Trailer) {
        self.block.finish(&mut self.bytes, &mut self.page_index);
        self.commit_block.finish(&mut self.commit_bytes, &mut self.commit_index);
        let totals = self.totals;
        let trailer = Trailer {
            log_id: summary.log_id,
            level: summary.level,
            content: summary.content,
            page_size: self.page_size,
            start_frame_no: summary.start_frame_no,
            end_frame_no: summary.end_frame_no,
            db_size_pages: summary.db_size_pages,
            nonce: summary.nonce,
            part,
            min_commit_us: if totals.commit_count == 0 { 0 } else { totals.min_commit_us },
            max_commit_us: totals.max_commit_us,
            last_commit_us: totals.last_commit_us,
            commit_count: totals.commit_count,
            image_count: totals.image_count,
            pages_len: (self.bytes.len() - FRONT_SIZE) as u64,
            commits_len: self.commit_bytes.len() as u64,
            page_index_len: self.page_index.len() as u32,
            commit_index_len: self.commit_index.len() as u32,
            parts_len: self.parts.len() as u32,
            page_index_crc: crc32(0, &[&self.page_index]),
            commit_index_crc: crc32(0, &[&self.commit_index]),
            parts_crc: crc32(0, &[&self.parts]),
        };
        let mut bytes = self.bytes;
        for section in [self.commit_bytes, self.page_index, self.commit_index, self.parts] {
            bytes.extend_from_slice(&section);
        }
        bytes.extend_from_slice(&trailer.encode());
        // It may wait for the network for a while.
        bytes.shrink_to_fit();
        (bytes, trailer)
    }
}
