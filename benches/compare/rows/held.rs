//! A read transaction that stays open while one-row updates go on.
//!
//! Measured is the throughput with the reader. Then the reader ends, one passive checkpoint is made, and the throughput
//! without it is told as a ratio to what it was before. The cost is that of everything from the beginning of the read
//! transaction to the closing of the database.

use std::time::Instant;

use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Lab, Random, read, update};
use crate::measure::Mark;
use crate::samples::Series;

pub fn work(job: &Job) -> Run {
    let lab = Lab::loaded(job, Options::new());
    let (writer, reader) = (lab.open("NORMAL"), lab.open("NORMAL"));
    let mut random = Random(5);
    let mut update = || update(&writer, random.row(job.settings.rows));
    Series::measure("", job.warm_up(), &mut update);
    lab.drain(&writer);
    rustix::fs::sync();
    let before = Series::measure("before", job.length(), &mut update);
    lab.drain(&writer);
    let mark = Mark::set(job, Some((&lab, &writer)));
    reader.execute_batch("BEGIN").expect("a read transaction");
    let rows = [1, job.settings.rows / 2, job.settings.rows];
    let seen = rows.map(|row| read(&reader, row));
    let held = Series::times("", job.settings.held_updates, &mut update);
    assert_eq!(rows.map(|row| read(&reader, row)), seen, "a read transaction sees one state");
    reader.execute_batch("COMMIT").expect("the end of it");
    let start = Instant::now();
    writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("a checkpoint");
    let checkpoint = start.elapsed();
    let after = Series::measure("after", job.length(), &mut update);
    let ratio = after.per_second() / before.per_second();
    let rates = [before.per_second(), after.per_second()];
    let mut run = Run::new(vec![held, after], mark.close(&lab, vec![writer, reader]));
    run.series.insert(0, before);
    run.value("before, commits/s", rates[0])
        .value("after, commits/s", rates[1])
        .value("after / before", ratio)
        .value("the checkpoint, ms", checkpoint.as_secs_f64() * 1e3)
}
