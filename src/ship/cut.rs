//! Cutting a bundle of level 0 from the log: every frame of a range that ends at a commit.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::bundle::{Commit, Content, Summary};
use crate::format::frame::{FRAME_HEADER_SIZE, commit_time};
use crate::log::Log;
use crate::memory::reserve;
use crate::storage::Storage;
use crate::storage::bundles::{BundleWriter, Written};
use crate::types::Level;

/// A bundle ends at the first commit at which it has this many frames. What is left goes into the next one.
pub(super) const FRAMES_MAX: u64 = 32768;

/// Frames and commits of a range: what a bundle will hold.
struct Range {
    start: u64,
    end: u64,
    db_size_pages: u32,
    /// (page, frame), ascending.
    images: Vec<(u32, u64)>,
    /// Times are filled in as the frames are read.
    commits: Vec<Commit>,
}

/// The frames behind `stored`, up to `target` (which ends a commit) or [`FRAMES_MAX`].
fn range(log: &Log, stored: u64, target: u64) -> Result<Option<Range>> {
    let mut range =
        Range { start: stored + 1, end: stored, db_size_pages: 0, images: Vec::new(), commits: Vec::new() };
    let mut memory = Ok(());
    log.view().for_each_mark_while(stored + 1, target, |frame_no, mark| {
        // A transaction has as many frames as its writer likes.
        memory = reserve(&mut range.images, 1, "the list of a bundle's frames")
            .and_then(|()| reserve(&mut range.commits, 1, "the list of a bundle's commits"));
        if memory.is_err() {
            return false;
        }
        range.images.push((mark.page_no, frame_no));
        if mark.db_size_pages == 0 {
            return true;
        }
        range.end = frame_no;
        range.db_size_pages = mark.db_size_pages;
        range.commits.push(Commit { frame_no, commit_us: 0, db_size_pages: mark.db_size_pages });
        frame_no - stored < FRAMES_MAX
    })?;
    memory?;
    let end = range.end;
    range.images.retain(|&(_, frame_no)| frame_no <= end);
    range.images.sort_unstable();
    Ok((!range.images.is_empty()).then_some(range))
}

/// Write the next bundle: the frames behind `stored`, up to `target`, which must be fsynced and end a commit. `None`: there
/// are none.
pub(super) async fn ship_next(
    storage: &Arc<dyn Storage>,
    log: &Log,
    stored: u64,
    target: u64,
) -> Result<Option<Written>> {
    let Some(mut range) = range(log, stored, target)? else { return Ok(None) };
    let summary = Summary {
        log_id: log.log_id(),
        level: Level::ZERO,
        content: Content::EveryFrame,
        start_frame_no: range.start,
        end_frame_no: range.end,
        db_size_pages: range.db_size_pages,
        nonce: log.io().random_u64(),
    };
    let mut writer = BundleWriter::new(storage, summary, log.page_size());
    // After an error, parts that stay behind are found by compaction some day; here is not the time to wait for them.
    write(log, &mut writer, &mut range).await.map(Some)
}

async fn write(log: &Log, writer: &mut BundleWriter, range: &mut Range) -> Result<Written> {
    let mut page = Vec::with_capacity(log.page_size().bytes());
    for &(page_no, frame_no) in &range.images {
        let commit_us = log.view().with_frame(frame_no, |frame| {
            page.clear();
            page.extend_from_slice(&frame[FRAME_HEADER_SIZE..]);
            commit_time(frame)
        })?;
        if let Some(commit_us) = commit_us
            && let Ok(at) = range.commits.binary_search_by_key(&frame_no, |commit| commit.frame_no)
        {
            range.commits[at].commit_us = commit_us;
        }
        writer.push_image(page_no, frame_no, &page).await?;
    }
    for &commit in &range.commits {
        writer.push_commit(commit).await?;
    }
    writer.finish().await
}

/// What a writer whose head was taken is told.
pub(super) fn taken(storage: &dyn Storage, log: &Log, start: u64) -> Error {
    Error::Fenced {
        url: storage.url().to_owned(),
        what: format!(
            "somebody else has put a bundle there that begins at frame {start} of log {}: two processes ship copies of one \
             database. Nothing of theirs was touched. Restore that copy, or ship this one somewhere else",
            log.log_id()
        ),
    }
}
