//! A log that was closed, and whoever opens it without writing anything.

use std::path::Path;

use super::{meta_of, walk};
use crate::io::SyncSite;
use crate::testing::faults::rig::{BASE, Content, Db, History, Rig, in_dir};
use crate::testing::io::{Disks, Fate, Kind, TestIo, splitmix};
use crate::wal::LockKind;

/// The last connection closes, after a `wal_checkpoint(TRUNCATE)`.
fn close(db: Db) {
    db.truncate().unwrap();
    db.writer.close_wal();
    db.log().writer().shrink_spares();
    db.log().release_lock(true);
}

fn fsyncs(io: &TestIo) -> usize {
    io.tried(Kind::Sync) + io.tried(Kind::SyncDir)
}

#[test]
fn a_session_that_writes_nothing_makes_no_fsync_and_leaves_every_file_as_it_was() {
    let rig = Rig::new();
    let (db, history) = rig.open_with_commits(9, true);
    close(db);
    let (before, fsyncs_before) = (rig.io.live(), fsyncs(&rig.io));
    for _ in 0..2 {
        let (db, k) = rig.open_and_check(&history).unwrap();
        assert_eq!(k, 9);
        db.writer.close_wal();
        db.log().release_lock(true);
    }
    assert_eq!(fsyncs(&rig.io), fsyncs_before);
    let after = rig.io.live();
    assert!(!after.names.contains_key(&in_dir("shm")), "the shared memory of a closed log");
    let bytes = |image: &crate::testing::io::Image, path: &Path| image.read(path).map(<[u8]>::to_vec);
    assert!(before.names.keys().eq(after.names.keys()));
    for path in before.names.keys() {
        assert_eq!(bytes(&before, path), bytes(&after, path), "{}", path.display());
    }
}

#[test]
fn the_first_transaction_after_it_makes_the_names_durable_before_it_takes_a_spare() {
    let rig = Rig::new();
    let (db, mut history) = rig.open_with_commits(9, true);
    close(db);
    let db = rig.open().unwrap();
    let before = rig.io.tried(Kind::SyncDir);
    db.commit_next(&mut history, 10, false);
    assert_eq!(rig.io.tried(Kind::SyncDir), before + 1);
    db.commit_next(&mut history, 11, false);
    assert_eq!(rig.io.tried(Kind::SyncDir), before + 1, "once is enough");
}

/// What the disk may hold before each operation that `act` makes.
fn moments(io: &TestIo, act: impl FnOnce()) -> Vec<Disks> {
    let from = io.trace().len();
    act();
    let (mut moments, mut at) = (Vec::new(), 0);
    walk(io, |disks, _, _| {
        at += 1;
        if at > from {
            moments.push(disks.clone());
        }
    });
    moments
}

/// A process was killed, and left one of these. The next one does something, and the power fails. Panics, or says what is wrong then, unless
/// the database is there with a commit that `is_right`, and nobody speaks of damage.
fn go_on(
    killed: Vec<Disks>,
    skipped: Option<SyncSite>,
    history: &History,
    next: impl Fn(&Db, &mut History),
    is_right: impl Fn(u32) -> bool,
) -> Result<(), String> {
    for (at, disks) in killed.into_iter().enumerate() {
        let wrong = |wrong: String| format!("killed at {at}: {wrong}");
        let mut rig = Rig::after(disks);
        if let Some(site) = skipped {
            rig = rig.without(site);
        }
        let db = rig.open().map_err(|error| wrong(error.to_string()))?;
        let mut history = history.clone();
        next(&db, &mut history);
        let mut random = at as u64;
        for _ in 0..40 {
            let fates = splitmix(&mut random);
            let fate = |unit: usize| if fates >> (unit % 64) & 1 == 0 { Fate::Kept } else { Fate::Lost };
            let (db, k) = Rig::from(rig.io.disks().crash(fate)).open_and_check(&history).map_err(wrong)?;
            if let Some(said) = db.log().last_error() {
                return Err(wrong(said));
            }
            if !is_right(k) {
                return Err(wrong(format!("commit {k} is the last one")));
            }
        }
    }
    Ok(())
}

/// As many commits as make a segment larger than the spare that a close leaves.
const MANY: u32 = 27;

/// Commits in segments that are sealed, and what a kill at any moment of the last close leaves.
fn killed_while_closing() -> (Vec<Disks>, History) {
    let rig = Rig::new().with("vwal_swap", "frames>=25");
    let (db, history) = rig.open_with_commits(MANY, true);
    db.log().writer().seal_segments().unwrap();
    (moments(&rig.io, || close(db)), history)
}

fn commit_unasked(db: &Db, history: &mut History) {
    let last = *history.keys().next_back().unwrap();
    db.commit_next(history, last + 1, false);
}

#[test]
fn a_kill_while_a_log_is_closed_leaves_nothing_that_the_next_process_could_spoil() {
    let (killed, history) = killed_while_closing();
    assert_eq!(go_on(killed, None, &history, commit_unasked, |k| k >= MANY), Ok(()));
}

#[test]
fn without_the_fsync_of_names_at_rest_it_does() {
    let (killed, history) = killed_while_closing();
    let wrong = go_on(killed, Some(SyncSite::NamesAtRest), &history, commit_unasked, |k| k >= MANY);
    assert!(wrong.is_err(), "a spare under its old name is not found");
}

#[test]
fn nor_does_a_process_spoil_it_that_only_closes_it() {
    let (killed, history) = killed_while_closing();
    let only_close = |db: &Db, _: &mut History| {
        db.log().writer().shrink_spares();
        db.log().release_lock(true);
    };
    assert_eq!(go_on(killed, None, &history, only_close, |k| k == MANY), Ok(()));
}

/// Segments are freed while later ones are still needed, and a process is killed at any moment of that.
fn killed_while_freeing() -> (Vec<Disks>, History) {
    let rig = Rig::new().with("vwal_swap", "frames>=3");
    let (db, mut history) = rig.open_with_commits(6, true);
    db.backfill(6);
    assert!(db.writer.lock(0, 1, LockKind::Exclusive));
    db.restart().unwrap();
    db.roll_back();
    (7..=9).for_each(|k| db.commit_next(&mut history, k, true));
    let free = || assert!(db.log().checkpointer().checkpoint().is_ok());
    (moments(&rig.io, free), history)
}

#[test]
fn a_kill_while_segments_are_freed_leaves_nothing_that_the_next_process_could_spoil() {
    let (killed, history) = killed_while_freeing();
    assert_eq!(go_on(killed, None, &history, commit_unasked, |k| k >= 9), Ok(()));
}

/// The base file of a log at rest is replaced, and a process is killed at any moment in which it begins a log for the new one.
fn killed_while_it_begins_anew() -> (Vec<Disks>, History) {
    let rig = Rig::new();
    let (db, history) = rig.open_with_commits(3, true);
    close(db);
    let mut image = rig.io.live();
    image.put(Path::new(BASE), Content::first().bytes());
    let rig = Rig::from(image);
    let killed = moments(&rig.io, || drop(rig.open().unwrap()));
    (killed, History::from([(0, history[&0].clone())]))
}

fn commit_full(db: &Db, history: &mut History) {
    db.commit_next(history, 1, true);
}

#[test]
fn a_kill_while_a_log_takes_the_place_of_another_one_loses_nothing_later() {
    let (killed, history) = killed_while_it_begins_anew();
    assert_eq!(go_on(killed, None, &history, commit_full, |k| k == 1), Ok(()));
}

#[test]
fn without_the_fsync_of_metadata_at_rest_it_does() {
    let (killed, history) = killed_while_it_begins_anew();
    let wrong = go_on(killed, Some(SyncSite::MetaAtRest), &history, commit_full, |k| k == 1);
    assert!(wrong.is_err(), "the metadata of the log before does not come back");
}

#[test]
fn metadata_that_was_made_of_the_footer_is_written_before_anything_relies_on_it() {
    let rig = Rig::new();
    let (db, mut history) = rig.open_with_commits(9, true);
    close(db);
    // The slot that says that the last pass was completed. What is left says that it had begun.
    let mut image = rig.io.live();
    let mut meta = image.read(&in_dir("meta")).unwrap().to_vec();
    let newest = meta_of(&image).unwrap();
    meta[newest.slot_offset() as usize + 20] ^= 1;
    image.put(&in_dir("meta"), meta);
    assert!(meta_of(&image).unwrap().has_intent());
    let rig = Rig::from(image);
    let db = rig.open().unwrap();
    // The second one says that the first one is durable.
    (10..=11).for_each(|k| db.commit_next(&mut history, k, true));
    drop(db);
    let (_, k) = Rig::from(rig.io.live()).open_and_check(&history).unwrap();
    assert_eq!(k, 11);
}
