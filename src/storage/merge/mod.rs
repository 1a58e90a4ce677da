//! Merging bundles: of each page the image with the highest frame number. Compaction and restore are this merge.
//!
//! Each bundle has a cursor (`cursor.rs`) that reads it in windows, some of them ahead, and gives its pages in ascending
//! order. Memory is bounded by [`MergeOptions::budget`] and by [`MERGE_MAX`], whatever the size of the database.

mod cursor;
mod decoded;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cursor::{Common, Cursor};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::storage::bundles::Bundle;
use crate::types::PageSize;

/// The most bundles that are merged at a time: each one needs memory of its own, whatever the budget. Who restores from
/// more than that merges them in groups, oldest first, and writes the pages of one group over those of the one before.
pub const MERGE_MAX: usize = 64;

/// A window is read or decoded at a time for so many bytes of the budget: that many buffers and threads more.
const BUDGET_PER_READ: usize = 2 << 20;
/// A run of at least this many bytes is given out from where it was decoded; shorter ones are put together.
const DIRECT_MIN: usize = 32 << 10;
/// Until they have this many bytes.
const BATCH_LEN: usize = 256 << 10;

/// How bundles are merged.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// Frames behind this one do not count: the last bundle may go on beyond the frame that is restored.
    pub up_to_frame_no: u64,
    /// The first page.
    pub first_page_no: u32,
    /// The last page: the size of the database at the end. It may have shrunk, and images of pages beyond are dropped.
    pub last_page_no: u32,
    /// About how many bytes may be read ahead.
    pub budget: usize,
}

impl Default for MergeOptions {
    /// All pages of all frames, with 16 MiB read ahead.
    fn default() -> MergeOptions {
        MergeOptions { up_to_frame_no: u64::MAX, first_page_no: 1, last_page_no: u32::MAX, budget: 16 << 20 }
    }
}

/// Pages that follow each other in memory, though not always in number.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Page and frame of each image, pages ascending.
    pub pages: &'a [(u32, u64)],
    /// The images, one after the other.
    pub images: &'a [u8],
    /// Bytes of an image.
    pub page_size: PageSize,
}

impl<'a> Run<'a> {
    /// Page, frame and image of each.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64, &'a [u8])> + use<'a> {
        let images = self.images.chunks_exact(self.page_size.bytes());
        self.pages.iter().zip(images).map(|(&(page_no, frame_no), image)| (page_no, frame_no, image))
    }

    /// Cut it up where a page number is left out: the first page of each piece, and its images.
    pub fn contiguous(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut images = self.images;
        let page_size = self.page_size.bytes();
        self.pages.chunk_by(|one, next| one.0.checked_add(1) == Some(next.0)).filter_map(move |pages| {
            let piece = images.split_off(..pages.len() * page_size)?;
            Some((pages.first()?.0, piece))
        })
    }
}

/// Gives the pages of several bundles, ascending, each one once. Needs a runtime.
pub struct Merge {
    cursors: Vec<Cursor>,
    page_size: PageSize,
    /// What the last run took from a cursor, which goes on only now that the caller has seen it.
    taken: Option<(usize, usize)>,
    /// Short runs that are put together.
    pages: Vec<(u32, u64)>,
    images: Vec<u8>,
    common: Common,
}

impl Merge {
    /// Merge `bundles`, whose order does not matter; [`MERGE_MAX`] at most.
    pub async fn new(bundles: Vec<Bundle>, options: &MergeOptions) -> Result<Merge> {
        let Some(first) = bundles.first() else {
            return Err(Error::Usage("there is nothing to merge".into()));
        };
        if bundles.len() > MERGE_MAX {
            let what = format!("{} bundles are merged at once, {MERGE_MAX} are allowed", bundles.len());
            return Err(Error::Usage(what));
        }
        let page_size = first.trailer().page_size;
        if let Some(other) = bundles.iter().find(|bundle| bundle.trailer().page_size != page_size) {
            let what = format!(
                "it has pages of {} bytes, and those of {} have {}",
                other.trailer().page_size.get(),
                first.object().key(),
                page_size.get()
            );
            return Err(other.object().damaged(None, what));
        }
        let reads = (options.budget / BUDGET_PER_READ).clamp(2, 16);
        let common = Common {
            fetched: Arc::new(AtomicU64::new(0)),
            permits: Arc::new(Semaphore::new(reads)),
            used: Arc::default(),
        };
        let shares = shares(&bundles, options.budget);
        let mut cursors: Vec<Cursor> = bundles
            .into_iter()
            .zip(shares)
            .map(|(bundle, share)| Cursor::new(bundle, options, share, common.clone()))
            .collect();
        // First let all of them begin to read, then wait for each.
        for cursor in &mut cursors {
            cursor.fill().await?;
        }
        for cursor in &mut cursors {
            cursor.load().await?;
        }
        Ok(Merge { cursors, page_size, taken: None, pages: Vec::new(), images: Vec::new(), common })
    }

    /// The page size of all bundles.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Bytes that were read from storage so far, for a progress bar.
    pub fn fetched_len(&self) -> u64 {
        self.common.fetched.load(Ordering::Relaxed)
    }

    /// The next pages. `None`: that was all.
    pub async fn next_run(&mut self) -> Result<Option<Run<'_>>> {
        if let Some((at, count)) = self.taken.take() {
            self.cursors[at].advance(count).await?;
        }
        self.pages.clear();
        self.images.clear();
        while self.images.len() < BATCH_LEN
            && let Some((at, page_no, limit)) = self.lowest()
        {
            let count = self.cursors[at].count_below(limit);
            if count * self.page_size.bytes() >= DIRECT_MIN {
                if self.pages.is_empty() {
                    self.taken = Some((at, count));
                    let (pages, images) = self.cursors[at].take(count);
                    return Ok(Some(Run { pages, images, page_size: self.page_size }));
                }
                break;
            }
            if count > 0 {
                let (pages, images) = self.cursors[at].take(count);
                self.pages.extend_from_slice(pages);
                self.images.extend_from_slice(images);
                self.cursors[at].advance(count).await?;
            } else {
                self.merge_page(page_no).await?;
            }
        }
        let run = Run { pages: &self.pages, images: &self.images, page_size: self.page_size };
        Ok((!run.pages.is_empty()).then_some(run))
    }

    /// The cursor with the lowest page, that page, and the lowest page of the others.
    fn lowest(&self) -> Option<(usize, u32, u64)> {
        let mut lowest: Option<(usize, u32)> = None;
        let mut limit = u64::MAX;
        for (at, cursor) in self.cursors.iter().enumerate() {
            let Some((page_no, _)) = cursor.peek() else { continue };
            match lowest {
                Some((_, low)) if page_no >= low => limit = limit.min(u64::from(page_no)),
                _ => {
                    limit = lowest.map_or(limit, |(_, low)| limit.min(u64::from(low)));
                    lowest = Some((at, page_no));
                }
            }
        }
        lowest.map(|(at, page_no)| (at, page_no, limit))
    }

    /// Find the newest image of a page that several cursors may have.
    async fn merge_page(&mut self, page_no: u32) -> Result<()> {
        let start = self.images.len();
        let mut newest: Option<u64> = None;
        for cursor in &mut self.cursors {
            while let Some((page, frame_no)) = cursor.peek()
                && page == page_no
            {
                if newest.is_none_or(|newest| frame_no > newest) {
                    newest = Some(frame_no);
                    self.images.truncate(start);
                    self.images.extend_from_slice(cursor.take(1).1);
                }
                cursor.advance(1).await?;
            }
        }
        self.pages.push((page_no, newest.unwrap_or_default()));
        Ok(())
    }
}

/// How many bytes each bundle may read ahead: half of the budget goes to the largest one, since it is mostly a full
/// image and all others are small beside it.
fn shares(bundles: &[Bundle], budget: usize) -> Vec<usize> {
    let largest = bundles.iter().enumerate().max_by_key(|(_, bundle)| bundle.stored_len()).map(|(at, _)| at);
    let others = bundles.len().saturating_sub(1);
    let share = |at| match others {
        0 => budget,
        _ if Some(at) == largest => budget / 2,
        _ => budget / 2 / others,
    };
    (0..bundles.len()).map(share).collect()
}

#[cfg(test)]
mod tests;
