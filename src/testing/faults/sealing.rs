//! Sealed segments: what recovery reads of them, and what it does when a part of what it reads is not whole.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::rig::{DIR, Db, History, PAGE, Rig, in_dir};
use crate::error::Error;
use crate::format::crc32;
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::segment_header::{SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEAD_SIZE, Seal, SegmentHeader};
use crate::format::segment_index::{index_offset, index_size};
use crate::io::SyncSite;
use crate::segment::{load, segment_name};
use crate::testing::io::{Fate, Image, Op};

const FRAME: usize = FRAME_HEADER_SIZE + PAGE;

/// `segments` segments of 7 frames, each of them a commit, the last one still written to; with and without fsyncs.
fn commits(rig: &Rig, segments: u32, full: bool) -> (Db, History) {
    rig.open_with_commits(7 * segments - 1, full)
}

fn segment_at(start: u64) -> PathBuf {
    in_dir(&segment_name(start))
}

/// Where the index of a segment of 7 frames is.
fn index_range() -> std::ops::Range<usize> {
    let start = index_offset((SEGMENT_HEAD_SIZE + 7 * FRAME) as u64) as usize;
    start..start + index_size(7) as usize
}

#[test]
fn opening_reads_the_heads_and_the_indexes_of_sealed_segments_and_not_their_frames() {
    let rig = Rig::new();
    let (db, history) = commits(&rig, 40, true);
    db.log().writer().seal_segments().unwrap();
    drop(db);
    let before = rig.io.bytes_read();
    let db = rig.open().unwrap();
    let read = rig.io.bytes_read() - before;
    // Per sealed segment the head twice and the index. The last one is not sealed: to see where it ends, and for the copy.
    let sealed = 39 * (2 * SEGMENT_HEAD_SIZE + index_range().len());
    let unsealed = 2 * SEGMENT_HEAD_SIZE + 3 * 7 * FRAME;
    // The metadata, the start of the base file.
    let others = 2 * 8192;
    assert!(read as usize <= sealed + unsealed + others, "{read} bytes were read");
    // Of frames alone there are more.
    assert!(read < 40 * (7 * FRAME as u64 + 4 * SEGMENT_HEAD_SIZE as u64) - 39 * 7 * FRAME as u64 / 2);
    assert_eq!(db.check(&history), Ok(279));
}

#[test]
fn a_power_loss_while_a_segment_is_sealed_leaves_it_sealed_or_not_and_its_frames_whole() {
    let rig = Rig::new();
    let (db, history) = commits(&rig, 2, true);
    let done = rig.io.trace().len();
    db.log().writer().seal_segments().unwrap();
    drop(db);
    // The frames are durable already; index and seal are written, and one fsync is for both.
    let ops: Vec<Op> = rig.io.trace()[done..].iter().map(|record| record.op.clone()).collect();
    let [Op::Write { offset: index, .. }, Op::Write { offset: seal, .. }, Op::Sync { .. }] = &ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!((*index as usize, *seal as usize), (index_range().start, SEAL_OFFSET));

    let mut disks = rig.io.start();
    let trace = rig.io.trace();
    trace[..done].iter().for_each(|record| disks.apply(record));
    let (mut whole, mut index_only, mut unsealed) = (0, 0, 0);
    let mut check = |image: Image| {
        let crashed = Rig { options: rig.options.clone(), ..Rig::from(image) };
        let file = crashed.io.file(&segment_at(1));
        let loaded = load(&*file, 0).unwrap();
        assert_eq!(loaded.end_frame_no(), 7);
        match (&loaded.seal, &loaded.index_problem) {
            (Some(_), None) => whole += 1,
            (Some(_), Some(_)) => index_only += 1,
            (None, None) => unsealed += 1,
            (None, Some(problem)) => panic!("{problem}"),
        }
        let (db, k) = crashed.open_and_check(&history).unwrap();
        assert_eq!(k, 13);
        assert_eq!(db.log().last_error().is_some(), loaded.seal.is_some() && loaded.index_problem.is_some());
    };
    for record in &trace[done..] {
        disks.apply(record);
        let units = disks.open_units();
        let fates = |unit: usize| {
            let Some(sectors) = disks.sectors(unit) else { return vec![Fate::Kept, Fate::Lost] };
            let torn = (1..sectors).flat_map(|cut| [Fate::Head(cut), Fate::Tail(cut)]);
            let mut fates = vec![Fate::Kept, Fate::Lost, Fate::Zeros];
            fates.extend(torn);
            fates
        };
        // All combinations: of the index, the size that it leaves, and the seal.
        let mut combinations = vec![Vec::new()];
        for unit in 0..units {
            let longer = |one: &Vec<Fate>| {
                let longer = fates(unit).into_iter().map(|fate| [one.clone(), vec![fate]].concat());
                longer.collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        assert!(units <= 3, "{units} open units");
        combinations.iter().for_each(|fates| check(disks.crash(|unit| fates[unit])));
    }
    assert!(whole > 0 && index_only > 0 && unsealed > 0, "{whole}, {index_only}, {unsealed}");
}

#[test]
fn a_damaged_index_costs_a_reading_of_the_frames_and_nothing_else_and_is_told() {
    let rig = Rig::new();
    let (db, history) = commits(&rig, 3, true);
    db.log().writer().seal_segments().unwrap();
    drop(db);
    let check = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let damaged =
            Rig { options: rig.options.clone(), ..Rig::from(rig.io.tamper(&segment_at(8), change)) };
        let (db, k) = damaged.open_and_check(&history).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
        assert_eq!(k, 20, "{what}");
        let told = db.log().last_error().unwrap_or_else(|| panic!("{what}: nothing is told"));
        assert!(told.contains(segment_at(8).to_str().unwrap()), "{what}: {told}");
        for frame_no in 1..=20 {
            let mut page = [0; PAGE];
            db.log().view().read_page(frame_no, 0, &mut page).unwrap();
            assert_eq!(page[..], super::rig::page(2, frame_no as u32)[..], "{what}: frame {frame_no}");
        }
    };
    for at in index_range() {
        check(&format!("byte {at}"), &|bytes| bytes[at] ^= 1 << (at % 8));
    }
    for len in [index_range().start, index_range().start + 1, index_range().end - 1] {
        check(&format!("cut to {len}"), &|bytes| bytes.truncate(len));
    }
    check("zeros", &|bytes| bytes[index_range()].fill(0));
    // With the frames damaged too, nothing can be said of the segment.
    let both = rig.io.tamper(&segment_at(8), |bytes| {
        bytes[index_range().start] ^= 1;
        bytes[SEGMENT_HEAD_SIZE + 100] ^= 1;
    });
    let Err(Error::Corrupt { path, offset, .. }) = Rig::from(both).open() else { panic!("it opens") };
    assert_eq!((path, offset), (segment_at(8), Some(SEGMENT_HEAD_SIZE as u64)));
}

/// Put another seal, whose checksum is right, into a segment.
fn reseal(bytes: &mut [u8], change: impl FnOnce(Seal) -> Seal) {
    let header = SegmentHeader::decode(bytes).unwrap();
    let seal = change(Seal::decode(bytes, &header).unwrap().unwrap());
    bytes[SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE].copy_from_slice(&seal.encode(&header));
}

#[test]
fn a_seal_that_tells_of_more_than_there_is_is_damage_and_allocates_nothing() {
    let rig = Rig::new();
    let (db, _) = commits(&rig, 3, true);
    db.log().writer().seal_segments().unwrap();
    drop(db);
    for end in [8, 15, 1 << 20, 1 << 40, 1 << 62] {
        let image = rig.io.tamper(&segment_at(8), |bytes| {
            reseal(bytes, |seal| Seal { end_frame_no: end, ..seal });
        });
        let opened = Rig::from(image).open();
        let Err(Error::Corrupt { path, .. }) = opened else { panic!("it opens with end {end}") };
        assert!(path == segment_at(8) || path == segment_at(15), "{}", path.display());
    }
}

#[test]
fn a_frame_that_is_not_of_the_page_that_the_index_says_is_not_read() {
    let rig = Rig::new();
    let (db, _) = commits(&rig, 2, true);
    db.log().writer().seal_segments().unwrap();
    drop(db);
    let image = rig.io.tamper(&segment_at(1), |bytes| {
        let header = SegmentHeader::decode(bytes).unwrap();
        // Frame 3 is of page 1 now, and the checksums are right.
        bytes[index_range().start + 8 + 2 * 8 + 3] = 1;
        let index_crc = crc32(header.crc(), &[&bytes[index_range()]]);
        reseal(bytes, |seal| Seal { index_crc, ..seal });
    });
    let db = Rig::from(image).open().unwrap();
    let mut page = [0; PAGE];
    db.log().view().read_page(2, 0, &mut page).unwrap();
    let error = db.log().view().read_page(3, 0, &mut page).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path, offset: Some(_), .. } if *path == segment_at(1)));
    assert!(
        error.to_string().contains("is of page 2") && error.to_string().contains("says page 1"),
        "{error}"
    );
}

/// What was done since `from`, but for writes into segments.
fn done(rig: &Rig, from: usize) -> Vec<String> {
    let name = |path: &PathBuf| path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let trace = rig.io.trace();
    let ops = trace[from..].iter().filter_map(|record| match &record.op {
        Op::Create { path, .. } => Some(format!("create {}", name(path))),
        Op::Rename { from, to, .. } => Some(format!("rename {} to {}", name(from), name(to))),
        Op::Remove { path } => Some(format!("remove {}", name(path))),
        Op::Sync { .. } => Some("fsync".into()),
        Op::SyncDir { .. } => Some("fsync names".into()),
        _ => None,
    });
    ops.collect()
}

#[test]
fn the_syncer_swaps_a_segment_between_transactions_and_no_commit_waits_for_it() {
    let rig = Rig::new();
    let (db, _) = commits(&rig, 1, true);
    let log = db.log();
    assert!(!log.writer().look_after_current(&mut None).unwrap(), "6 frames of 7: nothing is due");
    assert_eq!(log.writer().current_start().unwrap(), 1);
    db.commit(7, &[2], 2, true).unwrap();
    db.begin().unwrap();
    db.frame(1, 2, 900, 0).unwrap();
    assert_eq!(log.writer().current_start().unwrap(), 8, "without slack, a writer does it at once");
    db.roll_back();

    // A policy with slack: the writer leaves it to the syncer.
    let rig = Rig::new().with("vwal_swap", "frames>=64");
    let (db, mut history) = rig.open_with_commits(66, true);
    let mut commit = |k: u32| db.commit_next(&mut history, k, true);
    let log = db.log();
    log.writer().prepare_spare().unwrap();
    assert_eq!(log.writer().current_start().unwrap(), 1);
    db.begin().unwrap();
    db.frame(1, 2, 900, 0).unwrap();
    let mut seen = Some(66);
    assert!(!log.writer().look_after_current(&mut seen).unwrap());
    assert_eq!(log.writer().current_start().unwrap(), 1, "not in the middle of a transaction");
    db.roll_back();
    seen = Some(65);
    assert!(log.writer().look_after_current(&mut seen).unwrap(), "not when a commit has just come");
    assert_eq!(log.writer().current_start().unwrap(), 1);
    let before = rig.io.trace().len();
    assert!(!log.writer().look_after_current(&mut seen).unwrap());
    assert_eq!(log.writer().current_start().unwrap(), 67);
    assert_eq!(done(&rig, before), ["rename free to seg", "fsync names"]);
    log.writer().seal_segments().unwrap();
    assert!(
        log.view().find_segment(1).unwrap().unwrap().is_sealed(),
        "sealed, and no transaction has come since"
    );
    // The first commit in the new segment has to fsync only that.
    let before = rig.io.trace().len();
    commit(67);
    assert_eq!(done(&rig, before), ["fsync"]);
    // When nobody comes, the writer swaps after an eighth more.
    (68..=67 + 64 + 7).for_each(&mut commit);
    assert_eq!(log.writer().current_start().unwrap(), 67);
    commit(67 + 64 + 8);
    assert_eq!(log.writer().current_start().unwrap(), 67 + 64 + 8);
    drop(db);
    assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 67 + 64 + 8);
}

#[test]
fn a_segment_that_was_begun_ahead_of_need_leaves_nothing_behind() {
    let rig = Rig::new().with("vwal_swap", "frames>=64");
    let (db, mut history) = rig.open_with_commits(64, true);
    db.log().writer().look_after_current(&mut Some(64)).unwrap();
    // A crash finds an empty segment.
    assert_eq!(nodes(&rig.io.live()).len(), 2);
    for crashed in [rig.crash_hard(), Rig::from(rig.io.live())] {
        let (again, k) = crashed.open_and_check(&history).unwrap();
        assert_eq!(k, 64);
        let mut more = history.clone();
        again.commit_next(&mut more, 65, true);
        drop(again);
        assert_eq!(crashed.crash_hard().open_and_check(&more).unwrap().1, 65);
    }
    // A drain gives it up, and the log goes on.
    db.truncate().unwrap();
    assert_eq!(nodes(&rig.io.live()).len(), 0);
    db.commit_next(&mut history, 65, true);
    drop(db);
    assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 65);
}

/// The files that are named as segments.
fn nodes(image: &Image) -> BTreeSet<(PathBuf, String)> {
    let names = image.names.iter().filter(|(path, _)| path.extension().is_some_and(|name| name == "seg"));
    names.map(|(path, node)| (path.clone(), format!("{node:?}"))).collect()
}

#[test]
fn what_is_known_to_have_been_fsynced_is_not_copied() {
    // Every commit is fsynced, and says so of the one before it: only the end of the log can be in doubt.
    let rig = Rig::new();
    let (db, history) = commits(&rig, 3, true);
    drop(db);
    let before = nodes(&rig.io.live());
    let (db, k) = rig.open_and_check(&history).unwrap();
    assert_eq!((k, db.log().synced_frame_no()), (20, 19));
    assert_eq!(nodes(&rig.io.live()), before, "opening copies nothing");
    let is_sealed = |start| load(&*rig.io.file(&segment_at(start)), 0).unwrap().seal.is_some();
    assert!(![1, 8, 15].into_iter().any(is_sealed));
    // The syncer seals all of them, but copies only one.
    db.log().writer().seal_segments().unwrap();
    let changed: Vec<PathBuf> =
        nodes(&rig.io.live()).difference(&before).map(|(path, _)| path.clone()).collect();
    assert_eq!(changed, [segment_at(15)]);
    assert!([1, 8, 15].into_iter().all(is_sealed));
    drop(db);
    assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 20);
}

#[test]
fn what_recovery_found_is_durable_by_a_copy_before_a_commit_behind_it_is_acknowledged() {
    // Nothing is known to have been fsynced. With an fsync of what was found, the first one would have failed.
    for group_commit in ["on", "off"] {
        let rig = Rig::new().with("vwal_group_commit", group_commit);
        let (db, mut history) = commits(&rig, 3, false);
        drop(db);
        let before = nodes(&rig.io.live());
        let (db, k) = rig.open_and_check(&history).unwrap();
        assert_eq!(k, 20);
        if group_commit == "on" {
            assert_eq!((db.log().synced_frame_no(), nodes(&rig.io.live())), (0, before.clone()));
            assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 0, "it was never durable");
        } else {
            // Then nothing is visible before it is durable.
            assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 20);
        }
        history.insert(21, history[&20].after(21, &[2], 2));
        db.commit(21, &[2], 2, true).unwrap();
        assert!(nodes(&rig.io.live()).is_disjoint(&before), "a segment was not copied");
        assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 21);
        // Readers find the frames in the copies.
        assert_eq!(db.check(&history), Ok(20), "the last one is in the WAL");
        for frame_no in 1..=21 {
            let mut page = [0; PAGE];
            db.log().view().read_page(frame_no, 0, &mut page).unwrap();
            assert_eq!(page[..], super::rig::page(2, frame_no as u32)[..]);
        }
        // And it can be sealed, brought to the base file and freed.
        db.log().writer().seal_segments().unwrap();
        db.truncate().unwrap();
        assert_eq!(db.check(&history), Ok(21));
    }
}

#[test]
fn frames_that_are_not_there_any_more_when_they_are_copied_are_never_called_durable() {
    let rig = Rig::new();
    let (db, history) = commits(&rig, 2, false);
    drop(db);
    let (db, k) = rig.open_and_check(&history).unwrap();
    assert_eq!(k, 13);
    // The page cache drops what it could not write, and the disk has something else there.
    let offset = (SEGMENT_HEAD_SIZE + 3 * FRAME) as u64;
    rig.io.flip(&segment_at(8), offset + 70, 1);
    let error = db.log().durability().sync_to(13, SyncSite::UnaskedFrames).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { path, offset: Some(at), .. } if (path, *at) == (&segment_at(8), offset)),
        "{error}"
    );
    assert!(db.log().synced_frame_no() < 8);
    assert!(db.commit(900, &[2], 2, true).is_err(), "no commit behind them is acknowledged");
    drop(db);
    // The log ends there for whoever opens it next.
    assert_eq!(rig.open_and_check(&history).unwrap().1, 10);
}

#[test]
fn a_segment_of_another_version_is_refused_and_left_alone() {
    let rig = Rig::new();
    let (db, history) = commits(&rig, 2, false);
    drop(db);
    let other_version = |bytes: &mut Vec<u8>| {
        bytes[8..12].copy_from_slice(&1u32.to_be_bytes());
        let crc = crc32(0, &[&bytes[..60]]);
        bytes[60..64].copy_from_slice(&crc.to_be_bytes());
    };
    // Nothing was fsynced, so a head that is merely bad would be that of a file which was never written to.
    for start in [1, 8] {
        let image = rig.io.tamper(&segment_at(start), other_version);
        let before = image.hash();
        let rig = Rig::from(image);
        let error = rig.open().err().expect("it is refused");
        assert!(matches!(&error, Error::Corrupt { path, offset: Some(0), .. } if *path == segment_at(start)));
        assert!(error.to_string().contains("segment version 1, this vwal reads version 2"), "{error}");
        assert_eq!(rig.io.live().hash(), before);
    }
    // A spare file of the other version became the segment behind the last one, and then the power went.
    let mut image = rig.io.live();
    let mut spare = image.read(&segment_at(8)).unwrap().to_vec();
    other_version(&mut spare);
    image.put(&segment_at(14), spare);
    assert_eq!(Rig::from(image).open_and_check(&history).unwrap().1, 13);
}

/// Each freed segment file gets another name. A power loss may bring back any of the old ones, and take the name of the segment that
/// goes on behind the freed ones.
#[test]
fn a_freed_segment_whose_name_comes_back_alone_is_no_damage() {
    let rig = Rig::new();
    let (db, mut history) = rig.open_with_commits(30, true);
    db.log().writer().seal_segments().unwrap();
    let before = rig.io.live();
    db.truncate().unwrap();
    db.pass().unwrap();
    (31..50).for_each(|k| db.commit_next(&mut history, k, false));
    drop(db);
    let segments = |image: &Image| -> BTreeSet<PathBuf> {
        let names =
            image.list(DIR.as_ref()).filter(|name| name.extension().is_some_and(|ending| ending == "seg"));
        names.map(PathBuf::from).collect()
    };
    let (freed, now) = (segments(&before), segments(&rig.io.live()));
    assert!(now.len() > 1);
    for name in freed.difference(&now) {
        let mut image = rig.io.live();
        image.put(name, before.read(name).unwrap().to_vec());
        image.names.remove(now.first().unwrap());
        let (_, k) = Rig::from(image).open_and_check(&history).unwrap();
        assert_eq!(
            k,
            30,
            "{}: what the pass brought to the base file, and nothing later was fsynced",
            name.display()
        );
    }
    assert!(freed.difference(&now).count() > 2);
}
