//! Full images of the database, read from the base file while it is pinned: the base snapshot with which a log begins, the
//! bridge over a gap, and the snapshots that come from time to time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::format::bundle::{Commit, Content, Summary};
use crate::log::{Log, PinnedBase};
use crate::memory::resize;
use crate::storage::Storage;
use crate::storage::bundles::{BundleWriter, Written};
use crate::types::Level;

/// Bytes that are read from the base file at once: what it gives in one call.
const READ_BYTES: usize = 1 << 16;

/// Write the base file, as it is pinned, as a bundle from `start_frame_no` on. Streams: memory does not depend on the size
/// of the database. `pages_done` counts.
pub(super) async fn write_image(
    storage: &Arc<dyn Storage>,
    log: &Log,
    base: &PinnedBase,
    level: Level,
    start_frame_no: u64,
    pages_done: &AtomicU64,
) -> Result<Written> {
    let summary = Summary {
        log_id: log.log_id(),
        level,
        content: Content::FullImage,
        start_frame_no,
        end_frame_no: base.commit().frame_no,
        db_size_pages: base.db_size_pages(),
        nonce: log.io().random_u64(),
    };
    let page_size = log.page_size();
    let mut writer = BundleWriter::new(storage, summary, page_size);
    let pages_at_once = (READ_BYTES / page_size.bytes()).max(1);
    let mut buffer = Vec::new();
    resize(&mut buffer, pages_at_once * page_size.bytes(), "the pages of a snapshot")?;
    let mut page_no = 1;
    while page_no <= base.db_size_pages() {
        let left = (base.db_size_pages() - page_no) as usize + 1;
        let pages = &mut buffer[..left.min(pages_at_once) * page_size.bytes()];
        base.read_pages(page_no, pages)?;
        for image in pages.chunks_exact(page_size.bytes()) {
            writer.push_image(page_no, base.commit().frame_no, image).await?;
            page_no += 1;
        }
        pages_done.store(u64::from(page_no - 1), Ordering::Relaxed);
        // Let others on this runtime have a turn, and whoever wants to stop this.
        tokio::task::yield_now().await;
    }
    let commit = Commit {
        frame_no: base.commit().frame_no,
        commit_us: base.commit().commit_us,
        db_size_pages: base.db_size_pages(),
    };
    writer.push_commit(commit).await?;
    writer.finish().await
}
