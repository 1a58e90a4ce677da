//! kill -9 at random moments: nothing acknowledged is lost, nothing is half there.
//!
//! A real child process (this test binary again, or Python with the extension) commits a ledger with several writers while
//! readers, checkpoints, segment swaps, the background checkpointer and (`crash/storage.rs`) the shipper run, and it closes
//! and opens the database again and again, or leaves WAL mode and comes back. It says over a pipe what it attempts and what
//! was acknowledged, and what its readers saw that they must not see. The parent kills it, while it works or while it still
//! recovers what the one before it left, opens the database, and asks:
//!
//! - is the ledger some `k` with acknowledged <= k <= attempted, whole, and the database intact?
//! - does recovering a second time give the same?
//! - does the log go on: the same log id, no frame number below an acknowledged one, and a new commit?
//!
//! One seed is one database, on which [`KILLS`] processes are killed one after the other. The seed does not repeat a failure
//! exactly: the moments depend on the machine.

#[path = "common/campaign.rs"]
mod campaign;
#[path = "crash/child.rs"]
mod child;
#[path = "common/extension.rs"]
mod extension;
#[path = "common/lab.rs"]
mod lab;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/plan.rs"]
mod plan;
#[path = "crash/planted.rs"]
mod planted;
#[path = "common/random.rs"]
mod random;
#[path = "common/spawn.rs"]
mod spawn;
#[path = "crash/storage.rs"]
mod storage;
#[path = "common/text.rs"]
mod text;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campaign::Campaign;
use lab::{Engine, Lab};
use plan::{Host, Moment, Plan, Work};
use random::Random;
use text::{assert_intact, query};

#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    child::run();
}

/// What a child said before it was killed.
#[derive(Clone, Copy, Default, Debug)]
struct Claims {
    /// The highest ledger entry whose commit was begun.
    attempted: u32,
    /// The highest one that was acknowledged.
    acknowledged: u32,
    /// A frame number that belongs to an acknowledged commit of the log.
    frame_no: u64,
    /// The child left WAL mode, so that another log begins.
    left: bool,
    /// The highest ledger entry that was acknowledged as being in storage.
    stored: u32,
}

/// What children said about where commits are in the logs, and what is in storage.
#[derive(Default, Debug)]
struct Truth {
    /// Which ledger entry the commit is that ends with a frame of a log.
    entries: BTreeMap<(String, u64), u32>,
    /// Storage was said to have a log up to this frame.
    durable: BTreeMap<String, u64>,
}

/// Processes that are killed on one database.
const KILLS: u64 = 8;
/// Databases at a time: the processes sleep half of the time.
const THREADS: usize = 3;

#[test]
fn kill_nine_loses_nothing_that_was_acknowledged() {
    let acknowledged = AtomicU32::new(0);
    let campaign = Campaign::new("kill -9", "ledger", 4, 60);
    campaign.run(THREADS, |seed| {
        let mut random = Random::new(seed.wrapping_mul(1000));
        let claims = one_database(&plan(seed), KILLS, &mut random);
        acknowledged.fetch_add(claims.acknowledged, Ordering::Relaxed);
        KILLS
    });
    let acknowledged = acknowledged.into_inner();
    println!("{acknowledged} commits were acknowledged");
    assert!(acknowledged > 0, "the children commit before they are killed");
}

/// Every synchronous level with every one of three page sizes, group commit on and off in turn.
fn plan(seed: u64) -> Plan {
    let page_size = [4096, 512, 65536][(seed / 4 % 3) as usize];
    let group_commit = if (seed / 2 + seed / 12).is_multiple_of(2) { "on" } else { "off" };
    Plan {
        synchronous: ["FULL", "NORMAL", "EXTRA", "OFF"][(seed % 4) as usize].to_owned(),
        page_size,
        params: format!(
            "vwal_swap=frames%3E%3D20&vwal_checkpoint_size={}KiB&vwal_group_commit={group_commit}",
            64.max(page_size / 8)
        ),
        path: String::new(),
        work: Work::All,
        host: Host::Linked,
    }
}

/// Kills children one after the other on one database.
fn one_database(plan: &Plan, kills: u64, random: &mut Random) -> Claims {
    let lab = Lab::new(Engine::Vwal);
    keeping(&lab, || kill_in_turn(&lab, plan, kills, random))
}

/// Where the files of a failure stay.
const KEPT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/crash");

/// Does it; if it fails, the files of `lab` and the message stay in [`KEPT`], each failure in a directory of its own.
fn keeping<T>(lab: &Lab, act: impl FnOnce() -> T) -> T {
    let failure = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => return done,
        Err(failure) => failure,
    };
    let message = failure.downcast_ref::<String>().map(String::as_str);
    let message = message.or(failure.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let from = lab.path(".");
    let name = from.file_name().expect("a directory with a name");
    let to = Path::new(KEPT).join(name.to_string_lossy().trim_start_matches('.'));
    copy_all(&from, &to)
        .and_then(|()| std::fs::write(to.join("message"), message))
        .unwrap_or_else(|error| eprintln!("{}: {error}", to.display()));
    eprintln!("{message}\nIts files are in {}", to.display());
    resume_unwind(failure);
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

fn kill_in_turn(lab: &Lab, plan: &Plan, kills: u64, random: &mut Random) -> Claims {
    let mut plan =
        Plan { path: lab.path("a.db").to_str().expect("a path of text").to_owned(), ..plan.clone() };
    let mut claims = Claims::default();
    let mut log_id = None;
    // WAL mode was left, and nobody has made a log again, as far as is known: what begins in a copy is another one than what
    // will begin in the original.
    let mut is_between_logs = false;
    for kill in 0..kills {
        plan = plan.next(random);
        let moment = Moment::any(random, Duration::from_millis(150));
        let place = format!("kill {kill}, {moment:?}, of {plan:?}");
        claims.left = false;
        claims = kill_once(&plan, claims, &mut Truth::default(), moment, &place);
        // Half of the time a copy is examined, and the next child recovers the database itself. On a busy machine the first
        // child may be killed before it has made a file.
        let is_there = lab.path("a.db").exists();
        assert!(is_there || claims.acknowledged == 0, "{place}: the database file is gone");
        let is_copy = random.below(2) != 0 && is_there;
        let name = if is_copy { format!("copy{kill}.db") } else { "a.db".to_owned() };
        if is_copy {
            lab.copy("a.db", &name);
        }
        if claims.left {
            log_id = None;
        }
        is_between_logs = claims.left || (is_between_logs && matches!(moment, Moment::Opening(_)));
        let found = examine(lab, &name, claims, log_id.as_deref(), &place);
        log_id = if is_between_logs && is_copy { None } else { found.log_id.or(log_id) };
        is_between_logs &= is_copy;
        if !is_copy {
            // The new commit is acknowledged, too.
            claims.attempted = found.k;
            claims.acknowledged = found.k;
        }
    }
    claims
}

/// Starts a child, kills it at that moment, and returns what it claimed. `before` is what earlier children claimed.
fn kill_once(plan: &Plan, before: Claims, truth: &mut Truth, moment: Moment, place: &str) -> Claims {
    let mut process = plan.start();
    let (signal, delay) = match moment {
        Moment::Opening(delay) => ("started", delay),
        Moment::Working(delay) => ("ready", delay),
    };
    let output = process.stdout.take().expect("a pipe from the child");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut claims = before;
        let mut truth = Truth::default();
        let mut complaint = None;
        let mut last = VecDeque::new();
        for line in BufReader::new(output).lines() {
            let line = line.expect("the child's output is text");
            last.push_back(line.clone());
            if last.len() > 20 {
                last.pop_front();
            }
            let words: Vec<&str> = line.split(' ').collect();
            // The last line may be cut short by the kill: a number without its line end counts for nothing, and `lines`
            // cannot tell. So every line ends with a full stop.
            match words.as_slice() {
                [word, "."] if *word == signal => drop(ready.send(())),
                ["attempt", k, "."] => claims.attempted = claims.attempted.max(k.parse().expect("a number")),
                ["acknowledged", k, frame_no, "."] => {
                    claims.acknowledged = claims.acknowledged.max(k.parse().expect("a number"));
                    claims.frame_no = claims.frame_no.max(frame_no.parse().expect("a number"));
                }
                ["leaving", "."] => {
                    claims.left = true;
                    claims.frame_no = 0;
                }
                ["stored", k, "."] => claims.stored = claims.stored.max(k.parse().expect("a number")),
                ["ends", log_id, frame_no, k, "."] => {
                    let commit = ((*log_id).to_owned(), frame_no.parse().expect("a number"));
                    truth.entries.insert(commit, k.parse().expect("a number"));
                }
                ["durable", log_id, frame_no, "."] => {
                    let durable = truth.durable.entry((*log_id).to_owned()).or_default();
                    *durable = frame_no.parse::<u64>().expect("a number").max(*durable);
                }
                ["wrong", ..] => complaint = complaint.or(Some(line)),
                _ => {}
            }
        }
        (claims, truth, complaint, last)
    });
    // The pipe closes when the child ends before it is ready; then the claims below say why.
    let started = is_ready.recv_timeout(Duration::from_secs(60)).is_ok();
    std::thread::sleep(delay);
    let ended_by_itself = process.try_wait().expect("the child can be waited for");
    process.kill().expect("the child is killed");
    process.wait().expect("the child is gone");
    let (claims, mut said, complaint, last) = listener.join().expect("the listener ends");
    assert!(complaint.is_none(), "{place}: the child found: {}; {last:?}", complaint.unwrap_or_default());
    assert!(started, "{place}: the child did not start; {last:?}");
    assert!(ended_by_itself.is_none(), "{place}: the child ended by itself: {ended_by_itself:?}; {last:?}");
    truth.entries.append(&mut said.entries);
    truth.durable.append(&mut said.durable);
    claims
}

struct Found {
    /// The ledger entry that the new commit added.
    k: u32,
    log_id: Option<String>,
}

/// Opens what a kill left, checks it, and commits one more entry.
fn examine(lab: &Lab, name: &str, claims: Claims, log_id: Option<&str>, place: &str) -> Found {
    // With the default size the background checkpointer has nothing to do, so the files hold still for a copy below.
    let db = lab.open_with(name, "").unwrap_or_else(|error| panic!("{place}: {error}"));
    // The last of what a new database needs.
    if query(&db, "SELECT count(*) FROM sqlite_schema WHERE name = 'cell'") == "0" {
        assert_eq!(claims.acknowledged, 0, "{place}: the ledger is gone");
        return Found { k: 0, log_id: None };
    }
    assert_intact(&db, "main");
    let k = ledger::check_all(&db).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
    let Claims { attempted, acknowledged, frame_no, .. } = claims;
    assert!(acknowledged <= k, "{place}: acknowledged {acknowledged}, recovered {k}");
    assert!(k <= attempted, "{place}: attempted {attempted}, recovered {k}");
    let now: u64 = query(&db, "SELECT vwal_frame_no()").parse().expect("a frame number");
    assert!(frame_no <= now, "{place}: frame {frame_no} was acknowledged, the log ends at {now}");
    let id = query(&db, "SELECT vwal_log_id()");
    assert!(log_id.is_none_or(|before| before == id), "{place}: log {log_id:?} became {id}");

    // Recovering what recovery left: the same.
    let again = format!("again-{name}");
    lab.copy(name, &again);
    {
        let second = lab.open_with(&again, "").unwrap_or_else(|error| panic!("{place}, again: {error}"));
        assert_intact(&second, "main");
        assert_eq!(ledger::check_all(&second), Ok(k), "{place}: recovering a second time");
        assert_eq!(query(&second, "SELECT vwal_log_id()"), id, "{place}: recovering a second time");
    }
    // Not worth keeping; what is left goes with the temporary directory.
    std::fs::remove_file(lab.path(&again)).expect("the copy is removed");
    if lab.wal(&again).exists() {
        std::fs::remove_dir_all(lab.wal(&again)).expect("its log is removed");
    }

    ledger::commit_next(&db).unwrap_or_else(|wrong| panic!("{place}: a new commit: {wrong}"));
    assert_eq!(ledger::check_all(&db), Ok(k + 1), "{place}: a new commit");
    let later: u64 = query(&db, "SELECT vwal_frame_no()").parse().expect("a frame number");
    assert!(later > now, "{place}: frame {later} comes after {now}");
    Found { k: k + 1, log_id: Some(id) }
}
