//! Many connections that write at the same time.

use std::sync::Barrier;

use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Contestant, Lab, insert};
use crate::measure::Mark;
use crate::rows::bare;
use crate::samples::Series;

/// One-row inserts by `count` threads, each with a connection of its own that waits when it finds the database busy.
pub fn commits(job: &Job, synchronous: &str, count: usize) -> Run {
    if job.contestant == Contestant::Bare {
        return bare::work(job);
    }
    let lab = Lab::empty(job, Options::new());
    let first = lab.open(synchronous);
    // Two rounds: everybody is warm, and everybody begins.
    let turn = Barrier::new(count + 1);
    let (mark, parts) = std::thread::scope(|scope| {
        let spawn = |_| {
            scope.spawn(|| {
                let conn = lab.open(synchronous);
                turn.wait();
                Series::measure("", job.warm_up(), || insert(&conn));
                turn.wait();
                turn.wait();
                (Series::measure("", job.length(), || insert(&conn)), conn)
            })
        };
        let threads: Vec<_> = (0..count).map(spawn).collect();
        turn.wait();
        turn.wait();
        lab.drain(&first);
        let mark = Mark::set(job, Some((&lab, &first)));
        turn.wait();
        let done = threads.into_iter().map(|thread| thread.join().expect("a writer"));
        (mark, done.collect::<Vec<_>>())
    });
    let (parts, mut conns): (Vec<Series>, Vec<_>) = parts.into_iter().unzip();
    conns.push(first);
    Run::new(vec![Series::together("", &parts)], mark.close(&lab, conns))
}
