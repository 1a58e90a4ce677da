//! Storage that fails by seed, below a shipper and a keeper that run on one thread, with clocks that jump and with another
//! primary: what was said to be in storage can be restored, and of two primaries one goes on.
//!
//! The storms of `tests/shipping` do this with real threads, connections and requests. Here a seed takes milliseconds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::campaign::Campaign;
use super::corruption::quick_dir;
use super::rig::{Content, Db, History, PAGE, Rig, check_bytes};
use crate::error::{Error, Result, StorageErrorKind};
use crate::restore::{Restore, Target};
use crate::ship::{keep_once, ship_once_as};
use crate::storage::{ObjectInfo, Put, Storage};
use crate::testing::io::splitmix;
use crate::testing::storage::{TestStorage, block_on};

const HOUR_US: u64 = 3_600_000_000;
const TEN_YEARS_US: u64 = 10 * 365 * 24 * HOUR_US;
/// Bundles of level 0 are kept so long.
const KEPT_US: u64 = 24 * HOUR_US;
/// A directory: it can go away, and another one be in its place.
const PLACE: &str = "file:///unused";
const RETENTION: &str = "0:24h,1:48h,2:7d,3:7d,snapshot:48h/1";

/// How a store breaks its word, for the planted defects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    No,
    /// It overwrites what is there.
    Overwrites,
    /// It says that an object was put, and has lost it.
    Loses,
    /// No listing ever shows what was put.
    StaleForEver,
    /// Nobody notes which place it is, so that an empty one in its place is not noticed.
    Unnoted,
}

impl Broken {
    /// What the store is taken for.
    fn url(self) -> &'static str {
        if self == Broken::Unnoted { "memory://unused" } else { PLACE }
    }
}

/// A store that fails in `percent` of 100 requests.
struct Stormy {
    inner: Arc<TestStorage>,
    broken: Broken,
    state: Mutex<State>,
}

struct State {
    random: u64,
    percent: u64,
    /// Puts that seemed to fail, and arrive before a later request.
    late: Vec<(String, Bytes)>,
    /// The latest puts, which a stale listing does not show.
    latest: Vec<String>,
    deleted: u64,
}

/// What happened, so that it is seen that it does happen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    fenced: u64,
    deleted: u64,
    restored: u64,
    swapped: u64,
}

impl State {
    fn happens(&mut self, percent: u64) -> bool {
        splitmix(&mut self.random) % 100 < percent
    }
}

impl fmt::Debug for Stormy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stormy")
    }
}

fn away(op: &'static str, key: &str) -> Error {
    let kind = StorageErrorKind::Unavailable;
    Error::Storage { op, object: format!("memory://test/{key}"), kind, message: "no answer came".into() }
}

impl Stormy {
    fn new(seed: u64, broken: Broken) -> Arc<Stormy> {
        let state =
            State { random: seed ^ 0x5EED, percent: 0, late: Vec::new(), latest: Vec::new(), deleted: 0 };
        Arc::new(Stormy { inner: TestStorage::new(), broken, state: Mutex::new(state) })
    }

    /// Whether a request fails before anything is done. Late puts arrive.
    async fn begin(&self) -> bool {
        let (due, fails) = {
            let mut state = self.state.lock();
            let due = if state.happens(30) { std::mem::take(&mut state.late) } else { Vec::new() };
            let percent = state.percent;
            (due, state.happens(percent))
        };
        self.arrive(due).await;
        fails
    }

    async fn arrive(&self, late: Vec<(String, Bytes)>) {
        for (key, bytes) in late {
            // Create-only, as they were sent. Nobody hears what comes of it.
            let _ = self.inner.put_new(&key, &[bytes]).await;
        }
    }

    fn set_percent(&self, percent: u64) {
        self.state.lock().percent = percent;
    }

    /// The end of all faults: what is under way arrives.
    fn settle(&self) {
        self.set_percent(0);
        let late = std::mem::take(&mut self.state.lock().late);
        block_on(self.arrive(late));
    }
}

#[async_trait]
impl Storage for Stormy {
    fn url(&self) -> &str {
        "memory://test"
    }

    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put> {
        let bytes: Bytes = content.concat().into();
        if self.begin().await {
            let mut state = self.state.lock();
            if state.happens(50) {
                state.late.push((key.to_owned(), bytes));
            }
            return Err(away("put", key));
        }
        if self.broken == Broken::Loses && key.ends_with(".bundle") && self.inner.keys().len() > 6 {
            return Ok(Put::Created);
        }
        if self.broken == Broken::Overwrites {
            self.inner.plant(key, bytes);
            return Ok(Put::Created);
        }
        let put = self.inner.put_new(key, content).await?;
        let mut state = self.state.lock();
        state.latest.push(key.to_owned());
        if state.latest.len() > 3 {
            state.latest.remove(0);
        }
        // Sent twice, and the second one comes late.
        if state.percent > 0 && state.happens(15) {
            state.late.push((key.to_owned(), bytes));
        }
        // Done, and then no answer comes.
        let percent = state.percent;
        if state.happens(percent) { Err(away("put", key)) } else { Ok(put) }
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        if self.begin().await {
            return Err(away("get", key));
        }
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        if self.begin().await {
            return Err(away("head", key));
        }
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>> {
        if self.begin().await {
            return Err(away("list", prefix));
        }
        let mut listed = self.inner.list(prefix, after, limit).await?;
        let mut state = self.state.lock();
        let percent = state.percent / 2;
        if self.broken == Broken::StaleForEver {
            listed.clear();
        } else if state.happens(percent) {
            listed.retain(|info| !state.latest.contains(&info.key));
        }
        Ok(listed)
    }

    async fn list_names(&self, prefix: &str) -> Result<Vec<String>> {
        if self.begin().await {
            return Err(away("list", prefix));
        }
        if self.broken == Broken::StaleForEver {
            return Ok(Vec::new());
        }
        self.inner.list_names(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        if self.begin().await {
            // Some of them.
            let some = self.state.lock().happens(50);
            if some {
                self.state.lock().deleted += keys.len() as u64 / 2;
                self.inner.delete(&keys[..keys.len() / 2]).await?;
            }
            return Err(away("delete", keys.first().map_or("", |key| key)));
        }
        self.state.lock().deleted += keys.len() as u64;
        self.inner.delete(keys).await
    }
}

/// A database that ships, and what it has committed.
struct Primary {
    rig: Rig,
    db: Option<Db>,
    history: History,
    /// Which commit ends with a frame, and when it was made by the store's clock.
    commits: BTreeMap<u64, (u32, u64)>,
    k: u32,
    /// Why it ships nothing any more.
    fenced: Option<String>,
    /// The last frame that was said to be in storage.
    promised: u64,
    url: &'static str,
}

impl Primary {
    fn db(&mut self) -> Result<&Db> {
        if self.db.is_none() {
            self.db = Some(self.rig.open()?);
        }
        Ok(self.db.as_ref().expect("it is open"))
    }

    fn commit(&mut self, random: &mut u64, now_us: u64) -> Result<()> {
        let k = self.k + 1;
        let before = &self.history[&self.k];
        let size = (before.pages.len() as u32 + (splitmix(random) % 2) as u32).min(12);
        let pages = [1, 2, size];
        let content = before.after(k, &pages, size);
        self.history.insert(k, content);
        self.db()?.commit(k, &pages, size, splitmix(random).is_multiple_of(2))?;
        self.k = k;
        let end = self.db()?.log().published_frame_no();
        self.commits.insert(end, (k, now_us));
        Ok(())
    }

    /// A round of the shipper. An error of storage is told, and tried again later.
    fn ship(&mut self, storage: &Arc<dyn Storage>) -> Result<(), String> {
        let url = self.url;
        let outcome = self.db().and_then(|db| ship_once_as(db.wal.log(), storage, url));
        self.promised = self.promised.max(self.stored().unwrap_or(0));
        self.told(outcome)
    }

    /// A round of the shipper while an empty store is in the place of the one that has this log, if one has. Whether it was.
    fn ship_to_empty(&mut self) -> Result<bool, String> {
        if self.promised == 0 {
            return Ok(false);
        }
        let empty = TestStorage::new();
        let storage: Arc<dyn Storage> = Arc::clone(&empty) as _;
        self.ship(&storage)?;
        match empty.keys() {
            keys if keys.is_empty() => Ok(true),
            keys => Err(format!("{keys:?} went into an empty store in the place of the right one")),
        }
    }

    /// A round of the keeper, with a snapshot before it if `snapshot`.
    fn keep(&mut self, storage: &Arc<dyn Storage>, snapshot: bool) -> Result<(), String> {
        let outcome = self.db().and_then(|db| keep_once(db.wal.log(), storage, snapshot));
        self.told(outcome)
    }

    fn told(&mut self, outcome: Result<()>) -> Result<(), String> {
        match outcome {
            Ok(()) | Err(Error::Storage { .. } | Error::NotStored { .. }) => Ok(()),
            Err(error @ Error::Fenced { .. }) => {
                // For good, as long as it is open: as the threads do.
                self.fenced.get_or_insert(error.to_string());
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// What was said to be in storage.
    fn stored(&self) -> Option<u64> {
        self.db.as_ref()?.log().stored_frame_no()
    }
}

fn restored(storage: &Arc<dyn Storage>, target: Target, history: &History) -> Result<(u64, u32), String> {
    let dir = quick_dir();
    let path = dir.path().join("restored.db");
    let restore = Restore::new(&"memory://unused".parse().expect("a URL")).target(target);
    let restored = block_on(restore.run_from(storage, &path, &mut |_| ()));
    let commit = restored.map_err(|error| error.to_string())?.resolved.commit;
    let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
    let k = check_bytes(&bytes[..commit.db_size_pages as usize * PAGE], history)?;
    Ok((commit.frame_no, k))
}

/// One seed. What is wrong, if anything.
fn one(seed: u64, broken: Broken) -> Result<Seen, String> {
    let mut state = seed;
    let mut below = |bound: u64| splitmix(&mut state) % bound;
    let stormy = Stormy::new(seed, broken);
    let storage: Arc<dyn Storage> = Arc::clone(&stormy) as _;
    let clock = &stormy.inner.clock_us;
    clock.store(1_700_000_000_000_000, Ordering::Relaxed);
    let rig = Rig::new().with("vwal_storage", "memory://unused").with("vwal_retention", RETENTION);
    let history = History::from([(0, Content::first())]);
    let primary = Primary {
        rig,
        db: None,
        history,
        commits: BTreeMap::new(),
        k: 0,
        fenced: None,
        promised: 0,
        url: broken.url(),
    };
    let mut swapped = 0;
    let mut primaries = vec![primary];
    let mut random = seed.wrapping_mul(31);
    for _ in 0..60 + below(240) {
        let who = below(primaries.len() as u64) as usize;
        let now_us = clock.load(Ordering::Relaxed);
        let count = primaries.len();
        let one = &mut primaries[who];
        match below(24) {
            0..9 => one.commit(&mut random, now_us).map_err(|error| error.to_string())?,
            9..15 => one.ship(&storage)?,
            15 | 16 => one.keep(&storage, below(3) == 0)?,
            17 => stormy.set_percent([0, 5, 20, 50][below(4) as usize]),
            18 => drop(clock.fetch_add(below(12 * HOUR_US), Ordering::Relaxed)),
            19 => {
                // The machine's clock is set, by up to ten years.
                let by = below(2 * TEN_YEARS_US);
                one.rig.io.set_clock(1_700_000_000_000_000 - TEN_YEARS_US + by);
            }
            20 => drop(one.db().map_err(|error| error.to_string())?.pass()),
            21 => one.db = None,
            22 if count == 1 && below(4) == 0 => {
                // A copy of the files goes on as well.
                one.db = None;
                let rig = Rig { options: one.rig.options.clone(), ..Rig::from(one.rig.io.live()) };
                rig.io.set_clock(1_500_000_000_000_000 + below(HOUR_US));
                let mut history = one.history.clone();
                let content = history[&one.k].clone();
                // Commits of its own have other numbers.
                let k = one.k + 10_000;
                history.insert(k, content);
                let commits = one.commits.clone();
                let promised = one.promised;
                primaries.push(Primary {
                    rig,
                    db: None,
                    history,
                    commits,
                    k,
                    fenced: None,
                    promised,
                    url: broken.url(),
                });
            }
            23 if below(2) == 0 => swapped += u64::from(one.ship_to_empty()?),
            _ => stormy.settle(),
        }
    }
    stormy.settle();
    for one in &mut primaries {
        // A listing that was stale may have made it believe that somebody else has gone on. The next open asks again.
        one.fenced = None;
        one.db = None;
        one.commit(&mut random, clock.load(Ordering::Relaxed)).map_err(|error| error.to_string())?;
    }
    for _ in 0..3 {
        for one in &mut primaries {
            one.ship(&storage)?;
        }
    }
    let alive: Vec<&Primary> = primaries.iter().filter(|one| one.fenced.is_none()).collect();
    let [winner] = alive[..] else {
        let why: Vec<_> = primaries.iter().map(|one| &one.fenced).collect();
        return Err(format!("{} of {} primaries go on: {why:?}", alive.len(), primaries.len()));
    };
    let (&end, &(k, _)) = winner.commits.last_key_value().expect("commits");
    if winner.stored() != Some(end) {
        return Err(format!("frame {end} does not arrive: {:?}", winner.stored()));
    }
    match restored(&storage, Target::Latest, &winner.history)? {
        found if found == (end, k) => {}
        found => return Err(format!("frame and commit {found:?} are the newest, not {:?}", (end, k))),
    }
    for one in &primaries {
        // The one that was fenced off, too: what it was told to be there is what both had.
        let last = one.commits.range(..=one.promised).next_back();
        if let Some((frame_no, (k, _))) = last
            && winner.commits.get(frame_no).is_none_or(|commit| commit.0 != *k)
        {
            return Err(format!("commit {k}, frame {frame_no}, was promised, and is not in storage"));
        }
    }
    // Every commit that is younger than the rule says, at its frame.
    let now_us = clock.load(Ordering::Relaxed);
    let mut count = 1;
    let young = winner.commits.iter().filter(|(_, (_, made_us))| now_us - made_us <= KEPT_US);
    let is_shipped_alone = |frame_no: u64| frame_no >= first_frame(&stormy.inner);
    for (&frame_no, &(k, _)) in young.filter(|(frame_no, _)| is_shipped_alone(**frame_no)) {
        count += 1;
        match restored(&storage, Target::Frame(frame_no), &winner.history)? {
            (found, commit) if found == frame_no && commit == k => {}
            found => return Err(format!("frame {frame_no} gives {found:?}, not commit {k}")),
        }
    }
    Ok(Seen {
        fenced: primaries.len() as u64 - 1,
        deleted: stormy.state.lock().deleted,
        restored: count,
        swapped,
    })
}

/// Commits before the first bundle are in its full image alone.
fn first_frame(storage: &Arc<TestStorage>) -> u64 {
    let shared: Arc<dyn Storage> = Arc::clone(storage) as _;
    let verified = block_on(crate::restore::verify::verify_in(
        &shared,
        crate::restore::verify::Depth::Indexes,
        &mut |_| (),
    ));
    verified
        .expect("it can be looked at")
        .logs
        .iter()
        .filter_map(|log| log.first_frame_no)
        .min()
        .unwrap_or(u64::MAX)
}

#[test]
fn storms_and_clocks_and_copies() {
    let total = Mutex::new((0, Seen::default()));
    Campaign::new("storage", "shipper and keeper", 120, 5000).run(2, |seed| {
        let seen = one(seed, Broken::No).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        let (seeds, total) = &mut *total.lock();
        *seeds += 1;
        total.fenced += seen.fenced;
        total.deleted += seen.deleted;
        total.restored += seen.restored;
        total.swapped += seen.swapped;
        1
    });
    let (seeds, total) = total.into_inner();
    println!("{seeds} seeds: {total:?}");
    let least = total.fenced.min(total.deleted).min(total.restored).min(total.swapped);
    assert!(seeds < 100 || least > 0, "{total:?}");
}

#[test]
fn a_store_that_breaks_its_word_is_noticed() {
    for broken in [Broken::Overwrites, Broken::Loses, Broken::StaleForEver, Broken::Unnoted] {
        let noticed = (0..20).filter(|&seed| one(seed, broken).is_err()).count();
        println!("{broken:?} is noticed by {noticed} of 20 seeds");
        assert!(noticed > 10, "{broken:?} is noticed by {noticed} of 20 seeds");
    }
}
