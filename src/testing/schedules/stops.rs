//! The background tasks themselves: commits wake them, an fsync fails, and they are stopped. Whatever comes first, they end.

use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

use super::disk::SlowDisk;
use super::{explore, must_fail};
use crate::db::start_tasks;
use crate::pool::Pool;
use crate::sync::Fault;
use crate::testing::faults::rig::Rig;
use crate::testing::io::{Fault as IoFault, Kind};

const CI: u64 = 10_000;
const COMMITS: u32 = 3;

fn model(with_failure: bool) {
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
    // Nor does the wait of a thread that could end.
    let pool = Pool::with_keep("model", 2, || {}, Duration::from_secs(3600));
    let tasks = start_tasks(&db.wal, &pool, &pool).expect("there are threads");
    for k in 1..=COMMITS {
        let committed = db.commit(k, &[1, 2], 2, thread_rng().r#gen());
        assert!(with_failure || committed.is_ok(), "{committed:?}");
        if committed.is_err() {
            db.roll_back();
        }
    }
    for task in tasks {
        task.stop().expect("it does not panic");
    }
    db.wal.log().syncer_wakeup().detach();
    db.wal.log().checkpointer_wakeup().detach();
}

#[test]
fn background_tasks_do_their_work_and_end() {
    explore("background tasks", CI, || model(false));
}

#[test]
fn background_tasks_end_after_a_failed_fsync() {
    explore("background tasks with a failed fsync", CI, || model(true));
}

#[test]
fn a_stop_that_wakes_nobody_is_found() {
    must_fail(CI, Some(Fault::WakesNobody), "max_steps", || model(true));
}
