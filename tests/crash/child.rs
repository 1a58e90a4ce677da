//! The child process that is killed: writers, readers, checkpoints, and a database that is closed and opened in between.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::lab::Engine;
use crate::ledger;
use crate::plan::{Plan, VARIABLE, Work};
use crate::random::Random;
use crate::text;

const WRITERS: u64 = 4;
const READERS: u64 = 2;

impl Plan {
    fn open(&self) -> Connection {
        let until = Instant::now() + Duration::from_secs(30);
        let db = loop {
            match Engine::Vwal.open(Path::new(&self.path), &self.params) {
                Ok(db) => break db,
                // On the way back into WAL mode the connection that opens first needs a lock that another one, which is
                // about to close, may hold; and there is no busy handler yet.
                Err(error)
                    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                        && Instant::now() < until =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => wrong(&format!("open: {error}")),
            }
        };
        check(db.busy_timeout(Duration::from_secs(30)).map_err(|error| error.to_string()));
        // Small enough to spill.
        check(sql(
            &db,
            &format!(
                "PRAGMA synchronous={}; PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=50",
                self.synchronous
            ),
        ));
        db
    }
}

/// A line to the parent. It ends with a full stop, so that a line that was cut short is recognized.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent is gone when this fails, and so is the point of this process.
    if out.write_all(format!("{line} .\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Tells the parent that something is wrong, and waits to be killed.
fn wrong(what: &str) -> ! {
    say(&format!("\nwrong {}", what.replace('\n', " ")));
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn check<T>(outcome: Result<T, String>) -> T {
    outcome.unwrap_or_else(|error| wrong(&error))
}

fn sql(db: &Connection, sql: &str) -> Result<String, String> {
    let result = text::run(db, sql);
    if result.contains('!') { Err(format!("{sql}: {result}")) } else { Ok(result.trim_end().to_owned()) }
}

fn number(db: &Connection, query: &str) -> u64 {
    check(sql(db, query).and_then(|text| text.parse().map_err(|_| format!("{query}: {text}"))))
}

/// Runs until it is killed.
pub fn run() {
    let text = std::env::var(VARIABLE).expect("the parent gives a plan");
    let plan = Plan::from_text(&text).expect("the plan is whole");
    let acknowledged = AtomicU32::new(0);
    let mut random = Random::new(u64::from(std::process::id()));
    say("\nstarted");
    {
        let db = plan.open();
        check(sql(&db, &format!("PRAGMA page_size={}", plan.page_size)));
        check(sql(&db, ledger::SCHEMA));
        acknowledged.store(check(ledger::check_all(&db)), Ordering::SeqCst);
    }
    say("ready");
    loop {
        match plan.work {
            Work::Closing => {
                few_commits(&plan.open(), &plan, &acknowledged, 1 + random.below(3));
                continue;
            }
            Work::Adopting => {
                leave_and_return(&plan, &acknowledged, true);
                few_commits(&plan.open(), &plan, &acknowledged, random.below(3));
                continue;
            }
            Work::Commits => {
                few_commits(&plan.open(), &plan, &acknowledged, u64::MAX);
                continue;
            }
            Work::All => {}
        }
        match random.below(8) {
            // With storage, a database that grew outside of the log has to be told to take its own place.
            0 if !plan.has_storage() => leave_and_return(&plan, &acknowledged, random.below(2) == 0),
            1 => drop(check(sql(&plan.open(), "VACUUM"))),
            _ => {}
        }
        // All connections are closed and opened again every now and then, so kills hit that too.
        let until = Instant::now() + Duration::from_millis(5 + random.below(60));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let mut random = Random::new(random.next());
                let (plan, acknowledged, stop) = (&plan, &acknowledged, &stop);
                scope.spawn(move || write(plan, writer, acknowledged, stop, &mut random));
            }
            for _ in 0..READERS {
                let (plan, acknowledged, stop) = (&plan, &acknowledged, &stop);
                let mut random = Random::new(random.next());
                scope.spawn(move || read(plan, acknowledged, stop, &mut random));
            }
            let mut random = Random::new(random.next());
            let (plan, stop) = (&plan, &stop);
            scope.spawn(move || checkpoint(plan, stop, &mut random));
            while Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            stop.store(true, Ordering::SeqCst);
        });
    }
}

/// Out of WAL mode, a commit there, and back. `adopted`: stock SQLite makes a WAL of its own meanwhile, with commits that
/// the database file lacks.
fn leave_and_return(plan: &Plan, acknowledged: &AtomicU32, adopted: bool) {
    let db = plan.open();
    say("leaving");
    let mode = check(sql(&db, "PRAGMA journal_mode=DELETE"));
    if mode != "delete" {
        wrong(&format!("journal_mode=DELETE answers {mode}"));
    }
    outside(&db, acknowledged);
    if adopted {
        drop(db);
        let stock = check(Engine::Stock.open(Path::new(&plan.path), "").map_err(|error| error.to_string()));
        let mode =
            check(sql(&stock, &format!("PRAGMA synchronous={}; PRAGMA journal_mode=WAL", plan.synchronous)));
        if mode != "wal" {
            wrong(&format!("stock SQLite answers {mode}"));
        }
        let kept = stock.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        check(kept.map_err(|error| error.to_string()));
        (0..3).for_each(|_| outside(&stock, acknowledged));
        drop(stock);
        // Adopted here.
        drop(plan.open());
        return;
    }
    let mode = check(sql(&db, "PRAGMA journal_mode=WAL"));
    if mode != "wal" {
        wrong(&format!("journal_mode=WAL answers {mode}"));
    }
}

/// A commit that is in no log of vwal.
fn outside(db: &Connection, acknowledged: &AtomicU32) {
    check(sql(db, "BEGIN IMMEDIATE"));
    let k = check(ledger::write_next(db));
    say(&format!("attempt {k}"));
    check(sql(db, "COMMIT"));
    acknowledged.fetch_max(k, Ordering::SeqCst);
    say(&format!("acknowledged {k} 0"));
}

/// Commits of one connection.
fn few_commits(db: &Connection, plan: &Plan, acknowledged: &AtomicU32, count: u64) {
    for _ in 0..count {
        check(sql(db, "BEGIN IMMEDIATE"));
        commit(db, plan, acknowledged);
    }
}

fn write(plan: &Plan, writer: u64, acknowledged: &AtomicU32, stop: &AtomicBool, random: &mut Random) {
    let db = plan.open();
    while !stop.load(Ordering::SeqCst) {
        check(sql(&db, "BEGIN IMMEDIATE"));
        match random.below(12) {
            // Never committed.
            0 => {
                check(sql(&db, "INSERT INTO ledger VALUES (1000000000, 'never', zeroblob(60000))"));
                check(sql(&db, "UPDATE cell SET k = 0; ROLLBACK"));
                continue;
            }
            // Committed, but for a part that spills and is taken back.
            1..3 => {
                check(sql(
                    &db,
                    "SAVEPOINT s; INSERT INTO ledger VALUES (1000000000, 'never', zeroblob(60000))",
                ));
                check(sql(&db, "UPDATE cell SET k = 0, filler = zeroblob(3000); ROLLBACK TO s; RELEASE s"));
            }
            _ => {}
        }
        commit(&db, plan, acknowledged);
        if writer > 0 && random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(2000)));
        }
    }
}

/// The next entry, in the write transaction that is open, and what is promised of it.
fn commit(db: &Connection, plan: &Plan, acknowledged: &AtomicU32) {
    let base = number(db, "SELECT vwal_frame_no()");
    let k = check(ledger::write_next(db));
    let log_id = check(sql(db, "SELECT vwal_log_id()"));
    if plan.has_storage() {
        // Nobody else commits now: the log ends with the commit before this one.
        say(&format!("ends {log_id} {base} {}", k - 1));
    }
    say(&format!("attempt {k}"));
    check(sql(db, "COMMIT"));
    let durable = number(db, "SELECT vwal_durable_frame_no()");
    if plan.has_storage() {
        say(&format!("durable {log_id} {durable}"));
    }
    let is_promised = match plan.has_storage() {
        true => plan.is_remote(),
        false => matches!(plan.synchronous.as_str(), "FULL" | "EXTRA"),
    };
    if is_promised && durable <= base {
        wrong(&format!("entry {k} was acknowledged with frame {durable} durable, after frame {base}"));
    }
    if plan.is_remote() {
        say(&format!("stored {k}"));
    }
    acknowledged.fetch_max(k, Ordering::SeqCst);
    // The frames before this transaction are those of acknowledged commits; this one has at least one more.
    say(&format!("acknowledged {k} {}", base + 1));
}

fn read(plan: &Plan, acknowledged: &AtomicU32, stop: &AtomicBool, random: &mut Random) {
    let db = plan.open();
    let mut last = 0;
    while !stop.load(Ordering::SeqCst) {
        let floor = acknowledged.load(Ordering::SeqCst);
        let pause = Duration::from_micros(random.below(3000));
        check(sql(&db, "BEGIN"));
        let k = check(ledger::check_quickly(&db, || std::thread::sleep(pause)));
        check(sql(&db, "COMMIT"));
        if k < floor || k < last {
            wrong(&format!(
                "a read transaction saw entry {k}, after {floor} was acknowledged and {last} was seen"
            ));
        }
        last = k;
    }
}

fn checkpoint(plan: &Plan, stop: &AtomicBool, random: &mut Random) {
    let db = plan.open();
    // A checkpoint that waits for readers must not stop the others for long.
    check(db.busy_timeout(Duration::from_millis(5)).map_err(|error| error.to_string()));
    while !stop.load(Ordering::SeqCst) {
        let statement = *random.pick(&[
            "PRAGMA wal_checkpoint(PASSIVE)",
            "PRAGMA wal_checkpoint(FULL)",
            "PRAGMA wal_checkpoint(RESTART)",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "SELECT vwal_sync()",
            "SELECT vwal_checkpoint()",
        ]);
        let result = text::run(&db, statement);
        // Readers and writers may be in the way.
        if result.contains('!') && !result.starts_with("!5: ") {
            wrong(&format!("{statement}: {result}"));
        }
        std::thread::sleep(Duration::from_micros(random.below(8000)));
    }
}
