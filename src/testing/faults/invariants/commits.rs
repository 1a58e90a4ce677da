//! Commits, readers, and durability.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{FRAME, Story, offset_of, segments, start_of, walk};
use crate::error::Error;
use crate::format::segment_header::SEGMENT_HEAD_SIZE;
use crate::format::segment_index::{INDEX_MAGIC_SIZE, INDEX_RECORD_SIZE};
use crate::io::SyncSite;
use crate::testing::faults::rig::{Db, History, Rig, in_dir, page};
use crate::testing::faults::workload::{FULL, NORMAL, Workload};
use crate::testing::io::{Fate, Fault, Image, Kind, Mark, Op};
use crate::wal::LockKind;

/// `WAL_CKPT_LOCK` of `wal.c`.
const CHECKPOINT_LOCK: usize = 1;
/// `WAL_READ_LOCK(1)` of `wal.c`.
const READ_LOCK: usize = 4;

/// The bytes of each frame up to `last` that is in a segment.
fn frames(image: &Image, last: u64) -> Vec<(u64, Vec<u8>)> {
    let paths = segments(image);
    let mut found = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let start = start_of(path).unwrap();
        let end = paths.get(at + 1).map_or(last, |next| start_of(next).unwrap() - 1).min(last);
        for frame_no in start..=end {
            let at = offset_of(frame_no, start) as usize;
            found.push((frame_no, image.read(path).unwrap()[at..at + FRAME as usize].to_vec()));
        }
    }
    found
}

#[test]
fn invariant_01_a_published_frame_is_never_overwritten_and_its_number_never_given_to_other_bytes() {
    for steps in [FULL, NORMAL] {
        let rig = Rig::new();
        Workload::run_whole(&rig, steps);
        let mut published = 0;
        let mut known = std::collections::BTreeMap::new();
        let (mut writes, mut indexes) = (0, 0);
        walk(&rig.io, |disks, paths, record| match &record.op {
            Op::Mark(Mark::Published(frame_no)) => {
                published = *frame_no;
                for (frame_no, bytes) in frames(&disks.crash(|_| Fate::Kept), published) {
                    assert_eq!(
                        known.entry(frame_no).or_insert_with(|| bytes.clone()),
                        &bytes,
                        "frame {frame_no}"
                    );
                }
            }
            Op::Write { file, offset, data } if *offset >= SEGMENT_HEAD_SIZE as u64 => {
                if data.starts_with(b"VWALINDX") {
                    // The index of a sealed segment lies behind its frames.
                    let frames = (data.len() - INDEX_MAGIC_SIZE) / INDEX_RECORD_SIZE;
                    assert!(
                        *offset >= offset_of(frames as u64, 0),
                        "{frames} frames, their index at {offset}"
                    );
                    indexes += 1;
                } else if let Some(start) = start_of(&paths[file]) {
                    let first = start + (offset - SEGMENT_HEAD_SIZE as u64) / FRAME;
                    assert!(first > published, "frame {first} is written, {published} is published");
                    writes += 1;
                }
            }
            _ => {}
        });
        assert!(known.len() > 20 && writes > 10, "{} frames, {writes} writes", known.len());
        assert!(indexes > 0, "no segment is sealed");
    }

    // And should SQLite ask for it, it is refused.
    let mut story = Story::new(Rig::new());
    story.commit(&[1, 2], 2, true);
    story.db.begin().unwrap();
    let before = story.rig.io.live();
    for (offset, len) in [(32, 24), (32 + 24, 512), (32 + 536, 24), (32 + 536 + 24, 512)] {
        let refused = story.db.writer.write_wal(&vec![7; len], offset).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    }
    story.db.roll_back();
    assert_eq!(story.rig.io.live().hash(), before.hash());
    assert_eq!(story.crash(), 1);
}

#[test]
fn invariant_02_a_commit_that_is_rolled_back_leaves_no_trace() {
    // Without group commit it is even fsynced before it is rolled back. The last of these fills the segment.
    for (group_commit, before) in [("off", 0), ("on", 0), ("off", 2), ("on", 2)] {
        let mut story = Story::new(Rig::new().with("vwal_group_commit", group_commit));
        story.commit(&[1, 2], 2, true);
        for _ in 0..before {
            story.commit(&[2, 1], 2, true);
        }
        let (k, end) = (story.k, story.ends[&story.k]);
        story.db.begin().unwrap();
        story.db.frames(900, &[2, 1, 3], 3).unwrap();
        story.db.writer.sync_wal().unwrap();
        let log = story.db.log();
        assert_eq!(log.synced_frame_no() > end, group_commit == "off", "the test does what it says");
        story.db.roll_back();

        assert_eq!((log.published_frame_no(), log.written_frame_no()), (end, end));
        assert!(log.synced_frame_no() <= end, "frames that are none any more do not count as fsynced");
        assert_eq!(log.database_pages(), 2);
        assert!(story.db.wal_page(end as u32 + 1).unwrap().is_empty());
        assert_eq!(story.db.wal_page(end as u32 - 1).unwrap(), page(if before == 0 { 1 } else { 2 }, k));

        // The next commit has those numbers; until it is fsynced, nothing says that it is.
        story.commit(&[2], 2, false);
        assert_eq!(story.db.wal_page(end as u32 + 1).unwrap(), page(2, k + 1));
        let syncs = |story: &Story| {
            story.rig.io.trace().iter().filter(|record| matches!(record.op, Op::Sync { .. })).count()
        };
        let before = syncs(&story);
        story.db.log().durability().sync_to(end + 1, SyncSite::UnaskedFrames).unwrap();
        assert!(syncs(&story) > before, "an fsync of the new bytes");
        assert_eq!(story.crash(), k + 1);
        story.commit(&[1, 2], 2, true);
        assert_eq!(story.crash(), k + 2);
    }
}

#[test]
fn invariant_03_a_reset_of_the_wal_drops_no_committed_frame() {
    let mut story = Story::new(Rig::new());
    story.commit(&[1, 2], 2, true);
    story.commit(&[3, 2], 3, true);
    story.commit(&[2, 1], 3, false);
    // SQLite was told that only the first commit is in the database file, and starts over all the same.
    story.db.backfill(2);
    assert_eq!(story.db.check(&story.history), Ok(1));
    story.db.begin().unwrap();
    story.db.restart().unwrap();
    story.db.roll_back();
    assert_eq!(
        story.db.check(&story.history),
        Ok(3),
        "nothing is in the WAL now, so all of it is in the view"
    );
    story.commit(&[2], 3, true);
    assert_eq!(story.db.wal_page(1).unwrap(), page(2, 4));
    assert_eq!(story.crash(), 4);
    story.db.pass().unwrap();
    assert_eq!(story.db.check(&story.history), Ok(4));
}

/// The fault of SQLite before 3.51.3: a checkpoint goes on with a header from before a reset.
#[test]
fn invariant_03_a_checkpoint_from_before_a_reset_copies_nothing() {
    let mut story = Story::new(Rig::new());
    story.commit(&[1, 2], 2, true);
    let checkpointer = Db::connect(&story.db.wal);
    assert!(checkpointer.begin_checkpoint().unwrap(), "without locks, nobody else can be there");
    for reset in [false, true, false] {
        assert!(checkpointer.lock(CHECKPOINT_LOCK, 1, LockKind::Exclusive));
        if reset {
            story.db.begin().unwrap();
            story.db.restart().unwrap();
            story.db.roll_back();
        }
        story.commit(&[2], 2, true);
        assert_eq!(checkpointer.begin_checkpoint().unwrap(), !reset);
        if reset {
            // With the write lock, which comes later, SQLite reads the header again.
            assert!(checkpointer.lock(0, 1, LockKind::Exclusive));
            assert!(checkpointer.begin_checkpoint().unwrap());
            checkpointer.unlock(0, 1, LockKind::Exclusive);
        }
        checkpointer.unlock(CHECKPOINT_LOCK, 1, LockKind::Exclusive);
    }
}

#[test]
fn invariant_04_no_open_read_transaction_sees_its_view_change() {
    let mut story = Story::new(Rig::new());
    story.commit(&[1, 2], 2, true);
    // A reader whose snapshot ends at the first commit; it reads the WAL up to there and the view.
    let reader = Db::connect(&story.db.wal);
    assert!(reader.lock(READ_LOCK, 1, LockKind::Shared));
    story.db.index.read_marks[1].store(2, Ordering::SeqCst);
    let seen = |story: &Story, what: &str| {
        let k = story.db.check(&story.history).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
        assert!(k <= 1, "{what}: the reader sees commit {k} in the database file");
        let frames = [story.db.wal_page(1).unwrap(), story.db.wal_page(2).unwrap()];
        assert_eq!(frames, [page(1, 1), page(2, 1)], "{what}");
    };
    for _ in 0..4 {
        story.commit(&[2, 1, 3], 3, true);
        seen(&story, "a commit");
        story.db.wal.absorb_passively();
        seen(&story, "a passive checkpoint of our own");
        // SQLite goes as far as the reader allows, and says so.
        story.db.backfill(2);
        seen(&story, "a passive checkpoint by SQLite");
        assert_eq!(story.db.log().absorbed_frame_no(), 2);
        story.db.log().checkpointer().checkpoint().unwrap();
        story.db.log().checkpointer().free_segments_between_passes().unwrap();
        seen(&story, "a pass");
    }
    reader.unlock(READ_LOCK, 1, LockKind::Shared);

    // A reader of the bare database file keeps all absorption away.
    story.db.begin().unwrap();
    story.db.restart().unwrap();
    story.db.roll_back();
    let bare = Db::connect(&story.db.wal);
    assert!(bare.lock(READ_LOCK - 1, 1, LockKind::Shared));
    let before = story.db.check(&story.history).unwrap();
    story.commit(&[2], 3, true);
    story.db.wal.absorb_passively();
    assert_eq!(story.db.check(&story.history), Ok(before));
    bare.unlock(READ_LOCK - 1, 1, LockKind::Shared);
    story.db.wal.absorb_passively();
    assert_eq!(story.db.check(&story.history), Ok(before + 1));

    // Nor does a pass change the view while it is under way.
    for _ in 0..20 {
        story.commit(&[2, 1, 3], 3, false);
        let frames = story.db.index.max_frame.load(Ordering::SeqCst);
        story.db.backfill(frames);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (db, history, k) = (&story.db, &story.history, story.k);
            let done = &done;
            let reading = scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    assert_eq!(db.check(history), Ok(k));
                }
            });
            db.log().checkpointer().checkpoint().unwrap();
            done.store(true, Ordering::SeqCst);
            reading.join().unwrap();
        });
    }
}

/// Two connections commit under `synchronous=FULL` while the fsync does not return. What they are told then.
fn two_committers(rig: &Rig, fault: Option<Fault>) -> (Vec<crate::Result<()>>, Db) {
    let one = rig.open().unwrap();
    one.commit(1, &[1, 2], 2, true).unwrap();
    let other = Db {
        io: one.io.clone(),
        wal: Arc::clone(&one.wal),
        index: Arc::clone(&one.index),
        writer: Db::connect(&one.wal),
    };
    if let Some(fault) = fault {
        rig.io.fail(fault);
    }
    rig.io.hold_syncs();
    let returned = AtomicUsize::new(0);
    let commit = |db: &Db, k: u32| {
        let result = db.commit(k, &[2], 2, true);
        returned.fetch_add(1, Ordering::SeqCst);
        result
    };
    let results = std::thread::scope(|scope| {
        let first = scope.spawn(|| commit(&one, 2));
        rig.io.wait_for_held_syncs(1);
        let second = scope.spawn(|| commit(&other, 3));
        while one.log().published_frame_no() < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Both are published, so readers see them. Neither is acknowledged: the power could still take them.
        std::thread::sleep(Duration::from_millis(20));
        let early = returned.load(Ordering::SeqCst);
        let crashed = rig.crash_hard();
        rig.io.release_syncs();
        let results = vec![first.join().unwrap(), second.join().unwrap()];
        assert_eq!(early, 0, "acknowledged before the fsync");
        assert_eq!(crashed.open_and_check(&history()).unwrap().1, 1);
        results
    });
    drop(other);
    (results, one)
}

fn history() -> History {
    let mut history = History::from([(0, crate::testing::faults::rig::Content::first())]);
    for (k, pages) in [(1, &[1, 2][..]), (2, &[2]), (3, &[2])] {
        history.insert(k, history[&(k - 1)].after(k, pages, 2));
    }
    history
}

#[test]
fn invariant_05_a_full_commit_is_acknowledged_when_all_before_it_is_durable_and_a_failed_fsync_is_told_to_all()
 {
    for group_commit in ["on", "off"] {
        let mut story = Story::new(Rig::new().with("vwal_group_commit", group_commit));
        for round in 0..12 {
            // What came before under NORMAL is durable with it, in the segments before, too.
            for _ in 0..round % 4 {
                story.commit(&[2, 1], 2, false);
            }
            story.commit(&[2], 2, true);
            assert_eq!(story.crash(), story.k);
        }
    }
    let rig = Rig::new();
    let (results, db) = two_committers(&rig, None);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    drop(db);
    assert_eq!(rig.crash_hard().open_and_check(&history()).unwrap().1, 3);

    let rig = Rig::new();
    let (results, db) = two_committers(&rig, Some(Fault::on(Kind::Sync, libc::EIO).at(".seg").once()));
    assert!(results.iter().all(Result::is_err), "{results:?}");
    assert!(matches!(db.commit(4, &[2], 2, true), Err(Error::Poisoned { .. })));
}

#[test]
fn invariant_14_every_page_read_from_a_segment_is_verified() {
    let mut story = Story::new(Rig::new());
    story.commit(&[1, 2, 3], 3, true);
    story.commit(&[2], 3, true);
    let path = in_dir("00000000000000000001.seg");
    for byte in 0..FRAME {
        let at = offset_of(3, 1) + byte;
        story.rig.io.flip(&path, at, 1 << (byte % 8));
        let error = story.db.wal_page(3).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { path: named, offset: Some(offset), .. }
            if *named == path && *offset == offset_of(3, 1)),
            "byte {byte}: {error}"
        );
        assert_eq!(story.db.wal_page(2).unwrap(), page(2, 1), "the others are as they were");
        story.rig.io.flip(&path, at, 1 << (byte % 8));
    }
    // A whole frame of this very segment, in the wrong place.
    let image = story.rig.io.live();
    let bytes = image.read(Path::new(&path)).unwrap();
    let wrong = bytes[offset_of(2, 1) as usize..][..FRAME as usize].to_vec();
    let right = bytes[offset_of(3, 1) as usize..][..FRAME as usize].to_vec();
    for (at, (wrong, right)) in (offset_of(3, 1)..).zip(wrong.into_iter().zip(right)) {
        story.rig.io.flip(&path, at, wrong ^ right);
    }
    assert!(matches!(story.db.wal_page(3), Err(Error::Corrupt { .. })));
    // Through the view, and on the way to the base file, it is the same.
    let before = story.rig.io.live().read(Path::new(crate::testing::faults::rig::BASE)).unwrap().to_vec();
    story.db.backfill(4);
    assert!(matches!(story.db.view(), Err(Error::Corrupt { .. })));
    assert!(matches!(story.db.log().checkpointer().checkpoint(), Err(Error::Corrupt { .. })));
    // The footer has moved to the new end.
    assert!(
        story.rig.io.live().read(Path::new(crate::testing::faults::rig::BASE)).unwrap().starts_with(&before)
    );
}
