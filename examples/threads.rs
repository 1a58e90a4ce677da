//! Several writers under `synchronous=FULL`: each commit is on disk before it returns, and those that wait at the same
//! time share one fsync (group commit).
//!
//!     cargo run --release --example threads

use std::sync::Barrier;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use vwal::{Database, Options};

const WRITERS: u32 = 8;
const COMMITS: u32 = 250;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn open(uri: &str) -> Result<Connection, Failure> {
    let conn = Connection::open_with_flags(uri, OpenFlags::default())?;
    conn.busy_timeout(Duration::from_secs(30))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    Ok(conn)
}

fn main() -> Result<(), Failure> {
    vwal::register(Options::new())?;
    let dir = tempfile::tempdir()?;
    let uri = format!("file:{}?vfs=vwal", dir.path().join("threads.db").display());
    let conn = open(&uri)?;
    conn.execute_batch(
        "CREATE TABLE entry (writer INTEGER, i INTEGER, PRIMARY KEY (writer, i)) WITHOUT ROWID",
    )?;

    let start = Barrier::new(WRITERS as usize + 1);
    let elapsed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (uri, start) = (&uri, &start);
                scope.spawn(move || -> Result<(), Failure> {
                    let conn = open(uri);
                    // All or none: a thread that failed before would leave the others waiting.
                    start.wait();
                    let mut conn = conn?;
                    for i in 0..COMMITS {
                        // IMMEDIATE, as in every program with several writers: wait for the lock before reading, and
                        // not with a snapshot that is stale by then.
                        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
                        tx.execute("INSERT INTO entry VALUES (?1, ?2)", [writer, i])?;
                        tx.commit()?;
                    }
                    Ok(())
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| "a writer panicked")??;
        }
        Ok::<Duration, Failure>(started.elapsed())
    })?;

    let count: u32 = conn.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
    let database = Database::of(&conn, "main")?;
    println!(
        "{WRITERS} writers, {count} commits in {:.2} s: {:.0} durable commits/s",
        elapsed.as_secs_f64(),
        f64::from(count) / elapsed.as_secs_f64()
    );
    println!("frame {}, durable up to {}", database.frame_no(), database.durable_frame_no());
    if count != WRITERS * COMMITS || database.durable_frame_no() < database.frame_no() {
        return Err("commits are missing, or returned before they were durable".into());
    }
    Ok(())
}
