use std::time::Duration;

use proptest::prelude::*;

use super::plan::unknown;
use super::*;
use crate::format::bundle::Content;
use crate::options::Retention;
use crate::storage::bundles::Head;
use crate::types::{Level, LogId};

const SECOND: u64 = 1_000_000;

fn log_id() -> LogId {
    LogId(uuid::Uuid::from_u128(5))
}

fn level(code: u8) -> Level {
    Level::from_code(code).unwrap()
}

fn item(level: Level, content: Content, start: u64, end: u64, commit_us: u64, modified_us: u64) -> Item {
    let frame_no = if level == Level::SNAPSHOT { end } else { start };
    let head = Head { log_id: log_id(), level, frame_no, size: 1000, modified_us };
    let known = Known {
        content,
        start_frame_no: start,
        end_frame_no: end,
        max_commit_us: commit_us,
        stored_len: 1000,
    };
    Item { head, known: Some(known) }
}

/// A bundle whose clocks agree.
fn at(code: u8, start: u64, end: u64, second: u64) -> Item {
    let content = if code == 0 { Content::EveryFrame } else { Content::LastImages };
    item(level(code), content, start, end, second * SECOND, second * SECOND)
}

fn base(end: u64, second: u64) -> Item {
    item(Level::ZERO, Content::FullImage, 0, end, second * SECOND, second * SECOND)
}

fn snapshot(end: u64, second: u64) -> Item {
    item(Level::SNAPSHOT, Content::FullImage, 0, end, second * SECOND, second * SECOND)
}

fn now(second: u64) -> Reference {
    Reference { commit_us: second * SECOND, modified_us: second * SECOND }
}

/// What goes: level and frame in the name.
fn gone(items: &[Item], retention: &str, reference: Reference) -> Vec<(u8, u64)> {
    let retention: Retention = retention.parse().unwrap();
    let plan = plan(log_id(), items, &retention, &reference, false);
    plan.delete.iter().map(|expired| (expired.head.level.code(), expired.head.frame_no)).collect()
}

#[test]
fn what_is_young_stays() {
    let items = [
        base(0, 0),
        at(0, 1, 10, 10),
        at(0, 11, 20, 20),
        at(1, 1, 20, 20),
        snapshot(20, 20),
        at(0, 21, 30, 30),
    ];
    assert_eq!(gone(&items, "0:30s,1:30s,2:30s,3:30s,snapshot:30s", now(30)), []);
    assert_eq!(gone(&items, "off", now(1_000_000)), []);
    assert_eq!(gone(&items, "0:forever,1:1s,snapshot:forever", now(1_000_000)), []);
}

#[test]
fn merged_bundles_go_once_all_of_the_merge_is_old() {
    let items = [
        base(0, 0),
        at(0, 1, 10, 10),
        at(0, 11, 20, 20),
        at(1, 1, 20, 20),
        at(0, 21, 30, 30),
        at(0, 31, 40, 40),
        at(1, 21, 40, 40),
        at(0, 41, 50, 50),
    ];
    // The bundle of second 30 is old, but a restore to second 40 begins with it.
    assert_eq!(gone(&items, "0:15s,1:1h", now(50)), [(0, 1), (0, 11)]);
    assert_eq!(gone(&items, "0:9s,1:1h", now(50)), [(0, 1), (0, 11), (0, 21), (0, 31)]);
    // Not what has no parent, and not the newest.
    let items = [base(0, 0), at(0, 1, 10, 10), at(0, 11, 20, 20), at(0, 21, 30, 30)];
    assert_eq!(gone(&items, "0:1s", now(1000)), []);
}

#[test]
fn what_lies_before_the_kept_image_goes() {
    let items = [
        base(0, 0),
        at(0, 1, 10, 10),
        at(1, 1, 10, 10),
        snapshot(10, 10),
        at(0, 11, 20, 20),
        snapshot(15, 15),
        snapshot(20, 20),
        at(0, 21, 30, 30),
    ];
    // The oldest that is young begins with frame 11; the image at 10 is what a restore to it begins with.
    assert_eq!(gone(&items, "0:15s,1:15s,snapshot:15s", now(30)), [(0, 0), (0, 1), (1, 1)]);
    assert_eq!(
        gone(&items, "0:9s,1:9s,snapshot:9s", now(30)),
        [(0, 0), (0, 1), (1, 1), (255, 10), (0, 11), (255, 15)]
    );
    assert_eq!(
        gone(&items, "0:9s,1:9s,snapshot:9s/3", now(30)),
        [(0, 0), (0, 1), (1, 1), (0, 11)],
        "three snapshots stay"
    );
    let everything = plan(log_id(), &items, &Retention::keep(Duration::from_secs(9)), &now(30), false);
    assert_eq!(everything.keep_from_frame_no, Some(20));
}

#[test]
fn an_old_snapshot_goes_when_merged_bundles_lead_past_it() {
    let mut items =
        vec![base(0, 0), at(1, 1, 20, 20), snapshot(15, 15), at(1, 21, 40, 40), at(0, 41, 50, 50)];
    assert_eq!(gone(&items, "0:1h,1:1h,snapshot:20s", now(50)), [(255, 15)]);
    // But not across a gap.
    items[1] = at(1, 1, 10, 20);
    assert_eq!(gone(&items, "0:1h,1:1h,snapshot:20s", now(50)), []);
}

#[test]
fn a_clock_that_jumps_deletes_nothing_and_keeps_nothing_for_ever() {
    let retention = "0:9s,1:9s,snapshot:9s";
    let history = |commits: [u64; 4], modified: [u64; 4]| {
        let of = |n: usize, start, end| {
            item(Level::ZERO, Content::EveryFrame, start, end, commits[n] * SECOND, modified[n] * SECOND)
        };
        let items = [
            base(0, 1),
            of(0, 1, 10),
            of(1, 11, 20),
            snapshot(20, modified[1]),
            of(2, 21, 30),
            of(3, 31, 40),
        ];
        let reference = Reference { commit_us: commits[3] * SECOND, modified_us: modified[3] * SECOND };
        gone(&items, retention, reference)
    };
    let expected = [(0, 0), (0, 1), (0, 11)];
    assert_eq!(history([10, 20, 30, 35], [10, 20, 30, 35]), expected);
    // The machine's clock jumps ahead by years before the last commit: the store's clock keeps the young.
    assert_eq!(history([10, 20, 30, 1 << 40], [10, 20, 30, 35]), expected);
    // It was years ahead for a while.
    assert_eq!(history([10, 1 << 40, 30, 35], [10, 20, 30, 35]), expected);
    // It jumps back to 1970.
    assert_eq!(history([10, 20, 30, 0], [10, 20, 30, 35]), expected);
    // All objects were copied into a new store within a second.
    assert_eq!(history([10, 20, 30, 35], [70, 70, 71, 71]), []);
    // The store's clock jumps: the commits decide.
    assert_eq!(history([10, 20, 30, 35], [10, 20, 30, 1 << 40]), expected);
}

#[test]
fn a_log_that_was_replaced_goes_when_all_of_it_is_old() {
    let successor = LogId(uuid::Uuid::from_u128(6));
    let mut items = vec![base(0, 0), at(0, 1, 10, 10), at(0, 11, 20, 20)];
    items.push(item(Level::ZERO, Content::Terminator { successor }, 21, 20, 0, 25 * SECOND));
    let retention = Retention::keep(Duration::from_secs(60));
    let count =
        |second, is_replaced| plan(log_id(), &items, &retention, &now(second), is_replaced).delete.len();
    assert_eq!(count(100, true), 4);
    assert_eq!(count(80, true), 0);
    assert_eq!(count(100, false), 0, "the newest of a log that nobody continues stays");
    let last = plan(log_id(), &items, &retention, &now(100), true).delete[3].head;
    assert_eq!(last.frame_no, 21, "that the log was ended is seen to the last");
}

/// Whether the database as of a frame can be restored: from the newest full image on, always the bundle that leads
/// furthest.
fn can_restore(items: &[Item], frame_no: u64) -> bool {
    let known = || items.iter().filter_map(|item| item.known);
    let images =
        known().filter(|known| known.content == Content::FullImage && known.end_frame_no <= frame_no);
    let Some(mut position) = images.map(|known| known.end_frame_no).max() else { return false };
    while position < frame_no {
        let next = position + 1;
        let covers = |known: &Known| known.start_frame_no <= next && next <= known.end_frame_no;
        let is_merge = |known: &Known| matches!(known.content, Content::EveryFrame | Content::LastImages);
        let steps = known().filter(|known| is_merge(known) && covers(known));
        match steps.clone().map(|known| known.end_frame_no).filter(|&end| end <= frame_no).max() {
            Some(end) => position = end,
            None => return steps.clone().any(|known| known.content == Content::EveryFrame),
        }
    }
    true
}

#[derive(Clone, Debug)]
enum Event {
    /// So many bundles of so many frames, so many seconds apart.
    Ship(u8, u64, u64),
    Snapshot(u64),
    /// Storage was off for so many frames: a full image bridges them.
    Bridge(u64),
    Idle(u64),
    Expire(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u8..12, 1u64..5, 0u64..20).prop_map(|(count, frames, pause)| Event::Ship(count, frames, pause)),
        1 => (0u64..6).prop_map(Event::Snapshot),
        1 => (1u64..6).prop_map(Event::Bridge),
        1 => (0u64..300).prop_map(Event::Idle),
        4 => any::<u64>().prop_map(Event::Expire),
    ]
}

fn retention() -> impl Strategy<Value = Retention> {
    let rule = |name: &'static str| {
        (0u64..400, 0u32..3, 0u8..8).prop_map(move |(age, count, forever)| match forever {
            0 => format!("{name}:forever"),
            _ => format!("{name}:{age}s/{count}"),
        })
    };
    (rule("0"), rule("1"), rule("2"), rule("3"), rule("snapshot"))
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].join(",").parse().unwrap())
}

/// Merge three of a level into one of the next, as compaction does, up to barriers.
fn compact(items: &mut Vec<Item>, second: u64) {
    for code in 0..3 {
        loop {
            let mut run: Vec<(u64, u64)> = Vec::new();
            let mut of_level: Vec<Item> =
                items.iter().filter(|item| item.head.level == level(code)).copied().collect();
            of_level.sort_by_key(|item| item.head.frame_no);
            let above =
                items.iter().filter(|item| item.head.level > level(code) && item.head.level <= Level::TOP);
            let from =
                above.filter_map(|item| item.known).map(|known| known.end_frame_no + 1).max().unwrap_or(0);
            let mut is_due = false;
            for known in
                of_level.iter().filter_map(|item| item.known).filter(|known| known.start_frame_no >= from)
            {
                let follows = run.last().is_none_or(|&(_, end)| end + 1 == known.start_frame_no);
                if !follows || known.content == Content::FullImage {
                    if !run.is_empty() {
                        is_due = true;
                        break;
                    }
                    if known.content == Content::FullImage {
                        continue;
                    }
                }
                run.push((known.start_frame_no, known.end_frame_no));
                if run.len() == 3 {
                    is_due = true;
                    break;
                }
            }
            if !is_due {
                break;
            }
            let (start, end) = (run[0].0, run[run.len() - 1].1);
            let inside = items.iter().filter_map(|item| item.known).filter(|known| {
                known.start_frame_no >= start
                    && known.end_frame_no <= end
                    && known.content != Content::FullImage
            });
            let commit_us = inside.map(|known| known.max_commit_us).max().unwrap();
            items.push(item(level(code + 1), Content::LastImages, start, end, commit_us, second * SECOND));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_goes_all_that_is_young_can_be_restored(
        events in prop::collection::vec(event(), 5..60),
        retention in retention(),
        is_listed in any::<bool>(),
    ) {
        let mut items = vec![base(5, 0)];
        let (mut frame_no, mut second) = (5, 0);
        // All before it was old once. A part of that may still be there, and be merged into a level that keeps it for longer.
        let mut kept_from = 0;
        for event in events {
            match event {
                Event::Ship(count, frames, pause) => {
                    for _ in 0..count {
                        second += pause;
                        items.push(at(0, frame_no + 1, frame_no + frames, second));
                        frame_no += frames;
                    }
                    compact(&mut items, second);
                }
                Event::Snapshot(back) => {
                    // Of some commit of the last bundle, if that has so many.
                    let newest = items.iter().rfind(|item| item.head.level == Level::ZERO).unwrap().known.unwrap();
                    let end = frame_no.saturating_sub(back).max(newest.start_frame_no.max(1));
                    let is_there = items.iter().any(|item| item.head.level == Level::SNAPSHOT && item.head.frame_no == end);
                    if newest.content == Content::EveryFrame && !is_there {
                        items.push(snapshot(end, second));
                    }
                }
                Event::Bridge(frames) => {
                    let content = Content::FullImage;
                    let (start, end) = (frame_no + 1, frame_no + frames);
                    items.push(item(Level::ZERO, content, start, end, second * SECOND, second * SECOND));
                    frame_no = end;
                }
                Event::Idle(pause) => second += pause,
                Event::Expire(seed) => {
                    let reference = now(second);
                    let mut seen = items.clone();
                    if is_listed {
                        // As from a listing: only what is asked for is opened.
                        seen.iter_mut().for_each(|item| item.known = None);
                        loop {
                            let wanted = unknown(&seen, &retention, &reference, false);
                            if wanted.is_empty() {
                                break;
                            }
                            wanted.iter().for_each(|&at| seen[at].known = items[at].known);
                        }
                    }
                    let whole = plan(log_id(), &items, &retention, &reference, false);
                    let plan = plan(log_id(), &seen, &retention, &reference, false);
                    if is_listed {
                        for expired in &plan.delete {
                            prop_assert!(whole.delete.iter().any(|other| other.head == expired.head), "{expired:?}");
                        }
                    }
                    let mut state = seed | 1;
                    // All of it, or any part of it.
                    let drop: Vec<Head> = plan.delete.iter().map(|expired| expired.head).filter(|_| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        seed % 3 == 0 || state % 2 == 0
                    }).collect();
                    let before = items.clone();
                    items.retain(|item| !drop.contains(&item.head));

                    let newest = before.iter().filter(|item| item.head.level == Level::ZERO).map(|item| item.head.frame_no).max();
                    prop_assert!(items.iter().any(|item| item.head.level == Level::ZERO && Some(item.head.frame_no) == newest));
                    prop_assert!(can_restore(&items, frame_no), "latest");
                    for item in &before {
                        let known = item.known.unwrap();
                        let rule = retention.rule(item.head.level);
                        let newer = before.iter().filter(|other| other.head.level == item.head.level && other.head.frame_no > item.head.frame_no).count();
                        let is_young = newer < rule.min_count as usize
                            || rule.age.is_none_or(|age| (second * SECOND).saturating_sub(known.max_commit_us) <= age.as_micros() as u64);
                        let first = if known.content == Content::EveryFrame { known.start_frame_no } else { known.end_frame_no };
                        for frame_no in (first..=known.end_frame_no).filter(|_| is_young) {
                            let could = can_restore(&before, frame_no);
                            prop_assert!(!could || can_restore(&items, frame_no), "frame {frame_no} of {item:?}, gone: {drop:?}");
                            let was_promised = frame_no >= kept_from && known.content != Content::FullImage && rule.min_count == 0;
                            prop_assert!(could || !was_promised, "frame {frame_no} of {item:?} was gone before");
                        }
                    }
                    kept_from = kept_from.max(plan.keep_from_frame_no.unwrap_or(0));
                }
            }
        }
    }
}
