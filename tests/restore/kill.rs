//! A restore that is killed: nothing is at the target's place, and the next one goes on.

use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use vwal::format::bundle::Content;
use vwal::storage::RetryPolicy;
use vwal::{Level, PageSize};

use crate::campaign::Campaign;
use crate::history::{History, State, block_on};
use crate::random::Random;
use crate::states::assert_is;

/// A database of a hundred megabytes, in storage as one full image.
fn store(url: &str, dir: &std::path::Path) -> History {
    let path = dir.join("truth.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE t(x);
         WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<33000)
         INSERT INTO t SELECT randomblob(1500) || zeroblob(1500) FROM n;
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .unwrap();
    drop(db);
    let image = std::fs::read(&path).unwrap();
    let commit = vwal::format::bundle::Commit {
        frame_no: 9,
        commit_us: 1_700_000_000_000_000,
        db_size_pages: (image.len() / 4096) as u32,
    };
    let history = History {
        log_id: vwal::LogId::from_bytes([9; 16]),
        page_size: PageSize::new(4096).unwrap(),
        states: vec![State { commit, image, frames: Vec::new() }],
    };
    block_on(async {
        let storage = vwal::storage::open(&url.parse().unwrap(), RetryPolicy::default()).unwrap();
        history.put(&storage, Level::ZERO, Content::FullImage, 0, 0, 4 << 20).await;
    });
    history
}

#[test]
fn whoever_kills_a_restore_finds_nothing_and_the_next_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/store", dir.path().display());
    let history = store(&url, dir.path());
    let path = dir.path().join("restored.db");
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vwal"));
        command.args(["--json", "restore", &url, "-o"]).arg(&path);
        command
    };
    let mut killed = 0;
    let mut campaign = Campaign::new("kill -9", "restore", 20, 60);
    while let Some(seed) = campaign.seed() {
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(Random::new(seed).below(400_000)));
        let was_running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        if was_running && !path.exists() {
            killed += 1;
        } else if path.exists() {
            // Whole, or not there.
            assert_is(&path, &history, &history.states[0]);
            std::fs::remove_file(&path).unwrap();
        }
        campaign.count(1);
    }
    assert!(killed > 0 || campaign.cases() < 20, "no restore was killed in the middle");
    let last = command().output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    assert_is(&path, &history, &history.states[0]);
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("vwal-restore")), "{left:?}");
}
