//! What fails on the way to an fsync is not a failed fsync: it is an error of the one who asked, and nothing is poisoned. The
//! poison is for fsyncs that were done and failed, and for a log that lost files.

use libc::{EBUSY, EDQUOT, EIO, EMFILE, ENOSPC, EROFS};

use super::rig::{DIR, History, Rig};
use crate::error::{Error, FileOp};
use crate::testing::io::{Fault, Kind};

/// A log whose process was killed: what it has committed is in the page cache, and nothing shows that it is durable.
fn killed(group_commit: &str) -> (Rig, History) {
    let rig = Rig::new().with("vwal_group_commit", group_commit);
    let (db, history) = rig.open_with_commits(3, false);
    drop(db);
    (rig, history)
}

#[test]
fn a_directory_that_cannot_be_opened_for_its_fsync_fails_that_commit_alone() {
    for group_commit in ["on", "off"] {
        let rig = Rig::new().with("vwal_group_commit", group_commit);
        let db = rig.open().unwrap();
        let mut history = History::from([(0, super::rig::Content::first())]);
        rig.io.fail(Fault::on(Kind::Open, EMFILE).at("-wal").once());
        let error = db.commit(1, &[1, 2], 2, true).expect_err("the name of the first segment is not durable");
        assert!(matches!(error, Error::Io { op: FileOp::Open, .. }), "{error}");
        assert_eq!(rig.io.failed(), 1);
        db.log().durability().check_poison().expect("no fsync has failed");
        if group_commit == "off" {
            assert_eq!(db.log().published_frame_no(), 0, "it is rolled back");
        } else {
            history.insert(1, history[&0].after(1, &[1, 2], 2));
        }
        let k = *history.keys().last().unwrap() + 1;
        history.insert(k, history[&(k - 1)].after(k, &[2], 2));
        db.commit(k, &[2], 2, true).expect("there are descriptors again");
        drop(db);
        assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, k);
    }
}

#[test]
fn recovered_frames_that_cannot_be_copied_fail_a_commit_and_nothing_else() {
    for group_commit in ["on", "off"] {
        for (fault, name) in [
            (Fault::on(Kind::Write, ENOSPC).at(".copy"), "no space"),
            (Fault::on(Kind::Write, EDQUOT).at(".copy"), "no quota"),
            (Fault::on(Kind::Open, ENOSPC).at(".copy"), "no inode"),
        ] {
            let (rig, mut history) = killed(group_commit);
            rig.io.fail(fault);
            let (db, k) = rig.open_and_check(&history).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(k, 3, "{name}: nothing is missing");
            let before = db.log().published_frame_no();
            for _ in 0..2 {
                let error = db.commit(4, &[2], 2, true).expect_err(name);
                assert!(matches!(error, Error::Full { .. }), "{name}: {error}");
                db.log().durability().check_poison().expect("no fsync has failed");
                if group_commit == "off" {
                    assert_eq!(db.log().published_frame_no(), before, "{name}: it is rolled back");
                }
                let left = rig.io.live().names.keys().any(|path| path.to_string_lossy().ends_with(".copy"));
                assert!(!left, "{name}: half a copy takes space that commits need");
            }
            rig.io.heal();
            history.insert(4, history[&3].after(4, &[2], 2));
            db.commit(4, &[2], 2, true).unwrap_or_else(|error| panic!("{name} is over: {error}"));
            drop(db);
            assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 4, "{name}");
        }
    }
}

#[test]
fn an_fsync_that_fails_for_want_of_space_or_since_nothing_can_be_written_any_more_poisons() {
    for errno in [EIO, ENOSPC, EDQUOT, EROFS] {
        for fault in [Fault::on(Kind::Sync, errno).at(".seg"), Fault::on(Kind::SyncDir, errno).at("-wal")] {
            let rig = Rig::new();
            let db = rig.open().unwrap();
            rig.io.fail(fault.once());
            let error = db.commit(1, &[1, 2], 2, true).unwrap_err();
            let is_full = matches!(error, Error::Full { .. });
            assert_eq!(is_full, errno == ENOSPC || errno == EDQUOT, "{error}");
            let next = db.commit(2, &[2], 2, true).unwrap_err();
            assert!(matches!(next, Error::Poisoned { .. }), "errno {errno}: {next}");
        }
    }
}

#[test]
fn a_copy_of_recovered_frames_whose_fsync_fails_poisons() {
    let (rig, _) = killed("on");
    let db = rig.open().unwrap();
    rig.io.fail(Fault::on(Kind::Sync, EIO).at(".copy").once());
    db.commit(4, &[2], 2, true).unwrap_err();
    assert!(matches!(db.log().durability().check_poison(), Err(Error::Poisoned { .. })));
}

#[test]
fn wal_mode_does_not_end_where_the_log_directory_cannot_be_removed_and_nothing_is_removed() {
    for errno in [EBUSY, EROFS, libc::EACCES] {
        let rig = Rig::new();
        let (db, mut history) = rig.open_with_commits(2, true);
        let before = rig.io.live().names.len();
        rig.io.fail(Fault::on(Kind::Remove, errno).at("-wal"));
        let error = db.log().checkpointer().leave().unwrap_err();
        assert_eq!(matches!(error, Error::InUse { .. }), errno == EBUSY, "{error}");
        assert!(error.to_string().contains(DIR), "{error}");
        assert_eq!(rig.io.live().names.len(), before, "errno {errno}: something is gone");
        db.log().check_writable().expect("the log is as it was");
        history.insert(3, history[&2].after(3, &[2], 2));
        db.commit(3, &[2], 2, true).unwrap();
        drop(db);
        assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 3);
    }
}
