//! A log that was closed, and whoever opens it without writing anything.

use std::path::Path;

use super::walk;
use crate::io::SyncSite;
use crate::testing::faults::rig::{Db, Rig, in_dir};
use crate::testing::io::{Fate, Kind, TestIo, splitmix};

/// The last connection closes, after a `wal_checkpoint(TRUNCATE)`.
fn close(db: Db) {
    db.truncate().unwrap();
    db.writer.close_wal();
    db.log().writer().shrink_spares();
    db.log().release_lock();
}

fn fsyncs(io: &TestIo) -> usize {
    io.tried(Kind::Sync) + io.tried(Kind::SyncDir)
}

#[test]
fn a_session_that_writes_nothing_makes_no_fsync_and_leaves_every_file_as_it_was() {
    let rig = Rig::new();
    let (db, history) = rig.open_with_commits(9, true);
    close(db);
    let (before, fsyncs_before) = (rig.io.live(), fsyncs(&rig.io));
    for _ in 0..2 {
        let (db, k) = rig.open_and_check(&history).unwrap();
        assert_eq!(k, 9);
        db.writer.close_wal();
        db.log().release_lock();
    }
    assert_eq!(fsyncs(&rig.io), fsyncs_before);
    let after = rig.io.live();
    assert!(!after.names.contains_key(&in_dir("shm")), "the shared memory of a closed log");
    let bytes = |image: &crate::testing::io::Image, path: &Path| image.read(path).map(<[u8]>::to_vec);
    assert!(before.names.keys().eq(after.names.keys()));
    for path in before.names.keys() {
        assert_eq!(bytes(&before, path), bytes(&after, path), "{}", path.display());
    }
}

#[test]
fn the_first_transaction_after_it_makes_the_names_durable_before_it_takes_a_spare() {
    let rig = Rig::new();
    let (db, mut history) = rig.open_with_commits(9, true);
    close(db);
    let db = rig.open().unwrap();
    let before = rig.io.tried(Kind::SyncDir);
    db.commit_next(&mut history, 10, false);
    assert_eq!(rig.io.tried(Kind::SyncDir), before + 1);
    db.commit_next(&mut history, 11, false);
    assert_eq!(rig.io.tried(Kind::SyncDir), before + 1, "once is enough");
}

/// A process is killed at any moment of its last close, the next one makes a commit that nobody waits for, and the power fails. What is
/// wrong then, if anything.
fn killed_while_closing(skipped: Option<SyncSite>) -> Result<(), String> {
    let rig = Rig::new().with("vwal_swap", "frames>=3");
    let (db, history) = rig.open_with_commits(9, true);
    let from = rig.io.trace().len();
    close(db);
    let mut killed = Vec::new();
    let mut at = 0;
    walk(&rig.io, |disks, _, _| {
        at += 1;
        if at > from {
            killed.push(disks.clone());
        }
    });
    for (at, disks) in killed.into_iter().enumerate() {
        let mut next = Rig::after(disks);
        if let Some(site) = skipped {
            next = next.without(site);
        }
        let db = next.open().map_err(|error| format!("killed at {at}: {error}"))?;
        let mut history = history.clone();
        db.commit_next(&mut history, 10, false);
        let mut random = at as u64;
        for _ in 0..40 {
            let fates = splitmix(&mut random);
            let fate = |unit: usize| if fates >> (unit % 64) & 1 == 0 { Fate::Kept } else { Fate::Lost };
            let (db, k) = Rig::from(db.io.disks().crash(fate))
                .open_and_check(&history)
                .map_err(|wrong| format!("killed at {at}: {wrong}"))?;
            if let Some(said) = db.log().last_error() {
                return Err(format!("killed at {at}: {said}"));
            }
            if k < 9 {
                return Err(format!("killed at {at}: commit {k} is the last one"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_kill_while_a_log_is_closed_leaves_nothing_that_the_next_process_could_spoil() {
    assert_eq!(killed_while_closing(None), Ok(()));
}

#[test]
fn without_the_fsync_of_names_at_rest_it_does() {
    let wrong = killed_while_closing(Some(SyncSite::NamesAtRest));
    assert!(wrong.is_err(), "a spare under its old name is not found");
}
