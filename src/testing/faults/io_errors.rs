//! Operations that fail: what SQLite is told, what survives, and how it goes on.

use std::path::Path;

use libc::{EIO, ENOSPC};

use super::rig::{BASE, Content, History, Rig};
use super::workload::{FULL, NORMAL, Step, Workload};
use crate::error::{Error, FileOp};
use crate::io::SyncSite;
use crate::testing::io::{Fault, Kind};

fn history(commits: &[(u32, &[u32], u32)]) -> History {
    let mut history = History::from([(0, Content::first())]);
    for &(k, pages, size) in commits {
        let next = history[&(k - 1)].after(k, pages, size);
        history.insert(k, next);
    }
    history
}

#[test]
fn a_full_disk_rolls_a_commit_back_and_readers_and_later_commits_go_on() {
    for (fault, what) in [
        (Fault::on(Kind::Write, ENOSPC).at(".seg"), "nothing is written"),
        (Fault { part: 512, ..Fault::on(Kind::Write, ENOSPC).at(".seg") }, "a sector is written"),
        (Fault { part: 1500, ..Fault::on(Kind::Write, ENOSPC).at(".seg") }, "most is written"),
        (Fault::on(Kind::Write, ENOSPC).at(".seg").after(1), "only the head of a new segment"),
        (Fault::on(Kind::Open, ENOSPC).at(".seg"), "no new segment"),
    ] {
        for before in [0, 1, 6, 7] {
            let rig = Rig::new();
            let db = rig.open().unwrap();
            let mut history = history(&[(1, &[1, 2], 2)]);
            let mut k = 1;
            db.commit(1, &[1, 2], 2, true).unwrap();
            for _ in 0..before {
                k += 1;
                history.insert(k, history[&(k - 1)].after(k, &[2], 2));
                db.commit(k, &[2], 2, true).unwrap();
            }
            let published = db.log().published_frame_no();
            rig.io.fail(fault);
            let failed = db.commit(900, &[2, 1, 3], 3, true);
            rig.io.heal();
            match failed {
                Err(Error::Full { .. }) => {}
                // No segment was begun, so there was nothing to fail.
                Ok(()) if fault.on == Kind::Open || fault.after == 1 => continue,
                other => panic!("{what}: {other:?}"),
            }
            assert_eq!(db.log().published_frame_no(), published, "{what}");
            assert_eq!(db.wal_page(published as u32).unwrap(), super::rig::page(2, k), "{what}");
            assert!(db.wal_page(published as u32 + 1).unwrap().is_empty(), "{what}: it left a frame");
            history.insert(k + 1, history[&k].after(k + 1, &[2, 3], 3));
            db.commit(k + 1, &[2, 3], 3, true).unwrap();
            drop(db);
            assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, k + 1, "{what}");
        }
    }
}

#[test]
fn a_full_disk_in_the_middle_of_a_transaction_that_is_larger_than_the_buffer() {
    let rig = Rig::new();
    let db = rig.open().unwrap();
    db.commit(1, &[1, 2], 2, true).unwrap();
    let pages: Vec<u32> = (1..=4000).collect();
    for after in 0..3 {
        rig.io.fail(Fault { part: 70_000, ..Fault::on(Kind::Write, ENOSPC).at(".seg").after(after) });
        assert!(
            matches!(db.commit(900, &pages, 4000, true), Err(Error::Full { .. })),
            "after {after} writes"
        );
        rig.io.heal();
        assert_eq!(db.log().published_frame_no(), 2);
    }
    db.commit(2, &pages, 4000, true).unwrap();
    drop(db);
    let mut history = history(&[(1, &[1, 2], 2)]);
    history.insert(2, history[&1].after(2, &pages, 4000));
    assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 2);
}

#[test]
fn after_a_failed_fsync_of_a_segment_or_its_name_nothing_is_accepted_until_the_log_is_opened_again() {
    for group_commit in ["on", "off"] {
        for fault in [Fault::on(Kind::Sync, EIO).at(".seg"), Fault::on(Kind::SyncDir, EIO).at("-wal")] {
            let rig = Rig::new().with("vwal_group_commit", group_commit);
            let history = history(&[(1, &[1, 2], 2), (2, &[2], 2), (3, &[2, 1], 2)]);
            let db = rig.open().unwrap();
            rig.io.fail(fault.once());
            let error = db.commit(1, &[1, 2], 2, true).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
            for error in [
                db.commit(2, &[2], 2, true).unwrap_err(),
                db.commit(2, &[2], 2, false).unwrap_err(),
                db.log()
                    .durability()
                    .sync_to(db.log().published_frame_no(), SyncSite::UnaskedFrames)
                    .err()
                    .unwrap_or(Error::Forked),
                db.pass().unwrap_err(),
                db.log().writer().seal_segments().unwrap_err(),
            ] {
                assert!(matches!(error, Error::Poisoned { .. }), "{error}");
            }
            assert!(db.log().last_error().is_some());
            let seen = db.view().unwrap();
            assert!(seen == history[&0].bytes() || seen == history[&1].bytes(), "readers go on");
            drop(db);
            let (db, k) = rig.open_and_check(&history).unwrap();
            assert!(k <= 1);
            // What recovery found becomes durable, though the fsync that failed took it for clean.
            db.log().durability().sync_to(db.log().published_frame_no(), SyncSite::UnaskedFrames).unwrap();
            assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, k);
            db.commit(k + 1, history_pages(k + 1), 2, true).unwrap();
            drop(db);
            assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, k + 1);
        }
    }
}

fn history_pages(k: u32) -> &'static [u32] {
    match k {
        1 => &[1, 2],
        2 => &[2],
        _ => &[2, 1],
    }
}

#[test]
fn a_pass_that_fails_loses_nothing_and_can_be_repeated() {
    for error in [EIO, ENOSPC] {
        for (kind, path) in
            [(Kind::Write, "app.db"), (Kind::SetLen, "app.db"), (Kind::Write, "meta"), (Kind::Read, ".seg")]
        {
            for after in 0..8 {
                let rig = Rig::new();
                let mut history =
                    history(&[(1, &[1, 2, 3], 3), (2, &[2, 9, 4, 5, 6, 7, 8], 9), (3, &[2, 1], 4)]);
                let db = rig.open().unwrap();
                for (k, size) in [(1, 3), (2, 9), (3, 4)] {
                    let pages: &[u32] = match k {
                        1 => &[1, 2, 3],
                        2 => &[2, 9, 4, 5, 6, 7, 8],
                        _ => &[2, 1],
                    };
                    db.commit(k, pages, size, true).unwrap();
                }
                rig.io.fail(Fault::on(kind, error).at(path).after(after));
                let place = format!("{kind:?} of {path}, error {error}, after {after}");
                let failed = db.pass();
                rig.io.heal();
                let Err(failed) = failed else { break };
                let is_full = matches!(failed, Error::Full { .. });
                assert_eq!(is_full, error == ENOSPC, "{place}: {failed}");
                assert_eq!(db.log().checkpointed_frame_no(), 0, "{place}");
                assert_eq!(db.check(&history), Ok(3), "{place}");
                assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 3, "{place}");

                history.insert(4, history[&3].after(4, &[2, 5], 5));
                db.commit(4, &[2, 5], 5, true).unwrap();
                let done = db.pass().unwrap_or_else(|error| panic!("{place}, again: {error}"));
                assert_eq!(done, db.log().published_frame_no(), "{place}");
                let base = rig.io.live().read(Path::new(BASE)).unwrap().to_vec();
                assert!(base.starts_with(&history[&4].bytes()), "{place}");
                drop(db);
                assert_eq!(rig.crash_hard().open_and_check(&history).unwrap().1, 4, "{place}");
                assert!(after < 7, "{place}: there are more operations than this test tries");
            }
        }
    }
}

#[test]
fn a_segment_that_cannot_be_read_gives_an_error_and_never_another_page() {
    let rig = Rig::new();
    let history = history(&[(1, &[1, 2, 3], 3), (2, &[2], 3)]);
    let db = rig.open().unwrap();
    db.commit(1, &[1, 2, 3], 3, true).unwrap();
    db.commit(2, &[2], 3, true).unwrap();
    db.backfill(4);
    rig.io.fail(Fault::on(Kind::Read, EIO).at(".seg"));
    assert!(matches!(db.view().unwrap_err(), Error::Io { op: FileOp::Read, .. }));
    assert!(matches!(db.wal_page(1).unwrap_err(), Error::Io { op: FileOp::Read, .. }));
    rig.io.heal();
    assert_eq!(db.check(&history), Ok(2), "it is not poisoned by that");
    db.commit(3, &[2], 3, true).unwrap();
}

/// The workloads of the power-loss sweep, with each operation of each kind failing, once or from then on.
#[test]
fn any_operation_may_fail_and_nothing_acknowledged_is_lost() {
    let mut runs = 0;
    for (label, steps) in [("full", FULL), ("normal", NORMAL)] {
        for kind in Kind::ALL {
            for (error, times) in [(EIO, 1), (EIO, usize::MAX), (ENOSPC, 3)] {
                let mut after = 0;
                loop {
                    let place = format!("{label}: {kind:?} fails {times} times with {error} after {after}");
                    if !fail_one(steps, Fault { times, ..Fault::on(kind, error).after(after) }, &place) {
                        break;
                    }
                    runs += 1;
                    after += 1;
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs > 500, "only {runs} runs");
}

/// Run steps with a fault. False: nothing failed.
fn fail_one(steps: &[Step], fault: Fault, place: &str) -> bool {
    let rig = Rig::new();
    rig.io.fail(fault);
    let mut workload = Workload::new(&rig);
    let mut failed = false;
    for &step in steps {
        failed |= workload.step(step).is_err();
    }
    let (acknowledged, attempted) = (workload.acknowledged, workload.attempted);
    let check = |k: u32, what: &str| {
        assert!(
            acknowledged <= k && k <= attempted,
            "{place}, {what}: acknowledged {acknowledged}, found {k}, attempted {attempted}"
        );
    };
    let history = workload.history;
    drop(workload.db);
    rig.io.heal();
    // The power goes.
    let (_, k) = rig.crash_hard().open_and_check(&history).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
    check(k, "after a crash");
    // Or the process ends, and the next one sees what is in the page cache; then the power goes.
    let (db, k) = rig.open_and_check(&history).unwrap_or_else(|wrong| panic!("{place}, opened: {wrong}"));
    check(k, "opened again");
    let after = |what: &str| {
        let crashed = rig.crash_hard().open_and_check(&history);
        crashed.unwrap_or_else(|wrong| panic!("{place}, {what} and a crash: {wrong}")).1
    };
    check(after("opened again"), "opened again and a crash");
    db.log().writer().seal_segments().unwrap_or_else(|error| panic!("{place}, sealing: {error}"));
    assert_eq!(after("opened again, sealed"), k, "{place}, sealed and a crash");
    db.pass().unwrap_or_else(|error| panic!("{place}, a pass: {error}"));
    assert_eq!(after("opened again, a pass"), k, "{place}, a pass and a crash");
    failed
}
