//! The base file, checkpoint passes, and what is freed.

use std::path::Path;

use super::{Story, footer_of, meta_of, segments, start_of, walk};
use crate::error::Error;
use crate::testing::faults::rig::{BASE, PAGE, Rig, check_bytes, page};
use crate::testing::io::{Disks, Fate, Image, Op};

/// A base file that is behind, and frames of several segments that are not durable.
fn before_a_pass() -> Story {
    let mut story = Story::new(Rig::new().with("vwal_swap", "frames>=3"));
    story.commit(&[1, 2, 3, 4], 4, true);
    story.db.pass().unwrap();
    for pages in [&[2, 1][..], &[2, 3, 4], &[2, 5], &[2, 3], &[2, 1, 4]] {
        story.commit(pages, 5, false);
    }
    story
}

/// Calls `visit` before each change of the base file in the last pass of the story, and says how many there were.
fn changes_of_the_base(story: &Story, from: usize, mut visit: impl FnMut(&Disks)) -> usize {
    let mut at = 0;
    let mut changes = 0;
    walk(&story.rig.io, |disks, paths, record| {
        at += 1;
        let (Op::Write { file, .. } | Op::SetLen { file, .. }) = record.op else { return };
        if at > from && paths[&file] == Path::new(BASE) {
            changes += 1;
            visit(disks);
        }
    });
    changes
}

#[test]
fn invariant_06_the_base_file_receives_no_bytes_that_are_not_durable_in_the_log() {
    let story = before_a_pass();
    let from = story.rig.io.trace().len();
    assert!(story.crash() < story.k, "there are commits that a power loss would take");
    story.db.pass().unwrap();
    let changes = changes_of_the_base(&story, from, |disks| {
        assert_eq!(story.recover(disks.crash_hard()), story.k);
    });
    assert!(changes >= 3, "{changes} changes");
}

#[test]
fn invariant_07_while_the_base_file_is_between_two_states_the_metadata_says_so() {
    for shrink in [false, true] {
        let mut story = before_a_pass();
        if shrink {
            story.commit(&[1, 2], 3, false);
        }
        let before = story.ends[&1];
        let end = story.ends[&story.k];
        let from = story.rig.io.trace().len();
        story.db.pass().unwrap();
        let mut seed = 5;
        let changes = changes_of_the_base(&story, from, |disks| {
            let durable = disks.crash_hard();
            let meta = meta_of(&durable).unwrap();
            assert_eq!((meta.checkpointed_frame_no, meta.intent_frame_no), (before, end));
            // The segments have all frames between, so any mix of old and new pages is put right.
            for _ in 0..50 {
                let mixed = disks.crash(|_| match crate::testing::io::splitmix(&mut seed) % 3 {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    _ => Fate::Head(1),
                });
                assert_eq!(story.recover(mixed), story.k);
            }
        });
        assert!(changes >= 3, "{changes} changes");
        let after = meta_of(&story.rig.io.disks().crash_hard()).unwrap();
        assert_eq!((after.checkpointed_frame_no, after.intent_frame_no), (end, end));
    }
}

/// Whether the base file in an image holds everything that its footer and the metadata claim. Returns the claims.
fn claims_hold(story: &Story, image: &Image) -> (u64, Option<u64>) {
    let base = image.read(Path::new(BASE)).unwrap();
    let meta = meta_of(image).unwrap();
    let footer = footer_of(image).filter(|footer| footer.log_id == meta.log_id).map(|footer| footer.frame_no);
    for frame_no in [Some(meta.checkpointed_frame_no), footer].into_iter().flatten() {
        let content = &story.history[&story.commit_at(frame_no)];
        for (page_no, &version) in (1..).zip(&content.pages) {
            let Some(found) = base.chunks_exact(PAGE).nth(page_no as usize - 1) else {
                assert!(meta.has_intent(), "page {page_no} of frame {frame_no} is missing");
                continue;
            };
            let intended = story.history[&story.commit_at(meta.intent_frame_no)].pages.len();
            if meta.has_intent() && page_no as usize == intended + 1 {
                // The footer of the state to come is written there before the file is cut.
                continue;
            }
            // A pass that is under way may have brought it further.
            let later = (version..=story.k).any(|k| found == page(page_no, k));
            assert!(later, "page {page_no}: {meta:?} and footer {footer:?}, but the base file is older");
        }
    }
    if meta.has_footer && !meta.has_intent() {
        assert_eq!(footer, Some(meta.checkpointed_frame_no), "{meta:?}");
    }
    (meta.checkpointed_frame_no, footer)
}

#[test]
fn invariant_08_footer_and_metadata_name_a_frame_only_when_the_base_file_durably_holds_everything_up_to_it() {
    let mut story = before_a_pass();
    let from = story.rig.io.trace().len();
    story.db.pass().unwrap();
    story.commit(&[2, 1], 3, true);
    story.db.pass().unwrap();
    let mut at = 0;
    let mut claims = std::collections::BTreeSet::new();
    walk(&story.rig.io, |disks, _, _| {
        at += 1;
        if at <= from {
            return;
        }
        claims.insert(claims_hold(&story, &disks.crash_hard()));
        for one in 0..disks.open_units() {
            let fate = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
            claims.insert(claims_hold(&story, &disks.crash(|unit| fate(unit == one))));
            claims.insert(claims_hold(&story, &disks.crash(|unit| fate(unit != one))));
        }
    });
    let end = story.ends[&story.k];
    for expected in
        [(4, Some(4)), (4, None), (4, Some(16)), (16, Some(16)), (16, Some(end)), (end, Some(end))]
    {
        assert!(claims.contains(&expected), "{expected:?} in {claims:?}");
    }
}

#[test]
fn invariant_09_segments_are_freed_oldest_first_only_when_checkpointed_and_of_an_ended_generation() {
    let mut story = before_a_pass();
    let restart = |story: &Story| {
        story.db.begin().unwrap();
        story.db.restart().unwrap();
        story.db.roll_back();
    };
    let count = |story: &Story| segments(&story.rig.io.live()).len();
    let all = count(&story);
    assert!(all >= 3, "{all} segments");
    // Everything is in the base file, but the generation has not ended: a reader of the WAL may need any frame.
    story.db.pass().unwrap();
    assert_eq!(count(&story), all);
    for frame in 1..=16 {
        story.db.wal_page(frame).unwrap();
    }
    // The generation has ended, and now they go; but for the current one.
    restart(&story);
    story.db.log().checkpointer().free_segments_between_passes().unwrap();
    assert_eq!(count(&story), 1);
    // The generation has ended, but what is not checkpointed stays.
    for _ in 0..8 {
        story.commit(&[2, 1], 5, false);
    }
    restart(&story);
    story.db.log().checkpointer().free_segments_between_passes().unwrap();
    let oldest = start_of(&segments(&story.rig.io.live())[0]).unwrap();
    assert!(oldest <= story.db.log().checkpointed_frame_no() + 1, "frame {oldest} is the oldest one");
    assert!(count(&story) >= 4);
    story.db.pass().unwrap();
    assert_eq!(count(&story), 1);
    story.db.truncate().unwrap();

    let mut last = 0;
    let mut freed = 0;
    walk(&story.rig.io, |disks, _, record| {
        let (Op::Rename { from: path, .. } | Op::Remove { path }) = &record.op else { return };
        let Some(start) = start_of(path) else { return };
        freed += 1;
        assert!(start > last, "the segment of frame {start} is freed after that of frame {last}");
        last = start;
        let live = disks.crash(|_| Fate::Kept);
        let next = segments(&live).iter().filter_map(|path| start_of(path)).find(|&next| next > start);
        let end = next.map_or(story.ends[&story.k], |next| next - 1);
        let durable = meta_of(&disks.crash_hard()).unwrap().checkpointed_frame_no;
        assert!(durable >= end, "frames {start} to {end} are freed, the metadata on disk says {durable}");
    });
    assert!(freed >= 5, "{freed} segments were freed");
}

#[test]
fn invariant_13_a_base_file_that_something_else_changed_is_never_continued_under_the_same_log_id() {
    type Change = fn(&mut Vec<u8>);
    let other = {
        let mut other = Story::new(Rig::new());
        other.commit(&[1, 2], 2, true);
        other.db.truncate().unwrap();
        other.rig.io.live().read(Path::new(BASE)).unwrap().to_vec()
    };
    let changes: [(&str, Change); 5] = [
        ("another change counter", |base| base[27] ^= 1),
        ("another version-valid-for", |base| base[95] ^= 1),
        ("a page less", |base| base.truncate(4 * PAGE)),
        ("in rollback mode", |base| base[18..20].fill(1)),
        ("empty", Vec::clear),
    ];
    for pending in [true, false] {
        let mut story = Story::new(Rig::new());
        story.commit(&[1, 2, 3, 4, 5], 5, true);
        story.db.truncate().unwrap();
        if pending {
            story.commit(&[2, 3], 5, true);
        }
        let id = story.db.log().log_id();
        let Story { rig, db, history, k, .. } = story;
        drop(db);
        let mut images: Vec<(&str, Image)> =
            changes.iter().map(|(what, change)| (*what, rig.io.tamper(Path::new(BASE), *change))).collect();
        images.push((
            "the file of another log",
            rig.io.tamper(Path::new(BASE), |base| base.clone_from(&other)),
        ));
        for (what, image) in images {
            let before = image.hash();
            let base = image.read(Path::new(BASE)).unwrap().to_vec();
            let changed = Rig { options: rig.options.clone(), ..Rig::from(image) };
            match (pending, changed.open()) {
                (true, Err(error)) => {
                    assert!(matches!(error, Error::Foreign { .. }), "{what}: {error}");
                    assert_eq!(changed.io.live().hash(), before, "{what}: nothing is changed");
                }
                (true, Ok(_)) => panic!("{what}: it opens, and commit {k} is lost"),
                (false, Ok(db)) => {
                    assert_ne!(db.log().log_id(), id, "{what}");
                    assert!(db.log().published_frame_no() == 0, "{what}: the numbers start over");
                    assert!(base.starts_with(&db.view().unwrap()), "{what}: the file counts");
                }
                // There is no database to make a log for.
                (false, Err(error)) => assert!(base.is_empty(), "{what}: {error}"),
            }
        }
        // The file that belongs to the log is put back.
        let (db, found) = rig.open_and_check(&history).unwrap();
        assert_eq!((found, db.log().log_id()), (k, id));
        check_bytes(&db.view().unwrap(), &history).unwrap();
    }
}
