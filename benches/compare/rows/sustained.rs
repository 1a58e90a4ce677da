//! One-row updates that go on: whether they keep their speed, and how large the log becomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Lab, Random, update};
use crate::measure::Mark;
use crate::samples::Series;

/// The default of `vwal_log_size`, the bound of vwal's log (docs/design.md, "Memory and disk").
const LOG_SIZE: f64 = (512 << 20) as f64;

pub fn work(job: &Job) -> Run {
    let lab = Lab::loaded(job, Options::new());
    let conn = lab.open("NORMAL");
    let mut random = Random(6);
    let mut update = || update(&conn, random.row(job.settings.rows));
    Series::measure("", job.warm_up(), &mut update);
    lab.drain(&conn);
    let log_size = lab.log_size(&conn);
    let mark = Mark::set(job, Some((&lab, &conn)));
    let done = AtomicBool::new(false);
    let (thirds, largest) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut largest = [0; 2];
            for look in 0_u32.. {
                let over = done.load(Ordering::Relaxed);
                largest[0] = largest[0].max(log_size());
                // Many files: not as often.
                if over || look.is_multiple_of(20) {
                    largest[1] = largest[1].max(lab.log_files());
                }
                if over {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            largest.map(|bytes| bytes as f64)
        });
        let third = Duration::from_secs_f64(job.settings.sustained_seconds / 3.0);
        let thirds = [1, 2, 3].map(|_| Series::measure("", third, &mut update));
        done.store(true, Ordering::Relaxed);
        (thirds, watch.join().expect("the watcher"))
    });
    drop(log_size);
    let rates = [0, 1, 2].map(|third: usize| thirds[third].per_second());
    Run::new(vec![Series::in_turn("", &thirds)], mark.close(&lab, vec![conn]))
        .value("first third, commits/s", rates[0])
        .value("second third, commits/s", rates[1])
        .value("last third, commits/s", rates[2])
        .value("last third / first", rates[2] / rates[0])
        .value("largest log, MiB", largest[0] / f64::from(1 << 20))
        .value("largest log / vwal_log_size", largest[0] / LOG_SIZE)
        .value("largest log with spare files, MiB", largest[1] / f64::from(1 << 20))
}
