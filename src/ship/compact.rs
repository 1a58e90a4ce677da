//! Compaction: bundles of a level are merged into one of the level above.
//!
//! [`MERGE_COUNT`] bundles that follow each other make one of the level above, which keeps the last image of each page and
//! all commits. Nothing here asks a clock. A full image or a gap is a *barrier*: a merge does not reach across it, and what
//! is left in front of it is merged although it is fewer. So everything of a level but its newest bundles, and the full
//! images, is covered by the level above; retention builds on that.
//!
//! Two that compact the same log choose the same merges, and so the same keys: the second one is told, and goes on with
//! what the first one made.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::{Content, Summary, Trailer};
use crate::storage::bundles::{self, Bundle, BundleWriter, Head, Written};
use crate::storage::merge::{Merge, MergeOptions};
use crate::storage::{Put, Storage};
use crate::types::{Level, LogId};

/// Bundles that are merged into one.
pub const MERGE_COUNT: usize = 32;

/// Bytes that a merge reads ahead. Together with the objects that are being written it stays far below 64 MiB.
const BUDGET: usize = 8 << 20;

/// A merge that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeJob {
    /// The level of what it makes.
    pub level: Level,
    /// The first frame.
    pub start_frame_no: u64,
    /// The last frame.
    pub end_frame_no: u64,
    /// Bundles that are merged.
    pub bundle_count: usize,
}

/// A merge that has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What was to be done.
    pub job: MergeJob,
    /// What it made. [`Put::Taken`]: somebody else was faster.
    pub written: Written,
}

/// What compaction must know of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    head: Head,
    /// The last frame, and whether it can be merged. `None`: it has not been opened.
    known: Option<(u64, bool)>,
}

/// What there is of a level behind the last merge.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// By first frame.
    entries: BTreeMap<u64, Entry>,
    /// The first frame that the level above does not cover.
    from: u64,
}

/// What to do with the bundles of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Merge this many, the first ones.
    Merge(usize),
    /// The first one is no part of any merge.
    Skip,
    /// Look at this one first.
    Open(u64),
    /// There is nothing to do before more bundles come.
    Wait,
}

impl Pending {
    /// What to do. Pure.
    fn choose(&self) -> Choice {
        let mut run = 0;
        let mut next_frame_no = None;
        for entry in self.entries.values() {
            if run == MERGE_COUNT {
                break;
            }
            let follows = next_frame_no.is_none_or(|next| next == entry.head.frame_no);
            if !follows {
                return Choice::Merge(run);
            }
            let Some((end_frame_no, is_mergeable)) = entry.known else {
                // While there are too few for a merge, nothing is opened only to find a barrier.
                let is_worth_it = self.entries.len() >= MERGE_COUNT;
                return if is_worth_it { Choice::Open(entry.head.frame_no) } else { Choice::Wait };
            };
            if !is_mergeable {
                return if run == 0 { Choice::Skip } else { Choice::Merge(run) };
            }
            run += 1;
            next_frame_no = end_frame_no.checked_add(1);
        }
        if run == MERGE_COUNT { Choice::Merge(run) } else { Choice::Wait }
    }
}

/// Compacts one log, one merge at a time. Knows what there is from one listing per level, and from what it is told.
pub struct Compactor {
    storage: Arc<dyn Storage>,
    log_id: LogId,
    levels: Option<BTreeMap<Level, Pending>>,
}

impl Compactor {
    /// Nothing is asked of storage yet.
    pub fn new(storage: &Arc<dyn Storage>, log_id: LogId) -> Compactor {
        Compactor { storage: Arc::clone(storage), log_id, levels: None }
    }

    /// Note a bundle of level 0 that has been written meanwhile. `stored_len`: bytes of its head.
    pub fn note(&mut self, head: Head, trailer: &Trailer) {
        if let Some(levels) = &mut self.levels {
            let known = Some((trailer.end_frame_no, is_mergeable(trailer)));
            let pending = levels.entry(head.level).or_default();
            // What is told of late may have been listed, and merged, before.
            if head.frame_no >= pending.from {
                pending.entries.insert(head.frame_no, Entry { head, known });
            }
        }
    }

    /// Forget what there is: the next step asks storage.
    pub fn forget(&mut self) {
        self.levels = None;
    }

    /// The next merge that is due; `None`: there is none. Opens what it must know, and may do so for long after months
    /// without compaction.
    pub async fn due(&mut self) -> Result<Option<MergeJob>> {
        if self.levels.is_none() {
            self.levels = Some(self.load().await?);
        }
        let levels = self.levels.get_or_insert_default();
        for level in Level::merged() {
            let (Some(above), Some(pending)) = (level.above(), levels.get_mut(&level)) else { continue };
            loop {
                match pending.choose() {
                    Choice::Wait => break,
                    Choice::Skip => {
                        pending.entries.pop_first();
                    }
                    Choice::Open(frame_no) => {
                        let Some(entry) = pending.entries.get_mut(&frame_no) else { break };
                        let bundle = Bundle::open(&self.storage, &entry.head).await?;
                        entry.known = Some((bundle.trailer().end_frame_no, is_mergeable(bundle.trailer())));
                    }
                    Choice::Merge(count) => {
                        let mut run = pending.entries.values().take(count);
                        let first = run.next();
                        let last = run.next_back().or(first);
                        let (Some(first), Some((end_frame_no, _))) =
                            (first, last.and_then(|last| last.known))
                        else {
                            break;
                        };
                        return Ok(Some(MergeJob {
                            level: above,
                            start_frame_no: first.head.frame_no,
                            end_frame_no,
                            bundle_count: count,
                        }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Do the next merge that is due; `None`: there is none. `nonce` must be random.
    ///
    /// A bundle that is gone (somebody else compacts or expires the same log) is no error: the next step looks anew.
    pub async fn step(&mut self, nonce: u64) -> Result<Option<Merged>> {
        let result = self.try_step(nonce).await;
        if result.is_err() {
            self.forget();
        }
        result
    }

    async fn try_step(&mut self, nonce: u64) -> Result<Option<Merged>> {
        let first = self.merge_next(nonce).await;
        // What was listed may have been merged and deleted by somebody else.
        let merged = match first {
            Err(Error::Storage { kind: StorageErrorKind::NotFound, .. }) => {
                self.forget();
                self.merge_next(nonce).await?
            }
            other => other?,
        };
        match &merged {
            Some(Merged { written: Written { put: Put::Taken, .. }, .. }) => self.forget(),
            Some(Merged { job, written }) => self.merged(job, written),
            None => {}
        }
        Ok(merged)
    }

    async fn merge_next(&mut self, nonce: u64) -> Result<Option<Merged>> {
        let Some(job) = self.due().await? else { return Ok(None) };
        let written = self.run(&job, nonce).await?;
        Ok(Some(Merged { job, written }))
    }

    /// What a merge changes: its bundles are done with, and the level above has one more.
    fn merged(&mut self, job: &MergeJob, written: &Written) {
        let Some(levels) = &mut self.levels else { return };
        for (level, pending) in levels.iter_mut() {
            if level.above() == Some(job.level) {
                pending.from = job.end_frame_no.saturating_add(1);
                pending.entries = pending.entries.split_off(&pending.from);
            }
        }
        let head = Head {
            log_id: self.log_id,
            level: job.level,
            frame_no: job.start_frame_no,
            size: written.trailer.object_size(),
            modified_us: 0,
        };
        self.note(head, &written.trailer);
    }

    /// What there is of each level behind what the level above covers.
    async fn load(&self) -> Result<BTreeMap<Level, Pending>> {
        let mut levels = BTreeMap::new();
        // The first frame that the level above does not cover yet.
        let mut from = 0;
        for level in Level::merged().rev() {
            let listed = bundles::list(&*self.storage, self.log_id, level, from, usize::MAX).await?;
            let mut pending = Pending { entries: BTreeMap::new(), from };
            for head in listed.iter().filter(|head| head.frame_no >= from) {
                pending.entries.insert(head.frame_no, Entry { head: *head, known: None });
            }
            if let Some(head) = listed.first() {
                let newest = Bundle::open(&self.storage, head).await?;
                from = from.max(newest.trailer().end_frame_no.saturating_add(1));
                if let Some(entry) = pending.entries.get_mut(&head.frame_no) {
                    entry.known = Some((newest.trailer().end_frame_no, is_mergeable(newest.trailer())));
                }
            }
            levels.insert(level, pending);
        }
        Ok(levels)
    }

    async fn run(&self, job: &MergeJob, nonce: u64) -> Result<Written> {
        let levels = self.levels.iter().flatten();
        let heads: Vec<Head> = levels
            .filter(|(level, _)| level.above() == Some(job.level))
            .flat_map(|(_, pending)| pending.entries.values().take(job.bundle_count))
            .map(|entry| entry.head)
            .collect();
        let mut bundles = Vec::with_capacity(heads.len());
        for head in &heads {
            bundles.push(Bundle::open(&self.storage, head).await?);
        }
        merge_bundles(&self.storage, bundles, job.level, nonce).await
    }
}

/// Merge bundles that follow each other into one of `level`. Memory is bounded whatever their size.
async fn merge_bundles(
    storage: &Arc<dyn Storage>,
    bundles: Vec<Bundle>,
    level: Level,
    nonce: u64,
) -> Result<Written> {
    let (Some(first), Some(last)) = (bundles.first(), bundles.last()) else {
        return Err(Error::Usage("there is nothing to merge".into()));
    };
    let end = *last.trailer();
    let summary = Summary {
        log_id: end.log_id,
        level,
        content: Content::LastImages,
        start_frame_no: first.trailer().start_frame_no,
        end_frame_no: end.end_frame_no,
        db_size_pages: end.db_size_pages,
        nonce,
    };
    let mut writer = BundleWriter::new(storage, summary, end.page_size);
    let result = copy(&mut writer, bundles, end.db_size_pages).await;
    match result {
        Ok(()) => writer.finish().await,
        Err(error) => {
            // What cannot be deleted now is found as an orphan some day; the error that came first is told.
            let _ = writer.abort().await;
            Err(error)
        }
    }
}

async fn copy(writer: &mut BundleWriter, bundles: Vec<Bundle>, db_size_pages: u32) -> Result<()> {
    // Pages behind the end were cut off: the database has shrunk.
    let options = MergeOptions { last_page_no: db_size_pages, budget: BUDGET, ..MergeOptions::default() };
    let mut merge = Merge::new(bundles.clone(), &options).await?;
    while let Some(run) = merge.next_run().await? {
        for (page_no, frame_no, image) in run.iter() {
            writer.push_image(page_no, frame_no, image).await?;
        }
    }
    drop(merge);
    for bundle in &bundles {
        let mut commits = bundle.commits();
        while let Some(commit) = commits.next().await? {
            writer.push_commit(commit).await?;
        }
    }
    Ok(())
}

fn is_mergeable(trailer: &Trailer) -> bool {
    matches!(trailer.content, Content::EveryFrame | Content::LastImages)
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
