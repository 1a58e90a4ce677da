//! Merging bundles: of each page the image with the highest frame number. Compaction and restore are this merge.
//!
//! Each bundle has a cursor (`cursor.rs`) that reads it in windows, some of them ahead, and gives its pages in ascending
//! order. Memory is bounded by [`MergeOptions::budget`] and by [`MERGE_MAX`], whatever the size of the database.

mod cursor;
mod decoded;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cursor::Cursor;

use crate::error::{Error, Result};
use crate::storage::bundles::Bundle;
use crate::types::PageSize;

/// The most bundles that are merged at a time: each one needs memory of its own, whatever the budget. Who restores from
/// more than that merges them in groups, oldest first, and writes the pages of one group over those of the one before.
pub const MERGE_MAX: usize = 64;

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
    /// The image of a page that several cursors have.
    newest: Vec<u8>,
    newest_at: [(u32, u64); 1],
    fetched: Arc<AtomicU64>,
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
        let fetched = Arc::new(AtomicU64::new(0));
        let shares = shares(&bundles, options.budget);
        let mut cursors: Vec<Cursor> = bundles
            .into_iter()
            .zip(shares)
            .map(|(bundle, share)| Cursor::new(bundle, options, share, Arc::clone(&fetched)))
            .collect();
        // First let all of them begin to read, then wait for each.
        for cursor in &mut cursors {
            cursor.fill().await?;
        }
        for cursor in &mut cursors {
            cursor.load().await?;
        }
        Ok(Merge {
            cursors,
            page_size,
            taken: None,
            newest: Vec::with_capacity(page_size.bytes()),
            newest_at: [(0, 0)],
            fetched,
        })
    }

    /// The page size of all bundles.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Bytes that were read from storage so far, for a progress bar.
    pub fn fetched_len(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// The next pages. `None`: that was all.
    pub async fn next_run(&mut self) -> Result<Option<Run<'_>>> {
        if let Some((at, count)) = self.taken.take() {
            self.cursors[at].advance(count).await?;
        }
        // The cursor with the lowest page, and the lowest page of the others.
        let mut lowest: Option<(usize, u32)> = None;
        let mut limit = u64::MAX;
        for (at, cursor) in self.cursors.iter().enumerate() {
            let Some((page_no, _)) = cursor.peek() else { continue };
            match lowest {
                Some((_, low)) if page_no >= low => limit = limit.min(u64::from(page_no)),
                _ => {
                    if let Some((_, low)) = lowest {
                        limit = limit.min(u64::from(low));
                    }
                    lowest = Some((at, page_no));
                }
            }
        }
        let Some((at, page_no)) = lowest else { return Ok(None) };
        let count = self.cursors[at].count_below(limit);
        if count > 0 {
            self.taken = Some((at, count));
            let (pages, images) = self.cursors[at].take(count);
            return Ok(Some(Run { pages, images, page_size: self.page_size }));
        }
        self.merge_page(page_no).await?;
        Ok(Some(Run { pages: &self.newest_at, images: &self.newest, page_size: self.page_size }))
    }

    /// Find the newest image of a page that several cursors may have.
    async fn merge_page(&mut self, page_no: u32) -> Result<()> {
        let mut newest: Option<u64> = None;
        for cursor in &mut self.cursors {
            while let Some((page, frame_no)) = cursor.peek()
                && page == page_no
            {
                if newest.is_none_or(|newest| frame_no > newest) {
                    newest = Some(frame_no);
                    self.newest.clear();
                    self.newest.extend_from_slice(cursor.take(1).1);
                }
                cursor.advance(1).await?;
            }
        }
        self.newest_at = [(page_no, newest.unwrap_or_default())];
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
