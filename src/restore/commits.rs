//! The commits of a log, as storage has them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::lineage;
use super::resolve::log_ends;
use super::run::block_on;
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::{Commit, Content};
use crate::options::StorageUrl;
use crate::storage::bundles::{self, Bundle, Head};
use crate::storage::{self, RetryPolicy, Storage};
use crate::types::{Level, LogId, PageSize};

/// A commit, as a listing of a log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedCommit {
    /// The log.
    pub log_id: LogId,
    /// What is known of the commit.
    pub commit: Commit,
    /// Frames that it wrote. `None`: what was before it is not known.
    pub frames: Option<u64>,
    /// Page size.
    pub page_size: PageSize,
}

impl LoggedCommit {
    /// Bytes of the pages that it wrote.
    pub fn bytes(&self) -> Option<u64> {
        self.frames.map(|frames| frames.saturating_mul(u64::from(self.page_size.get())))
    }
}

/// Which commits are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// This log, instead of the live one and those before it.
    pub log_id: Option<LogId>,
    /// Frames.
    pub frames: RangeInclusive<u64>,
    /// Times, microseconds since 1970.
    pub times: RangeInclusive<u64>,
}

impl Default for Wanted {
    /// All of them.
    fn default() -> Wanted {
        Wanted { log_id: None, frames: 0..=u64::MAX, times: 0..=u64::MAX }
    }
}

impl Wanted {
    /// Whether this one is.
    pub fn contains(&self, commit: &Commit) -> bool {
        self.frames.contains(&commit.frame_no) && self.times.contains(&commit.commit_us)
    }
}

/// Call `each` with every wanted commit at `url`, in the order in which they were made: of each log by frame, older logs
/// first. Blocks. Holds no more than a few thousand commits.
///
/// Commits are known for as long as any bundle has them, also those that cannot be restored any more.
pub fn commits(
    url: &StorageUrl,
    policy: RetryPolicy,
    wanted: &Wanted,
    mut each: impl FnMut(&LoggedCommit),
) -> Result<()> {
    block_on(async {
        let storage = storage::open(url, policy)?;
        commits_in(&storage, wanted, &mut each).await
    })
}

/// The same, of an open storage.
pub async fn commits_in(
    storage: &Arc<dyn Storage>,
    wanted: &Wanted,
    each: &mut dyn FnMut(&LoggedCommit),
) -> Result<()> {
    let lineage =
        lineage::choose(&log_ends(storage).await?, wanted.log_id).map_err(|problem| match problem {
            lineage::NoLog::Several(_) => Error::Usage(format!("'{}' {problem}", storage.url())),
            _ => Error::NothingThere { url: storage.url().to_owned(), what: problem.to_string() },
        })?;
    let logs = if wanted.log_id.is_some() { &lineage.logs[..1] } else { &lineage.logs[..] };
    for log in logs.iter().rev() {
        of_log(storage, log.log_id, wanted, each).await?;
    }
    Ok(())
}

async fn of_log(
    storage: &Arc<dyn Storage>,
    log_id: LogId,
    wanted: &Wanted,
    each: &mut dyn FnMut(&LoggedCommit),
) -> Result<()> {
    let mut levels: BTreeMap<Level, BTreeMap<u64, Head>> = BTreeMap::new();
    for level in Level::merged() {
        let heads = bundles::list(&**storage, log_id, level, *wanted.frames.start(), usize::MAX).await?;
        levels.insert(level, heads.into_iter().map(|head| (head.frame_no, head)).collect());
    }
    // The next frame whose commit has not been told.
    let mut next = *wanted.frames.start();
    while next <= *wanted.frames.end() {
        let bundle = match covering(storage, &mut levels, next).await? {
            Some(bundle) => bundle,
            None => {
                // Nothing has it: expired, or missing. On with what comes behind.
                let behind =
                    levels.values().filter_map(|heads| heads.range(next..).next()).map(|(start, _)| *start);
                match behind.min() {
                    Some(start) => {
                        next = start;
                        continue;
                    }
                    None => return Ok(()),
                }
            }
        };
        of_bundle(&bundle, next, wanted, each).await?;
        next = bundle.trailer().end_frame_no + 1;
    }
    Ok(())
}

/// A bundle that covers a frame, of the highest level that has one.
async fn covering(
    storage: &Arc<dyn Storage>,
    levels: &mut BTreeMap<Level, BTreeMap<u64, Head>>,
    frame_no: u64,
) -> Result<Option<Bundle>> {
    for heads in levels.values_mut().rev() {
        let Some(head) = heads.range(..=frame_no).next_back().map(|(_, head)| *head) else { continue };
        match Bundle::open(storage, &head).await {
            Ok(bundle)
                if bundle.trailer().end_frame_no >= frame_no
                    && !matches!(bundle.trailer().content, Content::Terminator { .. }) =>
            {
                return Ok(Some(bundle));
            }
            // What ends before this frame is of no use for later ones either.
            Ok(_) | Err(Error::Storage { kind: StorageErrorKind::NotFound, .. }) => {
                heads.remove(&head.frame_no);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn of_bundle(
    bundle: &Bundle,
    next: u64,
    wanted: &Wanted,
    each: &mut dyn FnMut(&LoggedCommit),
) -> Result<()> {
    let trailer = bundle.trailer();
    if trailer.min_commit_us > *wanted.times.end() || trailer.max_commit_us < *wanted.times.start() {
        return Ok(());
    }
    // What was before a full image does not end where its first commit begins.
    let is_whole = trailer.content != Content::FullImage;
    let mut before = is_whole.then(|| trailer.start_frame_no.saturating_sub(1));
    let mut commits = bundle.commits();
    while let Some(commit) = commits.next().await? {
        let frames = before.map(|before| commit.frame_no.saturating_sub(before));
        before = Some(commit.frame_no);
        if commit.frame_no >= next && wanted.contains(&commit) {
            each(&LoggedCommit { log_id: trailer.log_id, commit, frames, page_size: trailer.page_size });
        }
    }
    Ok(())
}
