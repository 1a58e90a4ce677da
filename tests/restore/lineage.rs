//! Logs that follow each other.

use std::sync::Arc;

use vwal::format::bundle::{Content, Summary};
use vwal::restore::{Restore, Target};
use vwal::storage::Storage;
use vwal::storage::bundles::BundleWriter;
use vwal::{Error, Level, LogId};

use crate::history::{History, block_on};
use crate::objects::Objects;
use crate::states::{assert_is, restore};

/// End the log of `history` in favour of `successor`.
async fn terminate(storage: &Arc<dyn Storage>, history: &History, successor: LogId) {
    let end = history.states.last().unwrap().commit;
    let summary = Summary {
        log_id: history.log_id,
        level: Level::ZERO,
        content: Content::Terminator { successor },
        start_frame_no: end.frame_no + 1,
        end_frame_no: end.frame_no,
        db_size_pages: end.db_size_pages,
        nonce: 5,
    };
    BundleWriter::new(storage, summary, history.page_size).finish().await.unwrap();
}

fn two() -> (History, History) {
    let old = History::new(31, 10, 0);
    let mut new = History::new(32, 10, 500);
    let later = old.states.iter().map(|state| state.commit.commit_us).max().unwrap() - 1_699_999_999_000_000;
    for state in &mut new.states {
        state.commit.commit_us += later;
    }
    (old, new)
}

#[test]
fn the_newest_log_is_restored_and_a_time_reaches_back() {
    let (old, new) = two();
    let objects = Objects::new();
    let storage = objects.storage();
    block_on(async {
        old.ship(&storage, 1, 3, 1 << 20).await;
        terminate(&storage, &old, new.log_id).await;
    });
    let dir = tempfile::tempdir().unwrap();
    // The successor has nothing yet: the end of the old one, and a word about it.
    let path = dir.path().join("early.db");
    let restored = restore(&storage, Target::Latest, &path).unwrap();
    assert_is(&path, &old, old.states.last().unwrap());
    assert!(
        restored.resolved.notes.iter().any(|note| note.contains("took over")),
        "{:?}",
        restored.resolved.notes
    );
    // It cannot be taken over twice.
    let again = Restore::new(&"memory://unused".parse().unwrap()).take_over();
    let error = block_on(again.run_from(&storage, &dir.path().join("x.db"), &mut |_| ())).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");

    block_on(new.ship(&storage, 2, 3, 1 << 20));
    let path = dir.path().join("latest.db");
    restore(&storage, Target::Latest, &path).unwrap();
    assert_is(&path, &new, new.states.last().unwrap());
    let time_us = new.states.iter().map(|state| state.commit.commit_us).min().unwrap() - 1;
    let path = dir.path().join("before.db");
    restore(&storage, Target::Time(time_us), &path).unwrap();
    assert_is(&path, &old, old.at_time(time_us).unwrap());
    // Frame numbers are those of one log: the other one has to be named.
    let frame_no = old.states[4].commit.frame_no;
    let path = dir.path().join("named.db");
    let error = restore(&storage, Target::Frame(frame_no), &path).unwrap_err();
    assert!(error.to_string().contains(&old.log_id.to_string()), "{error}");
    let named =
        Restore::new(&"memory://unused".parse().unwrap()).target(Target::Frame(frame_no)).log(old.log_id);
    block_on(named.run_from(&storage, &path, &mut |_| ())).unwrap();
    assert_is(&path, &old, &old.states[4]);
}

#[test]
fn several_live_logs_are_named() {
    let (one, other) = two();
    let objects = Objects::new();
    let storage = objects.storage();
    block_on(async {
        one.ship(&storage, 1, 3, 1 << 20).await;
        other.ship(&storage, 1, 3, 1 << 20).await;
    });
    let dir = tempfile::tempdir().unwrap();
    let error = restore(&storage, Target::Latest, &dir.path().join("x.db")).unwrap_err().to_string();
    assert!(error.contains(&one.log_id.to_string()) && error.contains(&other.log_id.to_string()), "{error}");
}
