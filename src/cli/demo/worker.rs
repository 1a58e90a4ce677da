//! The process that is killed: writers and readers, each on a connection and a thread of its own.
//!
//! It speaks on standard output, a line each, in one `write`: `C k hash` after transaction k was committed, `R n` for n
//! more reads, `V text` when a reader saw what it must not see. Anything else ends the process with a message on
//! standard error. Standard input is a pipe from the parent; when the parent goes, this goes.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::super::Failure;
use super::super::args::WorkerArgs;
use super::ledger::{self, PREFIX, Random, TOTAL};
use super::{open_copy, tables};

/// Run until killed.
pub fn work(args: &WorkerArgs) -> ExitCode {
    let watching = std::thread::Builder::new().spawn(|| {
        // Nothing is ever sent: this returns when the parent is gone.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    let no_thread = |error: std::io::Error| -> ! {
        eprintln!("vwal: the writing process cannot start a thread: {error}");
        std::process::exit(1)
    };
    if let Err(error) = watching {
        no_thread(error);
    }
    let acknowledged = AtomicI64::new(0);
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        for writer in 0..args.writers {
            let (send, acknowledged) = (send.clone(), &acknowledged);
            let writing = move || send.send(write(args, writer, acknowledged));
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, writing) {
                no_thread(error);
            }
        }
        for reader in 0..args.readers {
            let (send, acknowledged) = (send.clone(), &acknowledged);
            let reading = move || send.send(read(&args.db, reader, acknowledged));
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, reading) {
                no_thread(error);
            }
        }
        // Threads end by an error alone. The first one ends the process, without waiting for the others.
        let failure = receive.recv().unwrap_or(Ok(())).err().unwrap_or_else(|| Failure::new("no threads"));
        eprintln!("vwal: the writing process failed: {failure}");
        std::process::exit(1)
    })
}

fn connect(path: &Path) -> Result<Connection, Failure> {
    let conn = open_copy(path)?;
    conn.busy_timeout(Duration::from_secs(30))?;
    // What a trigger of the copied database would do is not for us to start.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    Ok(conn)
}

fn write(args: &WorkerArgs, writer: u32, acknowledged: &AtomicI64) -> Result<(), Failure> {
    let mut conn = connect(&args.db)?;
    conn.pragma_update(None, "synchronous", args.synchronous.word())?;
    if writer.is_multiple_of(2) {
        // So small that a large transaction writes pages to the log before it commits.
        conn.pragma_update(None, "cache_size", 12)?;
    }
    let touches = tables::touches(&mut conn)?;
    let mut random = Random::new(args.seed.wrapping_add(u64::from(writer) << 32));
    loop {
        if let Some(commit) = ledger::append(&mut conn, writer, &mut random, &touches)? {
            tell(&format!("C {} {}\n", commit.k, commit.hash))?;
            acknowledged.fetch_max(commit.k, Ordering::SeqCst);
        }
    }
}

/// A read transaction must see whole transactions only, all that were acknowledged before it began, and never less than
/// the one before it saw.
fn read(path: &Path, reader: u32, acknowledged: &AtomicI64) -> Result<(), Failure> {
    let conn = connect(path)?;
    let mut sum = conn.prepare(&format!("SELECT sum(balance) FROM {PREFIX}account"))?;
    let mut last = conn.prepare(&format!(
        "SELECT ifnull(max(k), 0), ifnull((SELECT noise FROM {PREFIX}ledger ORDER BY k DESC LIMIT 1), 0)
         FROM {PREFIX}ledger"
    ))?;
    let mut noise = conn.prepare(&format!("SELECT count(*) FROM {PREFIX}noise WHERE k >= ?1"))?;
    let (mut seen, mut reads, mut told) = (0, 0, Instant::now());
    loop {
        let least = acknowledged.load(Ordering::SeqCst).max(seen);
        let tx = conn.unchecked_transaction()?;
        let total: i64 = sum.query_row([], |row| row.get(0))?;
        let (k, rows): (i64, i64) = last.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found: i64 = noise.query_row([k], |row| row.get(0))?;
        tx.commit()?;
        for (wrong, what) in [
            (total != TOTAL, format!("accounts with a sum of {total} instead of {TOTAL}")),
            (k < least, format!("the ledger up to {k}, after {least} had been acknowledged or seen")),
            (found != rows, format!("transaction {k} with {found} of {rows} rows")),
        ] {
            if wrong {
                tell(&format!("V reader {reader} saw {what}\n"))?;
            }
        }
        seen = k;
        reads += 1;
        if told.elapsed() > Duration::from_millis(50) {
            tell(&format!("R {reads}\n"))?;
            (reads, told) = (0, Instant::now());
        }
        // An application does something with what it has read. Without a pause two readers keep two cores to themselves,
        // and what is measured is the scheduler.
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// One line, in one `write`: far shorter than what a pipe takes whole, so a kill cannot cut it.
fn tell(line: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(format!("cannot report to the parent: {error}")))
}
