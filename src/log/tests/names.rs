//! Two logs that want one name, or one base file.

use std::fs;

use super::{PAGE, Place, commit};
use crate::error::Error;

/// What page 2 of the base file is filled with.
fn page_2(place: &Place) -> u8 {
    fs::read(place.database()).unwrap()[PAGE]
}

#[test]
fn a_log_without_its_directory_writes_nothing_over_another_ones_commits() {
    for drained in [false, true] {
        let place = Place::new();
        let old = place.open().unwrap();
        commit(&old, &[1]);
        fs::rename(place.dir(), place.dir().with_extension("away")).unwrap();
        // As another process would open it: the footer says where to go on, and nothing says that the file is in use.
        let new = place.open().unwrap();
        commit(&new, &[2]);
        if drained {
            new.checkpointer().drain().unwrap();
        }
        let before = fs::read(place.database()).unwrap();
        let error = old.checkpointer().drain().expect_err("the base file has another log");
        assert!(matches!(&error, Error::Foreign { what, .. } if what.contains("another log")), "{error}");
        assert_eq!(fs::read(place.database()).unwrap(), before);
        new.checkpointer().drain().unwrap();
        assert_eq!(page_2(&place), 2);
    }
}

#[test]
fn a_log_without_its_directory_is_brought_to_the_base_file_that_is_still_its_own() {
    let place = Place::new();
    let log = place.open().unwrap();
    commit(&log, &[1]);
    fs::remove_dir_all(place.dir()).unwrap();
    // An empty directory is no log.
    fs::create_dir(place.dir()).unwrap();
    log.checkpointer().drain().unwrap();
    assert_eq!(page_2(&place), 1);
}

#[test]
fn a_closed_log_moves_no_directory() {
    let place = Place::new();
    let old = place.open().unwrap();
    commit(&old, &[1]);
    old.checkpointer().drain().unwrap();
    old.release_lock(true);
    // Another file takes the name, and another process opens it: the directory is its by now.
    let other = Place::new();
    fs::rename(other.database(), place.database()).unwrap();
    let new = place.open().unwrap();
    commit(&new, &[2]);
    old.step_aside().unwrap();
    assert!(place.dir().join("lock").exists(), "the directory was moved");
    new.checkpointer().drain().unwrap();
    assert_eq!(page_2(&place), 2);
}
