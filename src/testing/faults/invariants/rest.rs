//! A log that was closed, and whoever opens it without writing anything.

use std::path::Path;

use crate::testing::faults::rig::{Db, Rig, in_dir};
use crate::testing::io::{Kind, TestIo};

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
