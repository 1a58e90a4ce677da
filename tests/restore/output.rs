//! The file that is made: nothing is replaced, and an interruption leaves nothing in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use vwal::Error;
use vwal::restore::{Restore, Target, leftovers};

use crate::history::{History, block_on};
use crate::objects::Objects;
use crate::states::{assert_is, restore};

fn store(seed: u64, count: usize) -> (History, std::sync::Arc<Objects>) {
    let history = History::new(seed, count, 0);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), seed, 3, 1 << 20));
    (history, objects)
}

#[test]
fn what_is_in_the_way_stays_and_is_named() {
    let (history, objects) = store(1, 8);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    for name in ["app.db", "app.db-wal", "app.db-shm", "app.db-journal", ".app.db.vwal-restore"] {
        let other = dir.path().join(name);
        fs::write(&other, "precious").unwrap();
        let error = restore(&objects.storage(), Target::Latest, &path).unwrap_err();
        assert!(matches!(error, Error::Target { .. }), "{name}: {error}");
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        fs::remove_file(&other).unwrap();
    }
    // A link that leads nowhere is something, too; so is a directory.
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &path).unwrap();
    assert!(matches!(restore(&objects.storage(), Target::Latest, &path), Err(Error::Target { .. })));
    fs::remove_file(&path).unwrap();
    fs::create_dir(dir.path().join("app.db-wal")).unwrap();
    assert!(matches!(restore(&objects.storage(), Target::Latest, &path), Err(Error::Target { .. })));
    fs::remove_dir(dir.path().join("app.db-wal")).unwrap();
    restore(&objects.storage(), Target::Latest, &path).unwrap();
    assert_is(&path, &history, history.states.last().unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o133,
        0,
        "no more than SQLite would give"
    );
    assert_eq!(leftovers(&path), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_restore_that_fails_in_the_middle_is_gone_on_with() {
    let (history, objects) = store(2, 60);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let all: Vec<_> = objects.all().clone().into_iter().collect();
    let mut failed = 0;
    for (key, bytes) in all {
        // In front, where pages are: the trailer and the indexes stay whole, so that planning finds nothing.
        let damaged = objects.copy();
        let mut bad = bytes.to_vec();
        bad[40] ^= 0x40;
        damaged.all().insert(key, bad.into());
        if let Err(error) = restore(&damaged.storage(), Target::Latest, &path) {
            assert!(matches!(error, Error::DamagedObject { .. }), "{error}");
            assert!(!path.exists());
            assert!(leftovers(&path).is_some());
            failed += 1;
            restore(&objects.storage(), Target::Latest, &path).unwrap();
        }
        assert_is(&path, &history, history.states.last().unwrap());
        assert_eq!(leftovers(&path), None);
        fs::remove_file(&path).unwrap();
    }
    assert!(failed > 0, "no object that the newest state needs was damaged");
}

#[test]
fn two_restores_to_one_place_do_not_meet() {
    let (history, objects) = store(3, 30);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let results: Vec<_> = std::thread::scope(|scope| {
        let restores: Vec<_> =
            (0..4).map(|_| scope.spawn(|| restore(&objects.storage(), Target::Latest, &path))).collect();
        restores.into_iter().map(|restore| restore.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert_is(&path, &history, history.states.last().unwrap());
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, Error::Target { .. } | Error::Io { .. }), "{error}");
    }
}

#[test]
fn the_blocking_calls_do_the_same() {
    let (history, objects) = store(4, 10);
    let dir = tempfile::tempdir().unwrap();
    let url: vwal::storage::StorageUrl = format!("file://{}/store", dir.path().display()).parse().unwrap();
    for (key, bytes) in objects.all().iter() {
        let file = dir.path().join("store").join(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let frame_no = history.states[5].commit.frame_no;
    let wanted = Restore::new(&url).target(Target::Frame(frame_no)).log(history.log_id);
    let plan = wanted.plan().unwrap();
    assert_eq!((plan.commit, plan.log_id), (history.states[5].commit, history.log_id));
    let path = dir.path().join("app.db");
    let mut last = 0;
    wanted
        .run(&path, |advance| {
            assert!(advance.bytes >= last && advance.bytes <= advance.bytes_total, "{advance:?}");
            last = advance.bytes;
        })
        .unwrap();
    assert!(last > 0);
    assert_is(&path, &history, &history.states[5]);
}
