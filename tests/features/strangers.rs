//! Files in the log directory that are not vwal's keep the database virtual, and whoever ends WAL mode is told which file it is.

use std::fs;

use crate::lab::{Engine, Lab};
use crate::text::query;

#[test]
fn the_way_back_names_the_file_that_is_in_the_way() {
    for name in [".DS_Store", ".nfs0000000001a2b3c400000001", "notes.txt"] {
        for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"] {
            let lab = Lab::new(Engine::Vwal);
            let db = lab.create("a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
            let stranger = lab.wal("a.db").join(name);
            fs::write(&stranger, "not ours").unwrap();
            let pragma = format!("PRAGMA journal_mode={mode}");
            let told = db.query_row(&pragma, [], |_| Ok(())).expect_err("the file is in the way").to_string();
            assert!(
                told.contains(stranger.to_str().unwrap()) && told.contains("move it away"),
                "{mode}: {told}"
            );
            let last_error = query(&db, "SELECT last_error FROM vwal_status");
            assert!(last_error.contains(name), "{mode}: {last_error}");
            // Nothing has changed.
            assert_eq!(query(&db, "PRAGMA journal_mode"), "wal");
            assert_eq!(fs::read_to_string(&stranger).unwrap(), "not ours");
            query(&db, "INSERT INTO t VALUES (2)");
            fs::remove_file(&stranger).unwrap();
            assert_eq!(query(&db, &pragma).trim(), mode.to_lowercase());
            assert!(!lab.wal("a.db").exists());
            assert_eq!(query(&db, "SELECT count(*) FROM t"), "2");
        }
    }
}

#[test]
fn modes_that_do_not_end_wal_mode_are_not_refused() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    fs::write(lab.wal("a.db").join("notes.txt"), "not ours").unwrap();
    for pragma in ["PRAGMA journal_mode", "PRAGMA journal_mode=WAL", "PRAGMA journal_mode=nonsense"] {
        assert_eq!(query(&db, pragma), "wal", "{pragma}");
    }
}
