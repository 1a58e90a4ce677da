//! One-row updates that go on: whether they keep their speed, and how large the log becomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Lab, Random, update};
use crate::measure::Mark;
use crate::samples::Series;

/// The default of `vwal_checkpoint_size`, which is the bound of vwal's log: it may hold four times as much while a pass goes
/// on, and so it has spare files (docs/design.md, "Memory and disk").
const CHECKPOINT_SIZE: f64 = (64 << 20) as f64;

pub fn work(job: &Job) -> Run {
    let lab = Lab::loaded(job, Options::new());
    let conn = lab.open("NORMAL");
    let mut random = Random(6);
    let log_size = lab.log_size(&conn);
    let mark = Mark::set(job, Some((&lab, &conn)));
    let done = AtomicBool::new(false);
    let (thirds, largest) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut largest = 0;
            while !done.load(Ordering::Relaxed) {
                largest = largest.max(log_size());
                std::thread::sleep(Duration::from_millis(50));
            }
            largest.max(log_size())
        });
        let third = Duration::from_secs_f64(job.settings.sustained_seconds / 3.0);
        let measure = |_| Series::measure("", third, || update(&conn, random.row(job.settings.rows)));
        let thirds = [1, 2, 3].map(measure);
        done.store(true, Ordering::Relaxed);
        (thirds, watch.join().expect("the watcher"))
    });
    drop(log_size);
    let largest = largest as f64;
    let rates = [0, 1, 2].map(|third: usize| thirds[third].per_second());
    Run::new(vec![Series::in_turn("", &thirds)], mark.close(&lab, vec![conn]))
        .value("first third, commits/s", rates[0])
        .value("second third, commits/s", rates[1])
        .value("last third, commits/s", rates[2])
        .value("last third / first", rates[2] / rates[0])
        .value("largest log, MiB", largest / f64::from(1 << 20))
        .value("largest log / checkpoint size", largest / CHECKPOINT_SIZE)
}
