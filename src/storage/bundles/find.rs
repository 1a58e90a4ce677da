//! Finding: the bundle that holds a frame, the commit of a time, and how far storage has come.

use std::collections::VecDeque;
use std::sync::Arc;

use super::heads::{Head, list_up_to};
use super::{Bundle, damaged};
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::{Commit, Content, Trailer};
use crate::storage::{Storage, keys};
use crate::types::{Level, LogId};

/// How far a log is in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Storage has every frame up to this one.
    pub end_frame_no: u64,
    /// When the commit that ends there was made, microseconds since 1970, by the clock of the machine that made it.
    /// `None`: the log has been ended, and the bundle that knew it has expired.
    pub last_commit_us: Option<u64>,
    /// The log that goes on, when this one has been ended.
    pub terminator: Option<LogId>,
    /// The bundle that says so: the newest of level 0, or a merged one that goes further than what is left of level 0.
    pub trailer: Trailer,
}

/// How far a log is in storage; `None`: nothing of it is there. Normally one listing for each level, one read for each that
/// has bundles, and one question.
///
/// A listing may be older than what is there. The keys of level 0 follow one from the other, and an object that is asked for
/// by its key is never passed over; so the last one that is listed is asked for its successor. When the bundles of level 0
/// have been merged and deleted, that succession is broken: so the merged levels say how far it has come at least.
pub async fn durable_frame_no(storage: &Arc<dyn Storage>, log_id: LogId) -> Result<Option<Durable>> {
    let mut newest = newest_merged(storage, log_id).await?;
    let mut head = list_up_to(&**storage, log_id, Level::ZERO, u64::MAX, 1).await?.first().copied();
    loop {
        if let Some(head) = &head {
            let trailer = *Bundle::open(storage, head).await?.trailer();
            // The end of a terminator is that of the bundle before it.
            if newest.is_none_or(|newest: Trailer| trailer.end_frame_no >= newest.end_frame_no) {
                newest = Some(trailer);
            }
        }
        let next = match newest {
            None => 0,
            Some(Trailer { content: Content::Terminator { .. }, .. }) => break,
            Some(trailer) => trailer.end_frame_no.saturating_add(1),
        };
        head = storage.head(&keys::head_key(log_id, Level::ZERO, next)).await?.as_ref().and_then(Head::of);
        if head.is_none() {
            break;
        }
    }
    let Some(trailer) = newest else { return Ok(None) };
    let mut durable = Durable {
        end_frame_no: trailer.end_frame_no,
        last_commit_us: Some(trailer.last_commit_us),
        terminator: None,
        trailer,
    };
    if let Content::Terminator { successor } = trailer.content {
        durable.terminator = Some(successor);
        // A terminator has no commits: the bundle before it knows the last one.
        let before = find_by_frame(storage, log_id, Level::ZERO, trailer.end_frame_no).await?;
        durable.last_commit_us = before.map(|bundle| bundle.trailer().last_commit_us);
    }
    Ok(Some(durable))
}

/// The trailer of the merged bundle that goes furthest.
///
/// One that is damaged, or that expires meanwhile, is passed over: others may say the same.
async fn newest_merged(storage: &Arc<dyn Storage>, log_id: LogId) -> Result<Option<Trailer>> {
    let listings = Level::merged().skip(1).map(|level| list_up_to(&**storage, log_id, level, u64::MAX, 1));
    let mut newest: Option<Trailer> = None;
    for head in futures::future::try_join_all(listings).await?.iter().flatten() {
        match Bundle::open(storage, head).await {
            Ok(bundle) if newest.is_none_or(|newest| bundle.trailer().end_frame_no > newest.end_frame_no) => {
                newest = Some(*bundle.trailer());
            }
            Ok(_)
            | Err(Error::DamagedObject { .. } | Error::Storage { kind: StorageErrorKind::NotFound, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

/// The bundle of a level that covers a frame, by one listing and one read. For snapshots: the newest one that ends at or
/// before it.
pub async fn find_by_frame(
    storage: &Arc<dyn Storage>,
    log_id: LogId,
    level: Level,
    frame_no: u64,
) -> Result<Option<Bundle>> {
    let heads = list_up_to(&**storage, log_id, level, frame_no, 1).await?;
    let Some(head) = heads.first() else { return Ok(None) };
    let bundle = Bundle::open(storage, head).await?;
    let fits = level == Level::SNAPSHOT || bundle.trailer().end_frame_no >= frame_no;
    Ok(fits.then_some(bundle))
}

/// The commit of a log that ends with `frame_no`; `None`: storage knows of no such commit.
pub async fn commit_at(storage: &Arc<dyn Storage>, log_id: LogId, frame_no: u64) -> Result<Option<Commit>> {
    for level in Level::merged().chain([Level::SNAPSHOT]) {
        if let Some(bundle) = find_by_frame(storage, log_id, level, frame_no).await?
            && let Some(commit) = bundle.commit_at(frame_no).await?
        {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

/// The state of a log at a time: of its commits that were made at `time_us` (microseconds since 1970) or before, the one
/// with the highest frame. Clocks jump, so that is not always the one with the latest time. `None`: there is none.
pub async fn find_by_time(storage: &Arc<dyn Storage>, log_id: LogId, time_us: u64) -> Result<Option<Commit>> {
    // Downwards from the newest frame, over whatever covers most at a time.
    let mut walk = Walk::new(storage, log_id);
    let mut position = u64::MAX;
    while let Some(bundle) = walk.at_or_before(position).await? {
        if let Some(commit) = bundle.last_commit_at(time_us, position).await? {
            return Ok(Some(commit));
        }
        let trailer = bundle.trailer();
        // A full image is a single point: other bundles may cover the same range.
        let next = match trailer.content {
            Content::FullImage => trailer.end_frame_no,
            _ => trailer.start_frame_no,
        };
        match next.checked_sub(1) {
            Some(next) => position = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The bundles of all levels, downwards.
struct Walk<'a> {
    storage: &'a Arc<dyn Storage>,
    log_id: LogId,
    levels: Vec<LevelWalk>,
}

struct LevelWalk {
    level: Level,
    /// What has been listed and lies further down, newest first.
    heads: VecDeque<Head>,
    /// The next listing begins here. `None`: there is nothing more.
    next_frame_no: Option<u64>,
    /// The bundle at the front.
    open: Option<Bundle>,
}

impl<'a> Walk<'a> {
    fn new(storage: &'a Arc<dyn Storage>, log_id: LogId) -> Walk<'a> {
        let levels = [Level::SNAPSHOT].into_iter().chain(Level::merged());
        let walk =
            |level| LevelWalk { level, heads: VecDeque::new(), next_frame_no: Some(u64::MAX), open: None };
        Walk { storage, log_id, levels: levels.rev().map(walk).collect() }
    }

    /// The bundle that covers `position`, of the highest level; when none does, the one that ends closest before it.
    /// `position` goes down from call to call.
    async fn at_or_before(&mut self, position: u64) -> Result<Option<&Bundle>> {
        let mut best: Option<(usize, u64)> = None;
        for (at, level) in self.levels.iter_mut().enumerate() {
            level.descend(self.storage, self.log_id, position).await?;
            let Some(bundle) = &level.open else { continue };
            let reach = bundle.trailer().end_frame_no.min(position);
            // The levels below cover less: they need not be looked at.
            if reach == position && bundle.trailer().content != Content::FullImage {
                best = Some((at, reach));
                break;
            }
            if best.is_none_or(|(_, other)| reach > other) {
                best = Some((at, reach));
            }
        }
        Ok(best.and_then(|(at, _)| self.levels[at].open.as_ref()))
    }
}

impl LevelWalk {
    /// Go down until the bundle at the front begins (full images: ends) at or before `position`.
    async fn descend(&mut self, storage: &Arc<dyn Storage>, log_id: LogId, position: u64) -> Result<()> {
        loop {
            if let Some(bundle) = &self.open {
                let trailer = bundle.trailer();
                let is_there = match trailer.content {
                    Content::FullImage => trailer.end_frame_no <= position,
                    // It has no commits, and its end is that of the bundle before it.
                    Content::Terminator { .. } => false,
                    _ => trailer.start_frame_no <= position || trailer.end_frame_no <= position,
                };
                if is_there {
                    return Ok(());
                }
                self.open = None;
            }
            while self.heads.front().is_some_and(|head| head.frame_no > position) {
                self.heads.pop_front();
            }
            if let Some(head) = self.heads.pop_front() {
                self.open = Some(Bundle::open(storage, &head).await?);
                continue;
            }
            let Some(from) = self.next_frame_no else { return Ok(()) };
            let from = from.min(position);
            let heads = list_up_to(&**storage, log_id, self.level, from, 100).await?;
            self.next_frame_no = heads.last().and_then(|head| head.frame_no.checked_sub(1));
            if !heads.is_sorted_by(|newer, older| newer.frame_no > older.frame_no) {
                let key = heads.first().map(Head::key).unwrap_or_default();
                return Err(damaged(&**storage, &key, None, "the listing is not in order"));
            }
            self.heads = heads.into();
        }
    }
}
