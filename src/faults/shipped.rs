//! Power loss while the log is shipped: storage never has what the disk lost, and the log that is recovered goes on there.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::power_loss::{Depth, variants};
use super::rig::{Content, Db, History, PAGE, Rig, check_bytes};
use crate::error::Result;
use crate::io::testing::{Image, TestIo, splitmix};
use crate::restore::{Restore, Target};
use crate::ship::ship_once;
use crate::storage::testing::{TestStorage, block_on};
use crate::storage::{ObjectInfo, Put, Storage, bundles};

/// Storage that notes after how many operations on the disk an object was put.
struct Noting {
    inner: Arc<TestStorage>,
    io: TestIo,
    puts: Mutex<Vec<(usize, String)>>,
}

impl fmt::Debug for Noting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Noting")
    }
}

#[async_trait]
impl Storage for Noting {
    fn url(&self) -> &str {
        self.inner.url()
    }

    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put> {
        let operations = self.io.trace().len();
        let put = self.inner.put_new(key, content).await?;
        self.puts.lock().push((operations, key.to_owned()));
        Ok(put)
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix, after, limit).await
    }

    async fn list_names(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list_names(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.inner.delete(keys).await
    }
}

fn ship(db: &Db, storage: &Arc<dyn Storage>) -> Result<()> {
    ship_once(db.wal.log(), storage)
}

/// What the newest state in storage holds.
fn restored(storage: &Arc<dyn Storage>, history: &History) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("restored.db");
    let restore = Restore::new(&"memory://unused".parse().unwrap()).target(Target::Latest);
    let commit = block_on(restore.run_from(storage, &path, &mut |_| ())).unwrap().resolved.commit;
    let bytes = std::fs::read(&path).unwrap();
    check_bytes(&bytes[..commit.db_size_pages as usize * PAGE], history).unwrap()
}

#[test]
fn what_was_shipped_survives_a_power_loss() {
    let mut crashes = 0;
    for seed in 0..12 {
        crashes += one(seed);
    }
    println!("{crashes} crashes");
    assert!(crashes > 500, "{crashes}");
}

fn one(seed: u64) -> usize {
    let mut next = seed;
    let rig = Rig::new().with("vwal_storage", "memory://unused");
    let inner = TestStorage::new();
    let noting = Arc::new(Noting { inner: Arc::clone(&inner), io: rig.io.clone(), puts: Mutex::default() });
    let storage: Arc<dyn Storage> = Arc::clone(&noting) as _;
    let mut history = History::from([(0, Content::first())]);
    let db = rig.open().unwrap();
    let mut k = 0;
    for _ in 0..14 {
        match splitmix(&mut next) % 8 {
            0..4 => {
                let size = history[&k].pages.len() as u32 + (splitmix(&mut next) % 2) as u32;
                let pages = [1, 2, size];
                let content = history[&k].after(k + 1, &pages, size);
                k += 1;
                history.insert(k, content);
                db.commit(k, &pages, size, splitmix(&mut next).is_multiple_of(2)).unwrap();
            }
            4..7 => ship(&db, &storage).unwrap(),
            _ => drop(db.pass().unwrap()),
        }
    }
    drop(db);
    crash_everywhere(seed, &rig, &noting, &history)
}

/// After each operation, with what storage had by then at most.
fn crash_everywhere(seed: u64, rig: &Rig, noting: &Noting, history: &History) -> usize {
    let depth = Depth { subsets: 2, random: 2, again: 0 };
    let mut disks = rig.io.start();
    let (mut random, mut crashes) = (seed, 0);
    let mut seen = HashSet::new();
    for (at, record) in rig.io.trace().iter().enumerate() {
        disks.apply(record);
        let there = || {
            let storage = TestStorage::new();
            for (operations, key) in &*noting.puts.lock() {
                if *operations <= at + 1
                    && let Some(bytes) = noting.inner.object(key)
                {
                    storage.plant(key, bytes);
                }
            }
            storage
        };
        let objects = there().keys().len();
        variants(&disks, depth, &mut random, |image, variant| {
            if !seen.insert((image.hash(), objects)) {
                return;
            }
            crashes += 1;
            let place = format!("seed {seed}, operation {at}, {variant}");
            go_on(rig, image, there(), history, &place, crashes % 20 == 0);
        });
    }
    crashes
}

/// Recover, and ship what storage does not have.
fn go_on(rig: &Rig, image: Image, there: Arc<TestStorage>, history: &History, place: &str, restore: bool) {
    let storage: Arc<dyn Storage> = there;
    let rig = Rig { options: rig.options.clone(), ..Rig::from(image) };
    let (db, k) = rig.open_and_check(history).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
    let end = db.log().published_frame_no();
    let durable = block_on(bundles::durable_frame_no(&storage, db.log().log_id())).unwrap();
    if let Some(durable) = durable {
        assert!(durable.end_frame_no <= end, "{place}: storage has {durable:?}, the log ends at {end}");
    }
    ship(&db, &storage).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(db.log().stored_frame_no(), Some(end), "{place}");
    if restore {
        assert_eq!(restored(&storage, history), k, "{place}");
    }
}
