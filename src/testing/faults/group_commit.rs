//! Many connections that commit at once under `synchronous=FULL`: how many fsyncs that takes, and what they are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::rig::{Db, Rig};
use crate::error::{Error, Result};
use crate::io::SyncSite;
use crate::testing::io::{Fault, Kind};

/// One more connection.
fn connect(db: &Db) -> Db {
    Db {
        io: db.io.clone(),
        wal: Arc::clone(&db.wal),
        index: Arc::clone(&db.index),
        writer: Db::connect(&db.wal),
    }
}

/// A commit of page 2, `FULL`. `write_lock`: what `wal.c` would be refused is waited for here. Returns its last frame, which
/// must be durable then.
fn commit(db: &Db, k: u32, write_lock: &Mutex<()>) -> Result<u64> {
    let turn = write_lock.lock();
    db.begin()?;
    db.frames(k, &[2], 2)?;
    db.writer.sync_wal()?;
    db.index.max_frame.fetch_add(1, Ordering::SeqCst);
    db.writer.unlock(0, 1, crate::wal::LockKind::Exclusive);
    let frame_no = db.log().published_frame_no();
    drop(turn);
    db.writer.committed()?;
    assert!(db.log().synced_frame_no() >= frame_no, "frame {frame_no} is acknowledged and not durable");
    Ok(frame_no)
}

/// While the fsync of one commit does not return, five others commit. What all of them are told.
fn five_behind_one(rig: &Rig, fault: Option<Fault>) -> (Vec<Result<u64>>, Db, u64) {
    let db = rig.open().expect("it opens");
    db.commit(1, &[1, 2], 2, true).expect("a commit");
    if let Some(fault) = fault {
        rig.io.fail(fault);
    }
    let before = db.log().durability().sync_count();
    let write_lock = Mutex::new(());
    rig.io.hold_syncs();
    let results = std::thread::scope(|scope| {
        let (db, write_lock) = (&db, &write_lock);
        let mut threads = vec![scope.spawn(move || commit(&connect(db), 2, write_lock))];
        rig.io.wait_for_held_syncs(1);
        threads.extend((3..8).map(|k| scope.spawn(move || commit(&connect(db), k, write_lock))));
        while db.log().published_frame_no() < 8 || db.log().durability().waiting_for_sync() < 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        rig.io.release_syncs();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let fsyncs = db.log().durability().sync_count() - before;
    (results, db, fsyncs)
}

#[test]
fn all_that_came_during_an_fsync_share_the_next_one() {
    let (results, _db, fsyncs) = five_behind_one(&Rig::new().with("vwal_swap", "frames>=100"), None);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(fsyncs, 2);
}

#[test]
fn a_failed_fsync_is_told_to_all_that_share_it_and_to_all_that_come_later() {
    for after in [0, 1] {
        let fault = Fault::on(Kind::Sync, libc::EIO).at(".seg").after(after).once();
        let rig = Rig::new().with("vwal_swap", "frames>=100");
        let (results, db, fsyncs) = five_behind_one(&rig, Some(fault));
        let told: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(told, [after == 1, false, false, false, false, false], "{results:?}");
        assert_eq!(fsyncs, after as u64, "those that succeeded");
        assert!(matches!(db.commit(9, &[2], 2, true), Err(Error::Poisoned { .. })));
    }
}

#[test]
fn one_connection_costs_one_fsync_for_each_commit() {
    let rig = Rig::new().with("vwal_swap", "frames>=100");
    let db = rig.open().unwrap();
    db.commit(1, &[1, 2], 2, true).unwrap();
    let before = db.log().durability().sync_count();
    for k in 2..52 {
        commit(&db, k, &Mutex::new(())).unwrap();
    }
    assert_eq!(db.log().durability().sync_count() - before, 50);
}

#[test]
fn nobody_returns_before_its_commit_is_durable() {
    // Segments are swapped all the time, and others want fsyncs of their own.
    let rig = Rig::new();
    let db = rig.open().unwrap();
    db.commit(1, &[1, 2], 2, true).unwrap();
    let write_lock = Mutex::new(());
    std::thread::scope(|scope| {
        let (db, write_lock) = (&db, &write_lock);
        for thread in 0..4 {
            scope.spawn(move || {
                let db = connect(db);
                for k in 0..100 {
                    commit(&db, 2 + 100 * thread + k, write_lock).unwrap();
                }
            });
        }
        scope.spawn(move || {
            while db.log().published_frame_no() < 402 {
                db.log().writer().seal_segments().unwrap();
                db.log()
                    .durability()
                    .sync_to(db.log().published_frame_no(), SyncSite::UnaskedFrames)
                    .unwrap();
            }
        });
    });
    assert_eq!((db.log().published_frame_no(), db.log().synced_frame_no()), (402, 402));
}
