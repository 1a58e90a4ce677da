//! What may go. Nothing here touches storage.
//!
//! A bundle goes if it is old by the rule of its level, and one of these holds:
//!
//! - a *parent* stays: a bundle of a higher level that covers it, and no bundle below the parent within its range is young
//!   (so that nothing is promised any more for the frames inside it);
//! - it lies before the *kept image*: the newest full image that ends before anything young begins;
//! - it is a snapshot, and an earlier full image that stays is followed by merged bundles without a gap up to its end.
//!
//! Every reason rests on bundles that stay. So what is deleted may be any part of the plan, in any order, and a restore of
//! everything young is possible at every moment. The newest bundle of level 0 always stays: it says where the log ends.

use std::collections::BTreeMap;

use crate::format::bundle::{Content, Trailer};
use crate::options::Retention;
use crate::storage::bundles::Head;
use crate::types::{Level, LogId};

/// What is known of a bundle that has been opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// See [`Trailer::content`].
    pub content: Content,
    /// See [`Trailer::start_frame_no`].
    pub start_frame_no: u64,
    /// See [`Trailer::end_frame_no`].
    pub end_frame_no: u64,
    /// See [`Trailer::max_commit_us`].
    pub max_commit_us: u64,
    /// Bytes of all its objects.
    pub stored_len: u64,
}

impl Known {
    /// What a trailer says. `stored_len`: bytes of all objects.
    pub fn new(trailer: &Trailer, stored_len: u64) -> Known {
        Known {
            content: trailer.content,
            start_frame_no: trailer.start_frame_no,
            end_frame_no: trailer.end_frame_no,
            max_commit_us: trailer.max_commit_us,
            stored_len,
        }
    }
}

/// A bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the listing says.
    pub head: Head,
    /// What it is. `None`: it has not been opened, and counts as young.
    pub known: Option<Known>,
}

impl Item {
    fn is_image(&self) -> bool {
        self.head.level == Level::SNAPSHOT
            || self.known.is_some_and(|known| known.content == Content::FullImage)
    }

    /// The last frame of a full image.
    fn image_end(&self) -> Option<u64> {
        match self.known {
            Some(known) if known.content == Content::FullImage => Some(known.end_frame_no),
            _ => None,
        }
    }

    /// The range of a bundle that has been opened and is neither a full image nor a terminator.
    fn range(&self) -> Option<(u64, u64)> {
        self.known
            .filter(|known| matches!(known.content, Content::EveryFrame | Content::LastImages))
            .map(|known| (known.start_frame_no, known.end_frame_no))
    }
}

/// What ages are told from: the newest bundle of level 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Time of the newest commit, microseconds since 1970.
    pub commit_us: u64,
    /// When the store says that the bundle was written.
    pub modified_us: u64,
}

/// Why a bundle goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A bundle of a higher level has what is still promised of it.
    Merged,
    /// A full image behind it stays.
    BeforeImage,
    /// A snapshot that an earlier one and the bundles behind that make up for.
    Snapshot,
    /// Another log has taken the place of its log, and everything of this one is old.
    Replaced,
}

/// A bundle that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The bundle.
    pub head: Head,
    /// Why.
    pub reason: Reason,
    /// Bytes of all its objects.
    pub stored_len: u64,
}

/// What goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpirePlan {
    /// The log.
    pub log_id: LogId,
    /// Bundles, oldest first.
    pub delete: Vec<Expired>,
    /// The earliest frame that can be restored when they are gone, as far as is known: the end of the kept image.
    pub keep_from_frame_no: Option<u64>,
    /// Keys of parts that belong to no bundle.
    pub orphans: Vec<String>,
    /// Bundles that could not be read. They stay, and so does what lies behind them.
    pub unreadable: Vec<Head>,
}

/// Decide what goes of a log. `items`: all its bundles. `is_replaced`: another log continues this one, and has a full image
/// of its own that is old by every rule.
pub fn plan(
    log_id: LogId,
    items: &[Item],
    retention: &Retention,
    reference: &Reference,
    is_replaced: bool,
) -> ExpirePlan {
    let survey = Survey::new(items, retention, reference);
    let mut doomed: BTreeMap<usize, Reason> = BTreeMap::new();
    if is_replaced && (0..items.len()).all(|at| survey.is_old_by_age(at)) {
        doomed = (0..items.len()).map(|at| (at, Reason::Replaced)).collect();
    } else {
        survey.before_image(&mut doomed);
        survey.merged(&mut doomed);
        survey.snapshots(&mut doomed);
    }
    let mut delete: Vec<Expired> = doomed
        .into_iter()
        .filter_map(|(at, reason)| {
            let stored_len = items[at].known?.stored_len;
            Some(Expired { head: items[at].head, reason, stored_len })
        })
        .collect();
    delete.sort_by_key(|expired| (expired.head.frame_no, expired.head.level));
    let keep_from_frame_no = survey.kept_image().and_then(|at| items[at].image_end());
    ExpirePlan { log_id, delete, keep_from_frame_no, orphans: Vec::new(), unreadable: Vec::new() }
}

/// The bundles that must be opened before [`plan`] can decide about the old ones: positions in `items`.
pub(super) fn unknown(
    items: &[Item],
    retention: &Retention,
    reference: &Reference,
    is_replaced: bool,
) -> Vec<usize> {
    let survey = Survey::new(items, retention, reference);
    let mut wanted: Vec<usize> = Vec::new();
    if is_replaced && (0..items.len()).all(|at| survey.may_be_old_by_age(at)) {
        wanted.extend(0..items.len());
    }
    for (at, item) in items.iter().enumerate() {
        if !survey.may_be_old(at) {
            continue;
        }
        wanted.push(at);
        // What may be its parents: of each level above the bundle that begins last at or before it.
        for level in Level::merged().filter(|level| *level > item.head.level) {
            let parent = survey
                .by_level
                .get(&level)
                .and_then(|heads| heads.range(..=item.head.frame_no).next_back().map(|(_, &parent)| parent));
            wanted.extend(parent);
        }
    }
    wanted.extend(survey.first_snapshot_before(survey.first_young()));
    wanted.extend(survey.cover_of_old_snapshots());
    wanted.retain(|&at| items[at].known.is_none());
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

struct Survey<'a> {
    items: &'a [Item],
    retention: &'a Retention,
    reference: &'a Reference,
    /// Positions by level and frame in the name.
    by_level: BTreeMap<Level, BTreeMap<u64, usize>>,
}

impl<'a> Survey<'a> {
    fn new(items: &'a [Item], retention: &'a Retention, reference: &'a Reference) -> Survey<'a> {
        let mut by_level: BTreeMap<Level, BTreeMap<u64, usize>> = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            by_level.entry(item.head.level).or_default().insert(item.head.frame_no, at);
        }
        Survey { items, retention, reference, by_level }
    }

    /// Whether both clocks say that a bundle is older than its level keeps.
    fn is_old_by_age(&self, at: usize) -> bool {
        let item = &self.items[at];
        let (Some(known), Some(age)) = (item.known, self.retention.rule(item.head.level).age) else {
            return false;
        };
        let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let is_older =
            |time_us: u64, newest_us: u64| newest_us.checked_sub(time_us).is_none_or(|us| us > age_us);
        // A terminator has no commits, and is as old as the bundle before it, or older.
        self.is_modified_before(item, age_us) && is_older(known.max_commit_us, self.reference.commit_us)
    }

    fn is_modified_before(&self, item: &Item, age_us: u64) -> bool {
        self.reference.modified_us.saturating_sub(item.head.modified_us) > age_us
    }

    /// Whether a bundle is old by what a listing alone tells.
    fn may_be_old(&self, at: usize) -> bool {
        self.may_be_old_by_age(at) && !self.is_among_the_newest(at)
    }

    fn may_be_old_by_age(&self, at: usize) -> bool {
        let item = &self.items[at];
        let Some(age) = self.retention.rule(item.head.level).age else { return false };
        self.is_modified_before(item, u64::try_from(age.as_micros()).unwrap_or(u64::MAX))
    }

    fn is_among_the_newest(&self, at: usize) -> bool {
        let head = &self.items[at].head;
        // The newest bundle of level 0 says where the log ends.
        let least = usize::from(head.level == Level::ZERO);
        let count = (self.retention.rule(head.level).min_count as usize).max(least);
        let Some(heads) = self.by_level.get(&head.level) else { return false };
        let newer = heads.range(head.frame_no..).skip(1).take(count).count();
        newer < count
    }

    /// Whether a bundle is old by the rule of its level.
    fn is_old(&self, at: usize) -> bool {
        !self.is_among_the_newest(at) && self.is_old_by_age(at)
    }

    /// The first frame of anything young. A young full image is a point of its own, and needs nothing before it.
    fn first_young(&self) -> u64 {
        let young = (0..self.items.len()).filter(|&at| !self.items[at].is_image() && !self.is_old(at));
        young.map(|at| self.items[at].head.frame_no).min().unwrap_or(u64::MAX)
    }

    /// The newest full image that ends before anything young begins. It stays, and what lies before it may go.
    fn kept_image(&self) -> Option<usize> {
        let first_young = self.first_young();
        let images = (0..self.items.len()).filter_map(|at| Some((self.items[at].image_end()?, at)));
        images.filter(|&(end, _)| end < first_young).max().map(|(_, at)| at)
    }

    fn first_snapshot_before(&self, frame_no: u64) -> Option<usize> {
        let snapshots = self.by_level.get(&Level::SNAPSHOT)?;
        snapshots.range(..frame_no).next_back().map(|(_, &at)| at)
    }

    /// The bundles from the kept image to the last old snapshot, from the highest level down. Where one has not been
    /// opened, it is taken to reach up to the next one of its level.
    fn cover_of_old_snapshots(&self) -> Vec<usize> {
        let kept_end = self.kept_image().and_then(|at| self.items[at].image_end());
        let old =
            (0..self.items.len()).filter(|&at| self.items[at].image_end() > kept_end && self.is_old(at));
        let last = old.filter_map(|at| self.items[at].image_end()).max();
        let (Some(kept_end), Some(last)) = (kept_end, last) else { return Vec::new() };
        let mut cover = Vec::new();
        let mut position = kept_end + 1;
        while position <= last {
            let reach = self.by_level.range(..=Level::TOP).rev().find_map(|(_, heads)| {
                let (_, &at) = heads.range(..=position).next_back()?;
                match self.items[at].known {
                    Some(_) => self.items[at].range().map(|(_, end)| end).filter(|&end| end >= position),
                    None => {
                        cover.push(at);
                        heads.range(position + 1..).next().map(|(&next, _)| next - 1)
                    }
                }
            });
            match reach {
                Some(reach) => position = reach + 1,
                None => break,
            }
        }
        cover
    }

    fn before_image(&self, doomed: &mut BTreeMap<usize, Reason>) {
        let Some(kept) = self.kept_image() else { return };
        let Some(image_end) = self.items[kept].image_end() else { return };
        for (at, item) in self.items.iter().enumerate() {
            let Some(known) = item.known else { continue };
            let is_before = match known.content {
                Content::FullImage => known.end_frame_no < image_end,
                Content::EveryFrame | Content::LastImages => known.end_frame_no <= image_end,
                Content::Terminator { .. } => false,
            };
            if is_before && self.is_old(at) {
                doomed.insert(at, Reason::BeforeImage);
            }
        }
    }

    fn merged(&self, doomed: &mut BTreeMap<usize, Reason>) {
        // From the top, so that it is known which parents stay.
        for level in Level::merged().rev() {
            let Some(heads) = self.by_level.get(&level) else { continue };
            for &at in heads.values() {
                if !doomed.contains_key(&at) && self.is_old(at) && self.has_parent(at, doomed) {
                    doomed.insert(at, Reason::Merged);
                }
            }
        }
    }

    /// Whether a bundle that stays covers this one, and nothing below it within its range is young.
    fn has_parent(&self, at: usize, doomed: &BTreeMap<usize, Reason>) -> bool {
        let Some((start, end)) = self.items[at].range() else { return false };
        let above = self.by_level.range(self.items[at].head.level..).skip(1);
        above.filter(|(level, _)| **level <= Level::TOP).any(|(&level, heads)| {
            let Some((_, &parent)) = heads.range(..=start).next_back() else { return false };
            let Some((parent_start, parent_end)) = self.items[parent].range() else { return false };
            let covers = parent_start <= start && end <= parent_end && !doomed.contains_key(&parent);
            covers
                && self.by_level.range(..level).all(|(_, heads)| {
                    // Ranges nest: what is within the parent begins there.
                    heads.range(parent_start..=parent_end).all(|(_, &below)| self.is_old(below))
                })
        })
    }

    fn snapshots(&self, doomed: &mut BTreeMap<usize, Reason>) {
        let Some(kept) = self.kept_image() else { return };
        let Some(mut image_end) = self.items[kept].image_end() else { return };
        let mut images: Vec<(u64, usize)> = (0..self.items.len())
            .filter_map(|at| Some((self.items[at].image_end()?, at)))
            .filter(|&(end, _)| end > image_end)
            .collect();
        images.sort_unstable();
        for (end, at) in images {
            let is_snapshot = self.items[at].head.level == Level::SNAPSHOT;
            if is_snapshot && self.is_old(at) && self.is_covered(image_end + 1, end, doomed) {
                doomed.insert(at, Reason::Snapshot);
            } else {
                image_end = end;
            }
        }
    }

    /// Whether merged bundles that stay hold every frame from `start` to `end`.
    fn is_covered(&self, start: u64, end: u64, doomed: &BTreeMap<usize, Reason>) -> bool {
        let mut position = start;
        while position <= end {
            let reach = self
                .by_level
                .range(..=Level::TOP)
                .filter_map(|(_, heads)| {
                    let (_, &at) = heads.range(..=position).next_back()?;
                    let (_, reach) = self.items[at].range()?;
                    (!doomed.contains_key(&at) && reach >= position).then_some(reach)
                })
                .max();
            match reach {
                Some(reach) => position = reach + 1,
                None => return false,
            }
        }
        true
    }
}
