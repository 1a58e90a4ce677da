//! The swap of a segment: what it leaves when it fails, and when the process ends right behind it.

use super::rig::{Db, History, Rig, in_dir};
use crate::io::{Io, OpenMode};
use crate::segment::segment_name;
use crate::testing::io::{Fault, Kind};

/// A log whose current segment is due, and what its commits make.
fn due(rig: &Rig) -> (Db, History) {
    rig.open_with_commits(64, true)
}

/// What the syncer does in a pause of the writers.
fn swap(db: &Db) -> crate::error::Result<()> {
    let mut seen = None;
    while db.log().writer().look_after_current(&mut seen)? {}
    Ok(())
}

/// A process that ended when a new segment had cut off a commit that was rolled back, and what its commits make.
fn killed_behind_a_cut(rig: &Rig) -> History {
    let (db, history) = due(rig);
    // Whole in the segment, and never published.
    db.begin().unwrap();
    db.frames(900, &[2], 2).unwrap();
    db.roll_back();
    swap(&db).unwrap();
    history
}

#[test]
fn a_swap_that_fails_behind_the_name_of_the_new_segment_cuts_nothing_off() {
    for part in [0, 64, 512, 4000] {
        let rig = Rig::new().with("vwal_swap", "frames>=64");
        let (db, mut history) = due(&rig);
        let fault = Fault { part, ..Fault::on(Kind::Write, libc::ENOSPC).at(".seg").once() };
        rig.io.fail(fault);
        assert!(swap(&db).is_err());
        rig.io.heal();
        db.commit_next(&mut history, 65, true);
        db.commit_next(&mut history, 66, true);
        drop(db);
        for crashed in [rig.crash_hard(), Rig::from(rig.io.live())] {
            assert_eq!(
                crashed.open_and_check(&history).unwrap().1,
                66,
                "{part} bytes of the head were written"
            );
        }
    }
}

#[test]
fn a_rolled_back_commit_that_a_new_segment_cut_off_does_not_come_back() {
    let rig = Rig::new().with("vwal_swap", "frames>=64");
    let history = killed_behind_a_cut(&rig);
    let (db, k) = rig.open_and_check(&history).unwrap();
    assert_eq!(k, 64);
    drop(db);
    for crashed in [rig.crash_hard(), Rig::from(rig.io.live())] {
        assert_eq!(crashed.open_and_check(&history).unwrap().1, 64, "found a second time");
    }
}

/// Found by the power-loss sweep of seed 7: recovery made its copy in the file that was there, and then missed that file.
#[test]
fn a_copy_that_a_killed_process_left_is_no_obstacle_to_the_next_one() {
    let rig = Rig::new().with("vwal_swap", "frames>=64");
    let history = killed_behind_a_cut(&rig);
    let left = segment_name(1).replace(".seg", ".copy");
    let copy = rig.io.open(&in_dir(&left), OpenMode::Create).unwrap();
    copy.write_at(&[7; 100_000], 0).unwrap();
    let (db, k) = rig.open_and_check(&history).unwrap();
    assert_eq!(k, 64);
    drop(db);
    assert!(rig.io.live().read(&in_dir(&left)).is_none());
    assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 64);
}
