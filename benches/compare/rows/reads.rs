//! Reads of rows in three states: all of them in the log, in the log and checkpointed by SQLite, in the base file.
//!
//! That they stay in the log, automatic checkpoints are off in both engines. The cost does not include closing the
//! database, which would bring the base file up to date.

use rusqlite::Connection;
use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Lab, Random, fill, read, without_checkpoints};
use crate::measure::Mark;
use crate::samples::Series;

pub fn in_log(job: &Job) -> Run {
    let (lab, _writer) = filled(job, Options::new());
    points(job, &lab)
}

pub fn in_log_small(job: &Job) -> Run {
    let data = std::fs::metadata(&job.template).expect("the template").len();
    let cache = usize::try_from(data / 8).expect("a size");
    let (lab, _writer) = filled(job, Options::new().cache_size(cache));
    points(job, &lab)
}

/// After a passive checkpoint: stock SQLite has copied the pages to the base file and reads them there, for vwal they are
/// absorbed and still in the log.
pub fn absorbed(job: &Job) -> Run {
    let (lab, writer) = filled(job, Options::new());
    writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("a checkpoint");
    points(job, &lab)
}

pub fn in_base(job: &Job) -> Run {
    points(job, &Lab::loaded(job, Options::new()))
}

pub fn scan_log(job: &Job) -> Run {
    let (lab, _writer) = filled(job, Options::new());
    scans(job, &lab)
}

pub fn scan_base(job: &Job) -> Run {
    scans(job, &Lab::loaded(job, Options::new()))
}

/// A database whose rows are all in the log, and the connection that keeps them there.
fn filled(job: &Job, options: Options) -> (Lab, Connection) {
    let lab = Lab::empty(job, without_checkpoints(options));
    let conn = lab.open("NORMAL");
    conn.execute_batch("PRAGMA wal_autocheckpoint=0").expect("no automatic checkpoints");
    fill(&conn, job.settings.rows).expect("rows");
    (lab, conn)
}

fn points(job: &Job, lab: &Lab) -> Run {
    let mut random = Random(4);
    measured(job, lab, |conn| {
        assert_eq!(read(conn, random.row(job.settings.rows)), 0);
    })
}

fn scans(job: &Job, lab: &Lab) -> Run {
    let mut run = measured(job, lab, |conn| {
        let n: i64 = conn.query_row("SELECT count(payload) FROM t", [], |row| row.get(0)).expect("a scan");
        assert_eq!(n, job.settings.rows);
    });
    let rows = job.settings.rows.unsigned_abs();
    run.operations *= rows;
    run.series = run.series.into_iter().map(|series| series.each_of(rows)).collect();
    run
}

/// By a new connection, so that it does not begin with pages of the one that wrote.
fn measured(job: &Job, lab: &Lab, mut operation: impl FnMut(&Connection)) -> Run {
    let conn = lab.open("NORMAL");
    Series::measure("", job.warm_up(), || operation(&conn));
    let mark = Mark::set(job, None);
    let series = Series::measure("", job.length(), || operation(&conn));
    Run::new(vec![series], mark.end())
}
