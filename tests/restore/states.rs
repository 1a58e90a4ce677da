//! Every state that was, by frame and by time.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use vwal::format::footer::{FOOTER_SIZE, Footer};
use vwal::restore::{Restore, Restored, Target};
use vwal::storage::Storage;
use vwal::{Error, Result};

use crate::history::{History, State, block_on};
use crate::objects::Objects;

pub fn restore(storage: &Arc<dyn Storage>, target: Target, path: &Path) -> Result<Restored> {
    // The URL is not used: the storage is given.
    let restore = Restore::new(&"memory://unused".parse().unwrap()).target(target);
    block_on(restore.run_from(storage, path, &mut |_| ()))
}

/// The file at `path` is the state, to the byte, with a footer that says so.
pub fn assert_is(path: &Path, history: &History, state: &State) {
    let bytes = fs::read(path).unwrap();
    let (pages, footer) = bytes.split_at(bytes.len() - FOOTER_SIZE);
    assert!(pages == state.image, "frame {} is not what it was", state.commit.frame_no);
    let footer = Footer::decode(footer).unwrap();
    assert_eq!((footer.frame_no, footer.log_id), (state.commit.frame_no, history.log_id));
    assert_eq!((footer.page_size, footer.commit_us), (history.page_size, state.commit.commit_us));
    assert_eq!((footer.db_size_pages, footer.parent), (state.commit.db_size_pages, None));
}

fn assert_intact(path: &Path) {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let said: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

#[test]
fn every_commit_comes_back_byte_for_byte() {
    for seed in 0..6 {
        let history = History::new(seed, 40, 3);
        let objects = Objects::new();
        // Small objects, so that bundles have parts.
        block_on(history.ship(&objects.storage(), seed, 3, if seed % 2 == 0 { 6000 } else { 1 << 20 }));
        let dir = tempfile::tempdir().unwrap();
        for state in &history.states {
            let path = dir.path().join(format!("{}.db", state.commit.frame_no));
            let restored = restore(&objects.storage(), Target::Frame(state.commit.frame_no), &path).unwrap();
            assert_eq!(restored.resolved.commit, state.commit);
            assert_eq!(restored.bytes, state.image.len() as u64);
            assert_is(&path, &history, state);
            assert_intact(&path);
        }
        let path = dir.path().join("latest.db");
        restore(&objects.storage(), Target::Latest, &path).unwrap();
        assert_is(&path, &history, history.states.last().unwrap());
    }
}

#[test]
fn a_time_means_the_newest_commit_that_was_made_by_then() {
    let history = History::new(77, 40, 0);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), 77, 3, 1 << 20));
    let dir = tempfile::tempdir().unwrap();
    let times = history.states.iter().flat_map(|state| {
        let time_us = state.commit.commit_us;
        [time_us - 1, time_us, time_us + 1]
    });
    for (number, time_us) in times.enumerate() {
        let path = dir.path().join(format!("{number}.db"));
        match (restore(&objects.storage(), Target::Time(time_us), &path), history.at_time(time_us)) {
            (Ok(_), Some(state)) => assert_is(&path, &history, state),
            (Err(Error::NotRestorable { .. }), None) => assert!(!path.exists()),
            (result, state) => panic!("{result:?} for {:?}", state.map(|state| state.commit)),
        }
    }
}

#[test]
fn what_was_merged_away_is_said_and_a_time_takes_what_is_left() {
    let history = History::new(5, 30, 0);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), 5, 3, 1 << 20));
    // Level 0 has expired, but for its newest bundle and the base; so have the snapshots.
    let newest = objects.all().keys().find(|key| key.contains("/0/")).unwrap().clone();
    let base = objects.all().keys().rfind(|key| key.contains("/0/")).unwrap().clone();
    objects.all().retain(|key, _| {
        (!key.contains("/0/") && !key.contains("snapshot")) || *key == newest || *key == base
    });
    let dir = tempfile::tempdir().unwrap();
    let mut merged = 0;
    for (number, state) in history.states.iter().enumerate() {
        let path = dir.path().join(format!("{number}.db"));
        match restore(&objects.storage(), Target::Frame(state.commit.frame_no), &path) {
            Ok(_) => assert_is(&path, &history, state),
            Err(Error::NotRestorable { what, .. }) if what.contains("merged") => {
                merged += 1;
                let nearest: Vec<u64> =
                    what.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
                let before = *nearest.iter().rev().nth(1).unwrap();
                let path = dir.path().join(format!("{number}-nearest.db"));
                restore(&objects.storage(), Target::Frame(before), &path).unwrap();
                let is_it = |state: &&State| state.commit.frame_no == before;
                assert_is(&path, &history, history.states.iter().find(is_it).unwrap());
            }
            // The end of level 0 that no merge has yet.
            Err(Error::DamagedObject { what, .. }) => assert!(what.contains("missing"), "{what}"),
            Err(error) => panic!("{error}"),
        }
        let time_us = state.commit.commit_us;
        let path = dir.path().join(format!("{number}-time.db"));
        if let Ok(restored) = restore(&objects.storage(), Target::Time(time_us), &path) {
            let meant = history.at_time(time_us).unwrap().commit.frame_no;
            let got = restored.resolved.commit.frame_no;
            assert!(
                got <= meant
                    && (got == meant || restored.resolved.notes.iter().any(|note| note.contains("merged")))
            );
        }
    }
    assert!(merged > 5, "{merged}");
}

#[test]
fn what_is_no_commit_is_refused_with_its_neighbours() {
    let history = History::new(9, 12, 100);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), 9, 4, 1 << 20));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    let ends: Vec<u64> = history.states.iter().map(|state| state.commit.frame_no).collect();
    let mut between = 0;
    for pair in ends.windows(2) {
        for frame_no in pair[0] + 1..pair[1] {
            let error = restore(&objects.storage(), Target::Frame(frame_no), &path).unwrap_err();
            let Error::NotRestorable { what, .. } = &error else { panic!("{error}") };
            assert!(what.contains(&pair[0].to_string()) && what.contains(&pair[1].to_string()), "{what}");
            between += 1;
        }
    }
    assert!(between > 0);
    for (frame_no, words) in [(ends[0] - 1, "earliest"), (ends[ends.len() - 1] + 1, "ends at")] {
        let error = restore(&objects.storage(), Target::Frame(frame_no), &path).unwrap_err();
        assert!(matches!(&error, Error::NotRestorable { what, .. } if what.contains(words)), "{error}");
    }
    let error = restore(&Objects::new().storage(), Target::Latest, &path).unwrap_err();
    assert!(matches!(error, Error::NothingThere { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn more_bundles_than_are_merged_at_a_time_come_together() {
    let history = History::new(21, 150, 0);
    let objects = Objects::new();
    let storage = objects.storage();
    block_on(async {
        history
            .put(&storage, vwal::Level::ZERO, vwal::format::bundle::Content::FullImage, 0, 0, 1 << 20)
            .await;
        for at in 1..history.states.len() {
            let content = vwal::format::bundle::Content::EveryFrame;
            history.put(&storage, vwal::Level::ZERO, content, at, at, 1 << 20).await;
        }
    });
    let dir = tempfile::tempdir().unwrap();
    for at in [63, 64, 65, 127, 128, 149] {
        let path = dir.path().join(format!("{at}.db"));
        restore(&storage, Target::Frame(history.states[at].commit.frame_no), &path).unwrap();
        assert_is(&path, &history, &history.states[at]);
    }
}
