//! One connection that writes.

use rusqlite::Connection;
use vwal::Options;

use crate::child::{Job, Run};
use crate::engine::{Lab, Random, fill, insert, update, update_some};
use crate::measure::Mark;
use crate::samples::Series;

pub fn insert1(job: &Job) -> Run {
    over_and_over(job, &Lab::empty(job, Options::new()), insert)
}

pub fn update1(job: &Job) -> Run {
    let mut random = Random(1);
    over_and_over(job, &Lab::loaded(job, Options::new()), |conn| {
        update(conn, random.row(job.settings.rows));
    })
}

pub fn update20(job: &Job) -> Run {
    let mut random = Random(2);
    over_and_over(job, &Lab::loaded(job, Options::new()), |conn| {
        update_some(conn, &mut random, job.settings.rows, 20);
    })
}

/// A transaction over and over. A while of it goes before what is measured, so that both engines have their files: stock
/// SQLite a WAL of full length, vwal its spare segments.
fn over_and_over(job: &Job, lab: &Lab, mut transaction: impl FnMut(&Connection)) -> Run {
    let conn = lab.open("NORMAL");
    Series::measure("", job.warm_up(), || transaction(&conn));
    lab.drain(&conn);
    let mark = Mark::set(job, Some((lab, &conn)));
    let series = Series::measure("", job.length(), || transaction(&conn));
    Run::new(vec![series], mark.close(lab, vec![conn]))
}

/// All rows in one transaction, into an empty table.
pub fn bulk(job: &Job) -> Run {
    let lab = Lab::empty(job, Options::new());
    let conn = lab.open("NORMAL");
    let rows = job.settings.rows;
    let mark = Mark::set(job, Some((&lab, &conn)));
    let series = Series::once("", rows.unsigned_abs(), || fill(&conn, rows).expect("rows"));
    let last: i64 = conn.query_row("SELECT max(id) FROM t", [], |row| row.get(0)).expect("the last row");
    assert_eq!(last, rows);
    Run::new(vec![series], mark.close(&lab, vec![conn]))
}
