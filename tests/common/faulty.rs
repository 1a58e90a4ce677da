//! A store that fails by seed: before or after it has done what was asked, late, twice, in part. And that counts.
//!
//! It implements `object_store::ObjectStore` round another store, so that everything above it is what vwal uses:
//!
//! ```ignore
//! let store = FaultyStore::new(Arc::new(InMemory::new()), seed, Faults::ALL);
//! let storage = ObjectStorage::new(store.clone(), "faulty://store", quick()).lists_in_order();
//! assert_eq!(store.counts().list, 0);
//! ```

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use vwal::storage::RetryPolicy;

use super::random::Random;

/// How often each fault happens, in percent of the requests that it may happen to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A timeout, and nothing was done.
    pub before: u64,
    /// A timeout, and it was done all the same.
    pub after: u64,
    /// The store wants less to do.
    pub throttled: u64,
    /// A write reaches the store a second time, some requests later.
    pub duplicate: u64,
    /// A write that seemed to fail reaches the store some requests later.
    pub late: u64,
    /// A listing does not show the objects of the last few writes.
    pub stale: u64,
    /// The body of an answer breaks off.
    pub short: u64,
    /// An answer takes a millisecond.
    pub slow: u64,
}

impl Faults {
    /// None.
    pub const NONE: Faults =
        Faults { before: 0, after: 0, throttled: 0, duplicate: 0, late: 0, stale: 0, short: 0, slow: 0 };
    /// All that a store which keeps its word may show.
    pub const ALL: Faults =
        Faults { before: 12, after: 12, throttled: 8, duplicate: 15, late: 10, stale: 0, short: 15, slow: 2 };
}

/// A policy that outlasts every fault without waiting for long.
pub fn quick() -> RetryPolicy {
    RetryPolicy {
        deadline: Duration::from_secs(600),
        first_backoff: Duration::from_micros(1),
        max_backoff: Duration::from_micros(50),
        request_timeout: Duration::from_secs(30),
    }
}

/// How many requests of each kind there were. A deletion of many objects is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub put: u64,
    pub get: u64,
    pub head: u64,
    pub list: u64,
    pub delete: u64,
}

/// A store with faults. Clones share everything.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    faults: Faults,
    counts: Counts,
    /// Every request fails.
    down: bool,
    /// Every request panics.
    panics: bool,
    /// Writes that are still under way, and before which request they arrive.
    under_way: Vec<(u64, Path, PutPayload)>,
    /// The latest writes, which a stale listing does not show.
    latest: Vec<Path>,
    requests: u64,
}

impl State {
    fn happens(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn delayed(&mut self, path: &Path, payload: &PutPayload) {
        let due = self.requests + 1 + self.random.below(6);
        self.under_way.push((due, path.clone(), payload.clone()));
    }
}

/// What happens to one request.
enum Fate {
    Well,
    Fails(Error),
    /// It is done, and then it fails.
    FailsAfter(Error),
}

impl FaultyStore {
    /// Faults in front of `inner`, the same ones for the same seed and the same requests.
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64, faults: Faults) -> Arc<Self> {
        let state = State {
            random: Random::new(seed),
            faults,
            counts: Counts::default(),
            down: false,
            panics: false,
            under_way: Vec::new(),
            latest: Vec::new(),
            requests: 0,
        };
        Arc::new(Self { inner, state: Arc::new(Mutex::new(state)) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    /// The requests so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// From now on these faults.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The beginning or the end of an outage.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Whether every request panics, as a client library may do.
    pub fn set_panics(&self, panics: bool) {
        self.state().panics = panics;
    }

    /// Lets all writes arrive that are still under way.
    pub async fn settle(&self) {
        let all = std::mem::take(&mut self.state().under_way);
        self.arrive(all).await;
    }

    async fn arrive(&self, writes: Vec<(u64, Path, PutPayload)>) {
        for (_, path, payload) in writes {
            // Create-only, as they were sent. Nobody hears what comes of it.
            let _ = self.inner.put_opts(&path, payload, PutMode::Create.into()).await;
        }
    }

    /// Begins a request: late writes arrive, it is counted, its fate is drawn.
    async fn begin(&self, count: impl Fn(&mut Counts) -> &mut u64) -> Fate {
        let panics = self.state().panics;
        assert!(!panics, "injected");
        let (due, fate, is_slow) = {
            let mut state = self.state();
            state.requests += 1;
            *count(&mut state.counts) += 1;
            let now = state.requests;
            let (due, later) =
                std::mem::take(&mut state.under_way).into_iter().partition(|write| write.0 <= now);
            state.under_way = later;
            let faults = state.faults;
            let fate = if state.down {
                Fate::Fails(timeout())
            } else if state.happens(faults.throttled) {
                Fate::Fails(slow_down())
            } else if state.happens(faults.before) {
                Fate::Fails(timeout())
            } else if state.happens(faults.after) {
                Fate::FailsAfter(timeout())
            } else {
                Fate::Well
            };
            (due, fate, state.happens(faults.slow))
        };
        self.arrive(due).await;
        if is_slow {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fate
    }
}

fn timeout() -> Error {
    let source = Box::new(io::Error::new(io::ErrorKind::TimedOut, "no answer came (injected)"));
    Error::Generic { store: "faulty", source }
}

/// In the words of the S3 client.
fn slow_down() -> Error {
    let words =
        "Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>";
    Error::Generic { store: "faulty", source: words.into() }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        assert_eq!(options.mode, PutMode::Create, "vwal never overwrites: {path}");
        let fate = self.begin(|counts| &mut counts.put).await;
        if let Fate::Fails(error) = fate {
            let mut state = self.state();
            let percent = state.faults.late;
            if !state.down && state.happens(percent) {
                state.delayed(path, &payload);
            }
            return Err(error);
        }
        let result = self.inner.put_opts(path, payload.clone(), options).await;
        let mut state = self.state();
        if result.is_ok() {
            state.latest.push(path.clone());
            if state.latest.len() > 3 {
                state.latest.remove(0);
            }
        }
        let percent = state.faults.duplicate;
        if state.happens(percent) {
            state.delayed(path, &payload);
        }
        match fate {
            Fate::FailsAfter(error) => Err(error),
            _ => result,
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        panic!("vwal puts whole objects")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let fate = self.begin(|counts| if is_head { &mut counts.head } else { &mut counts.get }).await;
        if let Fate::Fails(error) | Fate::FailsAfter(error) = fate {
            return Err(error);
        }
        let mut result = self.inner.get_opts(path, options).await?;
        let is_short = {
            let mut state = self.state();
            let percent = state.faults.short;
            !is_head && state.happens(percent)
        };
        if is_short {
            let (meta, range, attributes) =
                (result.meta.clone(), result.range.clone(), result.attributes.clone());
            let whole = result.bytes().await?;
            let (kept, with_error) = {
                let mut state = self.state();
                (state.random.below(whole.len() as u64 + 1) as usize, state.random.below(2) == 0)
            };
            // Either it ends as if that were all, or with an error.
            let mut chunks = vec![Ok(whole.slice(..kept))];
            if with_error {
                chunks.push(Err(timeout()));
            }
            let payload = GetResultPayload::Stream(stream::iter(chunks).boxed());
            result = GetResult { payload, meta, range, attributes, extensions: Default::default() };
        }
        Ok(result)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = async move {
            let mut fate = store.begin(|counts| &mut counts.delete).await;
            if let Fate::Fails(error) = fate {
                return stream::iter(vec![Err(error)]).boxed();
            }
            let mut results: Vec<Result<Path>> = store.inner.delete_stream(paths).collect().await;
            if let Fate::FailsAfter(error) = std::mem::replace(&mut fate, Fate::Well) {
                results.insert(0, Err(error));
            }
            stream::iter(results).boxed()
        };
        stream::once(deleted).flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_with_offset(prefix, &Path::default())
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, offset) = (self.clone(), prefix.cloned(), offset.clone());
        let listed = async move {
            let fate = store.begin(|counts| &mut counts.list).await;
            if let Fate::Fails(error) = fate {
                return stream::iter(vec![Err(error)]).boxed();
            }
            let mut results: Vec<Result<ObjectMeta>> =
                store.inner.list_with_offset(prefix.as_ref(), &offset).collect().await;
            let mut state = store.state();
            let percent = state.faults.stale;
            if state.happens(percent) {
                results
                    .retain(|entry| entry.as_ref().is_ok_and(|meta| !state.latest.contains(&meta.location)));
            }
            if let Fate::FailsAfter(error) = fate {
                // In the middle of it.
                let at = state.random.below(results.len() as u64 + 1) as usize;
                results.truncate(at);
                results.push(Err(error));
            }
            stream::iter(results).boxed()
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.begin(|counts| &mut counts.list).await {
            Fate::Well => self.inner.list_with_delimiter(prefix).await,
            Fate::Fails(error) | Fate::FailsAfter(error) => Err(error),
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        panic!("vwal does not copy objects")
    }
}
