//! What the bundles of a log cover, and which of its commits can be restored.

use std::collections::BTreeSet;

use super::{LevelSummary, LogSummary, Verified, is_image, log_name};
use crate::format::bundle::Content;
use crate::restore::plan::Known;
use crate::storage::Storage;
use crate::storage::bundles::Head;
use crate::types::{Level, LogId};

/// A bundle that could be read: its listing, what it is, its nonce, the time of its last commit, and its commits.
pub(super) type Opened = (Head, Known, u64, u64, u64);

/// Check a log.
pub(super) fn check(
    storage: &dyn Storage,
    log_id: LogId,
    heads: &[Head],
    opened: &[Opened],
    verified: &mut Verified,
) -> LogSummary {
    let levels = Level::merged().chain([Level::SNAPSHOT]).filter_map(|level| {
        let bundles = heads.iter().filter(|head| head.level == level).count() as u64;
        let bytes = opened.iter().filter(|it| it.0.level == level).map(|it| it.1.bytes);
        (bundles > 0).then(|| LevelSummary { level, bundles, bytes: bytes.fold(0, u64::saturating_add) })
    });
    let levels = levels.collect();
    let name = log_name(storage, log_id);
    let knowns: Vec<(Level, Known)> = opened.iter().map(|it| (it.0.level, it.1)).collect();
    let content: Vec<&Known> =
        knowns.iter().map(|(_, known)| known).filter(|known| holds_frames(known)).collect();
    let first = content.iter().filter(|known| is_image(known)).map(|known| known.end_frame_no).min();
    let last = content.iter().map(|known| known.end_frame_no).max();

    check_levels(&name, &knowns, verified);
    if let (Some(first), Some(last)) = (first, last) {
        for (from, to) in gaps(&content, first, last) {
            let what = format!(
                "frames {from} to {to} are in no bundle, so what lies behind them cannot be reached from \
                                before"
            );
            verified.find(&name, what);
        }
    } else if last.is_some() {
        verified.find(&name, "there is no full image of the database, so nothing can be restored");
    }
    let reachable = reachable(&content);
    let mut restorable = 0;
    let mut whole = Vec::new();
    let mut unreachable = Vec::new();
    for (_, known, _, _, commits) in opened.iter().filter(|it| holds_frames(&it.1)) {
        if first.is_none_or(|first| known.end_frame_no < first) {
            continue;
        } else if !reachable.contains(&known.end_frame_no) {
            unreachable.push(known.end_frame_no);
        } else if known.content == Content::EveryFrame {
            restorable += commits;
            whole.push((known.start_frame_no, known.end_frame_no));
        }
    }
    // Every other end is one more, unless a bundle with every frame has counted it.
    whole.sort_unstable();
    let is_counted = |end: u64| {
        let behind = whole.partition_point(|range| range.0 <= end);
        behind.checked_sub(1).is_some_and(|at| whole[at].1 >= end)
    };
    restorable += reachable.iter().filter(|end| !is_counted(**end)).count() as u64;
    unreachable.sort_unstable();
    unreachable.dedup();
    if let (Some(one), Some(other)) = (unreachable.first(), unreachable.last()) {
        let what =
            format!("{} commits cannot be restored, from frame {one} to frame {other}", unreachable.len());
        verified.find(&name, what);
    }
    let old = content.iter().filter(|known| first.is_some_and(|first| known.end_frame_no < first)).count();
    if old > 0 {
        verified
            .notes
            .push(format!("log {log_id}: {old} bundles end before the oldest full image, and are of no use"));
    }
    let successor = knowns.iter().find_map(|(_, known)| match known.content {
        Content::Terminator { successor } => Some(successor),
        _ => None,
    });
    LogSummary { log_id, levels, first_frame_no: first, end_frame_no: last, restorable, successor }
}

fn holds_frames(known: &Known) -> bool {
    !matches!(known.content, Content::Terminator { .. })
}

/// Within each level bundles follow each other; the newest one of level 0 ends last, or is a terminator behind it.
fn check_levels(name: &str, knowns: &[(Level, Known)], verified: &mut Verified) {
    let mut ends = Vec::new();
    for level in Level::merged() {
        let mut bundles: Vec<&Known> =
            knowns.iter().filter(|(other, _)| *other == level).map(|(_, known)| known).collect();
        bundles.sort_unstable_by_key(|known| known.start_frame_no);
        for pair in bundles.windows(2) {
            let (one, next) = (pair[0], pair[1]);
            if !holds_frames(one) {
                let what = format!(
                    "level {level} goes on at frame {} behind the terminator at frame {}",
                    next.start_frame_no, one.start_frame_no
                );
                verified.find(name, what);
            } else if one.end_frame_no >= next.start_frame_no {
                let what = format!(
                    "level {level} has frames {} to {} twice",
                    next.start_frame_no,
                    one.end_frame_no.min(next.end_frame_no)
                );
                verified.find(name, what);
            } else if one.end_frame_no + 1 < next.start_frame_no && level == Level::ZERO {
                verified.notes.push(format!(
                    "'{name}': level 0 has no frames {} to {}: they were merged, or lie before a full image",
                    one.end_frame_no + 1,
                    next.start_frame_no - 1
                ));
            }
        }
        ends.extend(bundles.last().map(|known| (level, known.end_frame_no)));
    }
    let snapshots = knowns.iter().filter(|(level, _)| *level == Level::SNAPSHOT);
    ends.extend(snapshots.map(|(_, known)| known.end_frame_no).max().map(|end| (Level::SNAPSHOT, end)));
    let zero = ends.iter().find(|(level, _)| *level == Level::ZERO).map(|&(_, end)| end);
    for &(level, end) in &ends {
        if zero.is_none_or(|zero| zero < end) {
            let ends = zero.map_or_else(|| "is empty".to_owned(), |zero| format!("ends at frame {zero}"));
            verified.find(name, format!("level 0 {ends}, but level {level} goes on to frame {end}"));
        }
    }
}

/// Ranges behind `first`, up to `last`, that no bundle covers.
fn gaps(content: &[&Known], first: u64, last: u64) -> Vec<(u64, u64)> {
    // A full image of a snapshot is a point; one of level 0 that bridges a gap covers it.
    let mut ranges: Vec<(u64, u64)> = content
        .iter()
        .map(|known| (known.start_frame_no, known.end_frame_no))
        .filter(|range| range.0 > 0)
        .collect();
    ranges.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = first + 1;
    for (start, end) in ranges {
        if start > next {
            gaps.push((next, start - 1));
        }
        next = next.max(end + 1);
    }
    if next <= last {
        gaps.push((next, last));
    }
    gaps
}

/// The ends of bundles to which the database can be restored: full images, and whatever goes on from such an end.
fn reachable(content: &[&Known]) -> BTreeSet<u64> {
    let mut by_end = content.to_vec();
    by_end.sort_unstable_by_key(|known| known.end_frame_no);
    let mut reachable = BTreeSet::new();
    for known in by_end {
        let before = known.start_frame_no.saturating_sub(1)..known.end_frame_no;
        if is_image(known) || reachable.range(before).next().is_some() {
            reachable.insert(known.end_frame_no);
        }
    }
    reachable
}
