//! The background threads themselves: commits wake them, an fsync fails, and they are stopped. Whatever comes first, they end.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::disk::SlowDisk;
use super::{explore, must_fail};
use crate::db::{checkpoint_loop, sync_loop};
use crate::log::Wakeup;
use crate::sync::Fault;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::testing::faults::rig::Rig;
use crate::testing::io::{Fault as IoFault, Kind};
use crate::wal::Wal;

const CI: u64 = 10_000;
const COMMITS: u32 = 3;

/// How the threads are told to end.
type Stop = fn(&Wal);

fn real(wal: &Wal) {
    wal.log().syncer_wakeup().stop();
    wal.log().checkpointer_wakeup().stop();
}

fn model(with_failure: bool, stop: Stop) {
    // No wait runs out by itself for want of something to do: that would hide a wake-up that does not come.
    let rig = Rig::new()
        .with("vwal_swap", "frames>=2")
        .with("vwal_checkpoint_size", "1")
        .with("vwal_sync_interval_ms", "3600000")
        .with("vwal_checkpoint_age_ms", "0");
    let disk = SlowDisk::new(rig.io.clone());
    let db = rig.open_on(Arc::new(disk)).expect("it opens");
    if with_failure {
        let kind = if thread_rng().r#gen() { Kind::Sync } else { Kind::SyncDir };
        rig.io.fail(IoFault::on(kind, libc::EIO).after(thread_rng().gen_range(0..8)));
    }
    thread::scope(|scope| {
        let wal = &db.wal;
        let syncer = scope.spawn(move || sync_loop(wal));
        let checkpointer = scope.spawn(move || checkpoint_loop(wal));
        for k in 1..=COMMITS {
            let committed = db.commit(k, &[1, 2], 2, thread_rng().r#gen());
            assert!(with_failure || committed.is_ok(), "{committed:?}");
            if committed.is_err() {
                db.roll_back();
            }
        }
        stop(wal);
        syncer.join().expect("it does not panic");
        checkpointer.join().expect("it does not panic");
    });
}

/// Work that is made visible before the wake-up, and a thread that looks for it before it sleeps.
fn wake_ups(notify: fn(&Wakeup)) {
    let (wakeup, made, done) = (Wakeup::default(), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        let (wakeup, made, done) = (&wakeup, &made, &done);
        let worker = scope.spawn(move || {
            while !wakeup.is_stopped() {
                done.store(made.load(Ordering::SeqCst), Ordering::SeqCst);
                if wakeup.may_sleep(|| made.load(Ordering::SeqCst) > done.load(Ordering::SeqCst)) {
                    wakeup.wait(None);
                }
            }
        });
        let makers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..COMMITS {
                        made.fetch_add(1, Ordering::SeqCst);
                        notify(wakeup);
                    }
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().expect("it does not panic"));
        while done.load(Ordering::SeqCst) < 2 * COMMITS {
            thread::yield_now();
        }
        wakeup.stop();
        worker.join().expect("it does not panic");
    });
}

#[test]
fn no_wake_up_is_missed() {
    explore("wake-ups", CI, || wake_ups(Wakeup::notify_if_idle));
}

#[test]
fn a_wake_up_that_does_not_come_is_found() {
    must_fail(CI, None, "max_steps", || wake_ups(|_| {}));
}

#[test]
fn background_threads_do_their_work_and_end() {
    explore("background threads", CI, || model(false, real));
}

#[test]
fn background_threads_end_after_a_failed_fsync() {
    explore("background threads with a failed fsync", CI, || model(true, real));
}

#[test]
fn a_stop_that_is_only_a_wake_up_is_found() {
    // One wake-up more for each thread that waits twice, and the second wait has none.
    must_fail(CI, None, "deadlock", || {
        model(true, |wal| {
            wal.log().syncer_wakeup().notify();
            wal.log().checkpointer_wakeup().notify();
        });
    });
}

#[test]
fn a_stop_that_wakes_nobody_is_found() {
    must_fail(CI, Some(Fault::WakesNobody), "deadlock", || model(true, real));
}
