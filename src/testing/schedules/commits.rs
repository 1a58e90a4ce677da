//! Group commit: committers, others who want fsyncs, swaps, seals, and fsyncs that fail.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::disk::SlowDisk;
use super::{explore, must_fail};
use crate::error::{Error, Result};
use crate::io::SyncSite;
use crate::sync::{Fault, Mutex};
use crate::testing::faults::rig::{Db, Rig};
use crate::testing::io::{Fault as IoFault, Kind};

const CI: u64 = 10_000;
const COMMITTERS: u32 = 3;
const COMMITS: u32 = 2;

/// How a committer waits for its fsync.
type Wait = fn(&Db, u64) -> Result<()>;

/// A commit of page 2, `FULL`, up to where only the fsync is missing. What `wal.c` would be refused is waited for here.
fn publish(db: &Db, k: u32, write_lock: &Mutex<()>) -> Result<u64> {
    let _turn = write_lock.lock();
    let begun = db.begin().and_then(|()| db.frames(k, &[2], 2)).and_then(|()| db.writer.sync_wal());
    if let Err(error) = begun {
        db.roll_back();
        return Err(error);
    }
    db.index.max_frame.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    db.writer.unlock(0, 1, crate::wal::LockKind::Exclusive);
    Ok(db.log().published_frame_no())
}

fn connect(db: &Db) -> Db {
    Db {
        io: db.io.clone(),
        wal: Arc::clone(&db.wal),
        index: Arc::clone(&db.index),
        writer: Db::connect(&db.wal),
    }
}

fn model(with_failure: bool, wait: Wait) {
    let rig = Rig::new().with("vwal_swap", "frames>=3");
    let disk = SlowDisk::new(rig.io.clone());
    let db = rig.open_on(Arc::new(disk.clone())).expect("it opens");
    db.commit(1, &[1, 2], 2, true).expect("a commit");
    if with_failure {
        let (kind, path) = if thread_rng().r#gen() { (Kind::Sync, ".seg") } else { (Kind::SyncDir, "") };
        rig.io.fail(IoFault::on(kind, libc::EIO).at(path).after(thread_rng().gen_range(0..4)).once());
    }
    let write_lock = Mutex::new(());
    thread::scope(|scope| {
        let (db, disk, write_lock) = (&db, &disk, &write_lock);
        let committers: Vec<_> = (0..COMMITTERS)
            .map(|thread| {
                scope.spawn(move || {
                    let db = connect(db);
                    for commit in 0..COMMITS {
                        let k = 2 + thread * COMMITS + commit;
                        // It may be told of the failure of an fsync that began before it came, or later.
                        let was_poisoned = db.log().check_writable().is_err();
                        match publish(&db, k, write_lock).and_then(|frame_no| {
                            wait(&db, frame_no)?;
                            Ok(frame_no)
                        }) {
                            Ok(frame_no) => {
                                disk.assert_durable(db.log(), frame_no);
                                assert!(!was_poisoned, "acknowledged after a failed fsync");
                            }
                            Err(error) => {
                                assert!(with_failure, "{error}");
                                assert!(
                                    matches!(error, Error::Poisoned { .. } | Error::Io { .. }),
                                    "{error}"
                                );
                            }
                        }
                    }
                })
            })
            .collect();
        let other = scope.spawn(move || {
            let frame_no = db.log().published_frame_no();
            match db.log().durability().sync_to(frame_no, SyncSite::RequestedFrames) {
                Ok(()) => disk.assert_durable(db.log(), frame_no),
                Err(error) => assert!(with_failure, "{error}"),
            }
            let sealed = db
                .log()
                .writer()
                .seal_segments()
                .and_then(|()| db.log().writer().look_after_current(&mut None));
            assert!(with_failure || sealed.is_ok(), "{sealed:?}");
        });
        committers.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        other.join().expect("it does not panic");
    });
    assert_eq!(db.log().durability().waiting_for_sync(), 0);
    if !with_failure {
        let frame_no = db.log().published_frame_no();
        assert_eq!(frame_no, 2 + u64::from(COMMITTERS * COMMITS));
        assert_eq!(db.log().synced_frame_no(), frame_no);
    }
}

fn real(db: &Db, _: u64) -> Result<()> {
    db.writer.committed()
}

#[test]
fn a_commit_is_acknowledged_when_it_is_durable() {
    explore("group commit", CI, || model(false, real));
}

#[test]
fn no_commit_is_acknowledged_behind_a_failed_fsync() {
    explore("group commit with a failed fsync", CI, || model(true, real));
}

#[test]
fn a_commit_that_counts_for_durable_too_early_is_found() {
    must_fail(CI, None, "is acknowledged, and", || {
        model(false, |db, frame_no| db.log().durability().sync_commit(frame_no - 1))
    });
}

#[test]
fn a_committer_that_nobody_wakes_is_found() {
    must_fail(CI, Some(Fault::WakesOne), "deadlock", || model(false, real));
}

#[test]
fn a_commit_that_ignores_the_failure_is_found() {
    must_fail(CI, None, "is acknowledged, and", || model(true, |db, _| db.writer.committed().or(Ok(()))));
}
