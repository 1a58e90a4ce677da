//! What the loop would say if something were lost: the same checks, on files that a test has damaged behind vwal's back after
//! the kill. Each must fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lab::{Engine, Lab};
use crate::plan::{Host, Moment, Plan, Work};
use crate::random::Random;
use crate::storage::Case;
use crate::{Claims, KEPT, Truth, examine, keeping, kill_once, ledger, plan};

/// A process that only commits, with everything in the log, killed.
fn killed(lab: &Lab, synchronous: &str) -> Claims {
    let plan = Plan {
        synchronous: synchronous.to_owned(),
        params: "vwal_checkpoint_size=1GiB&vwal_checkpoint_age_ms=0".to_owned(),
        path: lab.path("a.db").to_str().expect("a path of text").to_owned(),
        work: Work::Commits,
        host: Host::Linked,
        ..plan(0)
    };
    let mut claims = Claims::default();
    while claims.acknowledged < 20 {
        let moment = Moment::Working(Duration::from_millis(100));
        claims = kill_once(&plan, claims, &mut Truth::default(), moment, "planted");
    }
    claims
}

/// The segment with the newest frames, and where they end in it.
fn newest_segment(lab: &Lab) -> (PathBuf, usize) {
    let entries = fs::read_dir(lab.wal("a.db")).expect("a log directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let path = paths
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .max_by_key(|path| path.file_stem().map(|stem| stem.to_owned()))
        .expect("a segment");
    let bytes = fs::read(&path).expect("its bytes");
    let end = bytes.iter().rposition(|&byte| byte != 0).expect("frames") + 1;
    (path, end)
}

#[test]
#[should_panic(expected = "planted: acknowledged ")]
fn an_acknowledged_commit_that_is_cut_off_the_log_is_missed() {
    let lab = Lab::new(Engine::Vwal);
    let claims = killed(&lab, "FULL");
    let (path, end) = newest_segment(&lab);
    // More than the one commit that may have been attempted in vain.
    let mut bytes = fs::read(&path).expect("its bytes");
    bytes[end - 60_000..].fill(0);
    fs::write(&path, bytes).expect("the segment is cut");
    examine(&lab, "a.db", claims, None, "planted");
}

#[test]
#[should_panic(expected = "planted: attempted ")]
fn a_commit_that_nobody_attempted_is_noticed() {
    let lab = Lab::new(Engine::Vwal);
    let mut claims = killed(&lab, "FULL");
    (claims.attempted, claims.acknowledged) = (claims.acknowledged - 3, claims.acknowledged - 3);
    examine(&lab, "a.db", claims, None, "planted");
}

#[test]
#[should_panic(expected = "planted: at entry ")]
fn half_a_commit_is_noticed() {
    let lab = Lab::new(Engine::Vwal);
    let claims = killed(&lab, "NORMAL");
    let db = lab.open("a.db");
    // The entry without its cell, as if one page of its commit were missing.
    let last = "(SELECT max(k) FROM ledger)";
    db.execute_batch(&format!("UPDATE cell SET k = k - 40 WHERE k = {last}"))
        .expect("a cell as it was before");
    drop(db);
    examine(&lab, "a.db", claims, None, "planted");
}

#[test]
fn a_row_that_no_commit_left_is_noticed() {
    for change in [
        "DELETE FROM ledger WHERE k = (SELECT max(k) FROM ledger) - 3",
        "UPDATE ledger SET body = x'00' WHERE k = (SELECT max(k) FROM ledger) - 3",
        "UPDATE cell SET filler = x'00' WHERE k = (SELECT max(k) FROM ledger) - 3",
        "DELETE FROM cell WHERE k = (SELECT max(k) FROM ledger) - 3",
    ] {
        let lab = Lab::new(Engine::Vwal);
        let db = lab.open("a.db");
        db.execute_batch(ledger::SCHEMA).expect("tables");
        (0..50).for_each(|_| drop(ledger::commit_next(&db)));
        assert_eq!(ledger::check_all(&db), Ok(50));
        db.execute_batch(change).expect("a change");
        assert!(ledger::check_all(&db).is_err(), "{change}");
    }
}

#[test]
#[should_panic(expected = "planted: restored ")]
fn a_commit_that_is_gone_from_storage_is_missed() {
    let mut random = Random::new(1);
    // Acknowledged when it is in storage.
    let mut case = Case::new(1, &mut random);
    let claims = case.kill_after_commits("planted");
    // A store that loses what it has acknowledged.
    case.remove_newest_bundles(3);
    case.check_latest(claims, "planted");
}

#[test]
fn what_a_failure_leaves_is_kept() {
    let lab = Lab::new(Engine::Vwal);
    fs::create_dir(lab.path("a.db-wal")).unwrap();
    fs::write(lab.path("a.db-wal/segment"), "frames").unwrap();
    let kept =
        Path::new(KEPT).join(lab.path("").file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
    let failure = std::panic::catch_unwind(|| keeping(&lab, || panic!("entry {} is gone", 7)));
    assert!(failure.is_err(), "the failure is no less of one");
    assert_eq!(fs::read_to_string(kept.join("message")).unwrap(), "entry 7 is gone");
    assert_eq!(fs::read_to_string(kept.join("a.db-wal/segment")).unwrap(), "frames");
    fs::remove_dir_all(kept).unwrap();
}
