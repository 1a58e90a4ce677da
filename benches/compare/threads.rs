//! Many connections that write at the same time.

use std::sync::Barrier;

use crate::engine::{Engine, Lab, Setting};
use crate::stats::Series;
use crate::workloads::insert;

/// One-row inserts by `count` threads, each with a connection of its own that waits when it finds the database busy.
pub fn commits(engine: Engine, setting: &Setting, synchronous: &str, count: usize) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let start = Barrier::new(count);
    let parts = std::thread::scope(|scope| {
        let spawn = |_| {
            scope.spawn(|| {
                let conn = lab.open(synchronous);
                start.wait();
                Series::measure("", setting.length, || insert(&conn))
            })
        };
        let threads: Vec<_> = (0..count).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer")).collect()
    });
    vec![Series::together("", parts)]
}
