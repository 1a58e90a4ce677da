//! A writer of one-row inserts and a reader of random rows at the same time, each in a thread of its own.

use std::sync::Barrier;

use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Lab, Random, fill, insert, read};
use crate::measure::Mark;
use crate::samples::Series;

/// The rows that are read are in the base file.
pub fn base(job: &Job) -> Run {
    beside(job, &Lab::loaded(job, Options::new()))
}

/// The rows that are read have just been loaded by this process, and are where the engine's defaults leave them: stock SQLite
/// has checkpointed them, vwal has them in the log and in its frame cache.
pub fn loaded(job: &Job) -> Run {
    let lab = Lab::empty(job, Options::new());
    let conn = lab.open("NORMAL");
    fill(&conn, job.settings.rows).expect("rows");
    // In use until the others are: the last connection that closes would bring everything into the base file.
    let run = beside(job, &lab);
    drop(conn);
    run
}

fn beside(job: &Job, lab: &Lab) -> Run {
    let (writer, reader) = (lab.open("NORMAL"), lab.open("NORMAL"));
    let mut random = Random(3);
    Series::measure("", job.warm_up(), || insert(&writer));
    Series::measure("", job.warm_up(), || _ = read(&reader, random.row(job.settings.rows)));
    let start = Barrier::new(2);
    let mark = Mark::set(job, Some((lab, &writer)));
    let (written, writer, seen, reader) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let reader = reader;
            start.wait();
            let read = || assert_eq!(read(&reader, random.row(job.settings.rows)), 0);
            (Series::measure("reader", job.length(), read), reader)
        });
        start.wait();
        let written = Series::measure("writer", job.length(), || insert(&writer));
        let (seen, reader) = reading.join().expect("the reader");
        (written, writer, seen, reader)
    });
    Run::new(vec![written, seen], mark.close(lab, vec![writer, reader]))
}
