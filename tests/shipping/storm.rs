//! Faults of storage at any moment, by seed: while commits are shipped, bundles merged, snapshots taken, the database closed
//! and opened. Nothing in storage is ever changed, it all arrives in the end, and every commit can be restored.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use rusqlite::Connection;
use vwal::restore::verify::{Depth, verify};
use vwal::restore::{Restore, Target};
use vwal::storage::RetryPolicy;
use vwal::{Database, Options};

use crate::campaign::Campaign;
use crate::faulty::{Faults, FaultyStore};
use crate::lab::wait_for;
use crate::ledger;
use crate::random::Random;

#[test]
fn a_storm_leaves_storage_whole() {
    vwal::register(Options::new()).expect("vwal can be registered");
    // Most of the time they wait.
    Campaign::new("storage", "storm", 60, 300).run(16, |seed| {
        Storm::new(seed).run();
        1
    });
}

struct Storm {
    seed: u64,
    random: Random,
    dir: tempfile::TempDir,
    inner: Arc<InMemory>,
    store: Arc<FaultyStore>,
    url: String,
    params: String,
    /// Which entry of the ledger the commit is that ends with a frame.
    truth: BTreeMap<u64, u32>,
    objects: BTreeMap<String, Bytes>,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut random = Random::new(seed);
        let inner = Arc::new(InMemory::new());
        let store = FaultyStore::new(Arc::clone(&inner) as _, seed, Faults::NONE);
        let url = format!("memory://storm-{seed}");
        vwal::storage::provide(&format!("storm-{seed}"), Arc::clone(&store) as _);
        let params = format!(
            "&vwal_storage={url}&vwal_ship_interval_ms={}&vwal_swap=frames%3E%3D20&vwal_checkpoint_size=64KiB\
             &vwal_close_timeout_ms={}&vwal_storage_timeout_ms=20&vwal_snapshot_interval_ms={}",
            random.below(6),
            random.below(60),
            [0, 10][random.below(2) as usize],
        );
        let dir = tempfile::tempdir().unwrap();
        Storm {
            seed,
            random,
            dir,
            inner,
            store,
            url,
            params,
            truth: BTreeMap::new(),
            objects: BTreeMap::new(),
        }
    }

    fn open(&self) -> (Connection, Database) {
        let path = self.dir.path().join("a.db");
        let db = Connection::open(format!("file:{}?vfs=vwal{}", path.display(), self.params))
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        db.execute_batch(ledger::SCHEMA).unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        let database = Database::of(&db, "main").expect("a virtual database");
        (db, database)
    }

    /// Some of the faults, some of the time.
    fn faults(&mut self) -> Faults {
        let mut some = |most: u64| if self.random.below(2) == 0 { self.random.below(most) } else { 0 };
        Faults {
            before: some(15),
            after: some(25),
            throttled: some(10),
            duplicate: some(30),
            late: some(30),
            stale: some(25),
            short: some(15),
            slow: some(30),
        }
    }

    fn run(mut self) {
        let seed = self.seed;
        if self.random.below(4) == 0 {
            self.store.set_down(true);
        }
        let (mut db, mut database) = self.open();
        for _ in 0..20 + self.random.below(60) {
            match self.random.below(40) {
                0..24 => self.commit(&db, &database),
                24..28 => drop(db.execute_batch("SELECT vwal_sync()")),
                28..30 => {
                    let faults = self.faults();
                    self.store.set_faults(faults);
                }
                30 => self.store.set_faults(Faults::NONE),
                31 => self.store.set_down(true),
                32..34 => self.store.set_down(false),
                34 => drop(database.checkpoint()),
                35 => drop(db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
                36 => block_on(self.store.settle()),
                37 => {
                    drop(database);
                    drop(db);
                    self.look_at_objects();
                    (db, database) = self.open();
                }
                _ => std::thread::sleep(Duration::from_millis(self.random.below(15))),
            }
            assert_eq!(database.fence().map(|error| error.to_string()), None, "seed {seed}: fenced off");
        }
        self.store.set_faults(Faults::NONE);
        self.store.set_down(false);
        block_on(self.store.settle());
        self.commit(&db, &database);
        let began = Instant::now();
        while database.durable_frame_no() < database.frame_no() {
            drop(db.execute_batch("SELECT vwal_sync()"));
            assert_eq!(database.fence().map(|error| error.to_string()), None, "seed {seed}: fenced off");
            let status = database.status();
            assert!(began.elapsed() < Duration::from_secs(40), "seed {seed}: it does not arrive: {status:?}");
        }
        // While a snapshot is taken, the base file stays as it is.
        wait_for("a checkpoint of everything", || database.checkpoint().unwrap() == database.frame_no());
        drop(database);
        drop(db);
        block_on(self.store.settle());
        self.look_at_objects();
        self.restore_all();
    }

    fn commit(&mut self, db: &Connection, database: &Database) {
        let k = ledger::commit_next(db).unwrap_or_else(|wrong| panic!("seed {}: {wrong}", self.seed));
        self.truth.insert(database.frame_no(), k);
    }

    /// What is there has the bytes that it always had.
    fn look_at_objects(&mut self) {
        let now: BTreeMap<String, Bytes> = block_on(async {
            let mut objects = BTreeMap::new();
            let mut listed = self.inner.list(None);
            while let Some(Ok(meta)) = listed.next().await {
                let bytes = self.inner.get(&meta.location).await.unwrap().bytes().await.unwrap();
                objects.insert(meta.location.to_string(), bytes);
            }
            objects
        });
        for (key, bytes) in &self.objects {
            assert!(now.get(key) == Some(bytes), "seed {}: {key} is not what it was", self.seed);
        }
        self.objects = now;
    }

    fn restore_all(&mut self) {
        let seed = self.seed;
        let url = self.url.parse().unwrap();
        let verified = verify(&url, RetryPolicy::default(), Depth::Data, |_| ()).unwrap();
        assert_eq!(verified.findings, [], "seed {seed}");
        assert_eq!(verified.logs.len(), 1, "seed {seed}: {:?}", verified.logs);
        let first = verified.logs[0].first_frame_no.unwrap();
        assert_eq!(verified.logs[0].end_frame_no.as_ref(), self.truth.keys().next_back(), "seed {seed}");
        // Reading has its faults, too.
        self.store.set_faults(Faults { before: 3, throttled: 3, short: 3, ..Faults::NONE });
        for (&frame_no, &expected) in self.truth.range(first..) {
            let path = self.dir.path().join(format!("restored-{frame_no}.db"));
            let restore = Restore::new(&url).retry(crate::faulty::quick()).target(Target::Frame(frame_no));
            restore.run(&path, |_| ()).unwrap_or_else(|error| panic!("seed {seed}: {frame_no}: {error}"));
            assert_eq!(entry(&path), Ok(expected), "seed {seed}: frame {frame_no}");
        }
    }
}

fn entry(path: &Path) -> Result<u32, String> {
    ledger::check_all(&Connection::open(path).map_err(|error| error.to_string())?)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(work)
}
