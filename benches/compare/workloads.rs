//! The workloads of one connection or two. Those of many writers are in `threads.rs`.

use std::sync::Barrier;
use std::time::Duration;

use rusqlite::{Connection, params};

use crate::engine::{Engine, Lab, PAYLOAD, Random, Setting, fill};
use crate::stats::Series;
use crate::threads;

/// One line of the table, or several.
pub struct Workload {
    /// For `--only`.
    pub name: &'static str,
    /// For the table.
    pub title: &'static str,
    /// Makes a database and measures.
    pub run: fn(Engine, &Setting) -> Vec<Series>,
}

/// All of them.
pub fn all() -> Vec<Workload> {
    let make = |name, title, run| Workload { name, title, run };
    vec![
        make("insert1", "1-row inserts, NORMAL", insert1),
        make("update1", "1-row random updates, NORMAL", update1),
        make("update20", "20-row random updates, NORMAL", update20),
        make("pair", "writer beside reader", writer_and_reader),
        make("reads", "point reads", reads),
        make("scan", "full scan (rows)", scan),
        make("bulk", "bulk insert (rows)", bulk),
        make("full1", "FULL, 1 thread", |engine, setting| threads::commits(engine, setting, "FULL", 1)),
        make("full4", "FULL, 4 threads", |engine, setting| threads::commits(engine, setting, "FULL", 4)),
        make("full16", "FULL, 16 threads", |engine, setting| threads::commits(engine, setting, "FULL", 16)),
        make("normal4", "NORMAL, 4 threads", |engine, setting| {
            threads::commits(engine, setting, "NORMAL", 4)
        }),
        make("normal16", "NORMAL, 16 threads", |engine, setting| {
            threads::commits(engine, setting, "NORMAL", 16)
        }),
    ]
}

/// Insert one row in a transaction of its own.
pub fn insert(conn: &Connection) {
    conn.prepare_cached("INSERT INTO t (n, payload) VALUES (0, ?1)")
        .and_then(|mut statement| statement.execute([[b'p'; PAYLOAD]]))
        .expect("an insert");
}

fn update(conn: &Connection, id: i64) {
    conn.prepare_cached("UPDATE t SET n = n + 1 WHERE id = ?1")
        .and_then(|mut statement| statement.execute([id]))
        .expect("an update");
}

fn read(conn: &Connection, id: i64) {
    conn.prepare_cached("SELECT n, payload FROM t WHERE id = ?1")
        .and_then(|mut statement| statement.query_row([id], |row| row.get::<_, i64>(0)))
        .expect("a row");
}

fn insert1(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let conn = lab.open("NORMAL");
    vec![Series::measure("", setting.length, || insert(&conn))]
}

fn update1(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let conn = lab.open("NORMAL");
    fill(&conn, setting.rows);
    let mut random = Random(1);
    vec![Series::measure("", setting.length, || update(&conn, random.row(setting.rows)))]
}

fn update20(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let conn = lab.open("NORMAL");
    fill(&conn, setting.rows);
    let mut random = Random(2);
    vec![Series::measure("", setting.length, || {
        conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
        for _ in 0..20 {
            update(&conn, random.row(setting.rows));
        }
        conn.execute_batch("COMMIT").expect("commit");
    })]
}

fn writer_and_reader(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let (writer, reader) = (lab.open("NORMAL"), lab.open("NORMAL"));
    fill(&writer, setting.rows);
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = reader;
            let mut random = Random(3);
            start.wait();
            Series::measure("reader", setting.length, || read(&reader, random.row(setting.rows)))
        });
        start.wait();
        let written = Series::measure("writer", setting.length, || insert(&writer));
        vec![written, reader.join().expect("the reader")]
    })
}

/// The same rows read in three states: all of them in the WAL, absorbed or checkpointed, and in the base file.
fn reads(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let conn = lab.open("NORMAL");
    conn.execute_batch("PRAGMA wal_autocheckpoint=0").expect("no automatic checkpoints");
    fill(&conn, setting.rows);
    let mut random = Random(4);
    // Two connections, so that the second and third state do not begin with pages of the state before.
    let mut measure = |conn: &Connection, label| {
        let mut some = |length| Series::measure(label, length, || read(conn, random.row(setting.rows)));
        some(setting.length / 10);
        some(setting.length)
    };
    let in_wal = measure(&lab.open("NORMAL"), "in the WAL");
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("a checkpoint");
    let absorbed = measure(&lab.open("NORMAL"), "checkpointed");
    lab.drain(&conn);
    let in_base = measure(&lab.open("NORMAL"), "in the base file");
    vec![in_wal, absorbed, in_base]
}

fn scan(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let conn = lab.open("NORMAL");
    fill(&conn, setting.rows);
    let scan = || {
        let n: i64 = conn.query_row("SELECT count(payload) FROM t", [], |row| row.get(0)).expect("a scan");
        assert_eq!(n, setting.rows);
    };
    scan();
    let times = 5;
    vec![Series::once("", setting.rows.unsigned_abs() * times, || (0..times).for_each(|_| scan()))]
}

fn bulk(engine: Engine, setting: &Setting) -> Vec<Series> {
    let lab = Lab::new(engine, setting);
    let conn = lab.open("NORMAL");
    let series = Series::once("", setting.rows.unsigned_abs(), || fill(&conn, setting.rows));
    let n: i64 = conn.query_row("SELECT max(id) FROM t", params![], |row| row.get(0)).expect("the last row");
    assert_eq!(n, setting.rows);
    // What a bulk insert leaves to the background does not burden the next run.
    drop(conn);
    std::thread::sleep(Duration::from_millis(100));
    vec![series]
}
