//! All commits of a log, oldest first, from as few bundles as have them.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::bundle::{Commit, Content};
use crate::storage::Storage;
use crate::storage::bundles::{self, Bundle, CommitCursor, Head};
use crate::types::{Level, LogId, PageSize};

/// A commit in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The commit.
    pub commit: Commit,
    /// Pages that it wrote. For the commit of a full image: pages of the database.
    pub pages: u64,
    /// Page size.
    pub page_size: PageSize,
    /// Whether a bundle has the state after this commit. Merging keeps the times of all commits, but only the last image
    /// of each page.
    pub is_restorable: bool,
}

/// Gives the commits of a log. Holds one block of them at a time.
pub struct Commits {
    storage: Arc<dyn Storage>,
    /// By level, highest first, each ascending.
    levels: Vec<Vec<Head>>,
    /// The first frame whose commit has not been given.
    position: u64,
    current: Option<(Bundle, CommitCursor)>,
    /// Of level 0: which commits can be restored one by one.
    exact: Vec<Head>,
}

impl Commits {
    /// List what there is of a log.
    pub async fn of(storage: &Arc<dyn Storage>, log_id: LogId) -> Result<Commits> {
        let mut levels = Vec::new();
        for level in Level::merged().rev() {
            let mut heads = bundles::list(&**storage, log_id, level, 0, usize::MAX).await?;
            heads.reverse();
            levels.push(heads);
        }
        let exact = levels.last().cloned().unwrap_or_default();
        let position = levels.iter().filter_map(|heads| heads.first()).map(|head| head.frame_no).min();
        Ok(Commits {
            storage: Arc::clone(storage),
            levels,
            position: position.unwrap_or(0),
            current: None,
            exact,
        })
    }

    /// The next commit. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            let Some((bundle, cursor)) = &mut self.current else {
                match self.find().await? {
                    None => return Ok(None),
                    Some(bundle) => {
                        let cursor = bundle.commits();
                        self.current = Some((bundle, cursor));
                        continue;
                    }
                }
            };
            let trailer = *bundle.trailer();
            let Some(commit) = cursor.next().await? else {
                self.position = self.position.max(trailer.end_frame_no + 1);
                self.current = None;
                continue;
            };
            if commit.frame_no < self.position {
                continue;
            }
            let is_image = trailer.content == Content::FullImage;
            let pages = if is_image {
                u64::from(commit.db_size_pages)
            } else {
                commit.frame_no + 1 - self.position.max(trailer.start_frame_no)
            };
            let is_restorable = commit.frame_no == trailer.end_frame_no
                || trailer.content == Content::EveryFrame
                || self.has_exactly(commit.frame_no);
            self.position = commit.frame_no + 1;
            return Ok(Some(Listed { commit, pages, page_size: trailer.page_size, is_restorable }));
        }
    }

    /// Whether level 0 still has the bundle that holds a frame.
    fn has_exactly(&self, frame_no: u64) -> bool {
        let at = self.exact.partition_point(|head| head.frame_no <= frame_no);
        // Without a gap before the next one, the bundle goes that far.
        at > 0 && (at < self.exact.len() || self.exact.len() == 1)
    }

    /// The bundle that covers the most from the position on; failing that, the next one there is.
    async fn find(&mut self) -> Result<Option<Bundle>> {
        loop {
            for heads in &self.levels {
                let at = heads.partition_point(|head| head.frame_no <= self.position);
                let Some(head) = at.checked_sub(1).map(|at| heads[at]) else { continue };
                let bundle = match Bundle::open(&self.storage, &head).await {
                    // Merged and deleted since it was listed: another level has it.
                    Err(error) if error.is_missing_object() => continue,
                    other => other?,
                };
                let trailer = bundle.trailer();
                let is_terminator = matches!(trailer.content, Content::Terminator { .. });
                if trailer.end_frame_no >= self.position && !is_terminator {
                    return Ok(Some(bundle));
                }
            }
            let next = self.levels.iter().flatten().map(|head| head.frame_no);
            match next.filter(|&frame_no| frame_no > self.position).min() {
                Some(next) => self.position = next,
                None => return Ok(None),
            }
        }
    }
}

impl Error {
    /// Whether an object is not there (any more).
    pub(crate) fn is_missing_object(&self) -> bool {
        matches!(self, Error::Storage { kind: crate::error::StorageErrorKind::NotFound, .. })
    }
}
