//! Recovery.

use std::path::Path;

use super::{FRAME, Story, offset_of, segments, start_of};
use crate::error::{Error, Result};
use crate::io::SyncSite;
use crate::testing::faults::rig::{BASE, Db, PAGE, Rig, in_dir};
use crate::testing::io::{Fault, Kind};

#[test]
fn invariant_10_after_a_failed_fsync_no_commit_is_acknowledged_and_recovery_copies_what_was_not_sealed() {
    for group_commit in ["on", "off"] {
        for before in [0, 1, 5] {
            let mut story = Story::new(Rig::new().with("vwal_group_commit", group_commit));
            for _ in 0..before {
                story.commit(&[2, 1], 2, true);
            }
            story.rig.io.fail(Fault::on(Kind::Sync, libc::EIO).at(".seg").once());
            story.attempt(&[2, 1], 2);
            assert!(story.db.commit(story.k, &[2, 1], 2, true).is_err());
            // The kernel takes what it could not write for clean: every fsync from here on succeeds.
            for full in [true, false] {
                let refused = story.db.commit(900, &[2], 2, full).unwrap_err();
                assert!(matches!(refused, Error::Poisoned { .. }), "{refused}");
            }
            assert!(story.db.pass().is_err(), "nor does it go to the base file");
            assert_eq!(story.crash(), before, "the commit that failed is not on the disk");
            let segment = segments(&story.rig.io.live()).pop().unwrap();
            let node = story.rig.io.live().names[&segment];

            // The next process finds it in the page cache, and takes it for a commit.
            let Story { rig, db, history, k, .. } = story;
            drop(db);
            let (db, found) = rig.open_and_check(&history).unwrap();
            assert_eq!(found, k);
            if group_commit == "on" {
                assert!(
                    db.log().synced_frame_no() < db.log().published_frame_no(),
                    "and not for a durable one"
                );
                db.log()
                    .durability()
                    .sync_to(db.log().published_frame_no(), SyncSite::UnaskedFrames)
                    .unwrap();
            }
            assert_ne!(rig.io.live().names[&segment], node, "its segment is a new file now");
            let crashed = rig.crash_hard();
            assert_eq!(crashed.open_and_check(&history).unwrap().1, k, "what was recovered is durable");
            db.log().writer().seal_segments().unwrap();
            let crashed = rig.crash_hard();
            let scan = crate::segment::scan(&*crashed.io.file(&segment), 0, |_| {}).unwrap();
            assert!(scan.index_problem.is_none());
            assert_eq!(scan.seal.unwrap().end_frame_no, db.log().published_frame_no(), "and sealed");
        }
    }
}

/// A database with three segments: sealed, sealed, current; everything durable, and behind it a commit that is not.
fn three_segments() -> Story {
    let mut story = Story::new(Rig::new());
    for pages in [&[1, 2, 3][..], &[2, 1], &[2, 3], &[2, 1, 3], &[2, 1], &[2, 3], &[2, 1], &[2, 3]] {
        story.commit(pages, 3, true);
    }
    story.db.log().writer().seal_segments().unwrap();
    story
}

/// The page in a frame.
fn page_of(db: &Db, frame_no: u64) -> Result<Vec<u8>> {
    let mut page = vec![0; PAGE];
    db.log().view().read_page(frame_no, 0, &mut page)?;
    Ok(page)
}

#[test]
fn invariant_11_recovery_yields_a_prefix_of_the_commits_and_twice_the_same() {
    let mut story = three_segments();
    let durable = story.k;
    story.commit(&[2, 3], 3, false);
    let all = story.rig.io.live();
    let paths = segments(&all);
    assert_eq!(paths.len(), 3);
    let current = paths.last().unwrap().clone();
    let end = offset_of(story.ends[&durable] + 1, start_of(&current).unwrap()) as usize;

    // A torn tail: the commit is there or it is not, wherever the file ends or turns to zeros.
    let len = all.read(&current).unwrap().len();
    for cut in end..len {
        for zeros in [false, true] {
            let image = story.rig.io.tamper(&current, |bytes| {
                bytes.truncate(cut);
                if zeros {
                    bytes.resize(len, 0);
                }
            });
            let rig = Rig::from(image);
            let (db, k) =
                rig.open_and_check(&story.history).unwrap_or_else(|wrong| panic!("cut at {cut}: {wrong}"));
            assert_eq!(k, durable, "cut at {cut}");
            let id = db.log().log_id();
            drop(db);
            let (db, again) = rig.open_and_check(&story.history).unwrap();
            assert_eq!((again, db.log().log_id()), (k, id), "a second time");
        }
    }
    assert_eq!(story.recover(all), durable + 1);

    // Damage in what was durable: in a segment that is not sealed the open is refused, and nothing is changed; in a sealed
    // one that frame cannot be read any more, and all others can. Either error names the file and the offset.
    let last = story.ends[&durable];
    let whole: Vec<Vec<u8>> = (1..=last).map(|frame_no| page_of(&story.db, frame_no).unwrap()).collect();
    for (at, path) in paths.iter().enumerate() {
        let start = start_of(path).unwrap();
        // Of the frames in the last segment those that a later one shows to have been fsynced.
        let end = paths.get(at + 1).map_or(last - 2, |next| start_of(next).unwrap() - 1);
        for frame_no in start..=end {
            for byte in (0..FRAME).step_by(37) {
                let offset = offset_of(frame_no, start);
                let image = story.rig.io.tamper(path, |bytes| bytes[(offset + byte) as usize] ^= 16);
                let before = image.hash();
                let rig = Rig::from(image);
                let what = format!("frame {frame_no}, byte {byte}");
                let error = match rig.open() {
                    Ok(db) if *path != current => {
                        assert_eq!(db.log().published_frame_no(), story.ends[&story.k], "{what}");
                        for (other, page) in (1..).zip(&whole).filter(|(other, _)| *other != frame_no) {
                            assert_eq!(&page_of(&db, other).unwrap(), page, "{what}: frame {other}");
                        }
                        page_of(&db, frame_no).unwrap_err()
                    }
                    Ok(_) => panic!("{what}: it opens"),
                    Err(error) => {
                        assert_eq!(*path, current, "{what}");
                        assert_eq!(rig.io.live().hash(), before, "{what}: something was changed");
                        error
                    }
                };
                let Error::Corrupt { path: named, offset: Some(found), .. } = &error else {
                    panic!("{what}: {error}")
                };
                assert_eq!((named, *found), (path, offset), "{what}");
            }
        }
    }
    // A segment that is missing.
    for path in &paths[..2] {
        let mut image = story.rig.io.live();
        image.names.remove(path);
        let before = image.hash();
        let rig = Rig::from(image);
        assert!(matches!(rig.open(), Err(Error::Corrupt { .. })), "{} is missing", path.display());
        assert_eq!(rig.io.live().hash(), before);
    }
    // The metadata: one slot is enough, none is not.
    let meta = in_dir("meta");
    let none = Rig::from(story.rig.io.tamper(&meta, |bytes| bytes.fill(0x55)));
    assert!(matches!(none.open(), Err(Error::Corrupt { .. })));
    assert!(story.rig.io.live().read(Path::new(BASE)).is_some());
}
