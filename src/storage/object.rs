//! [`Storage`] over a store of the crate `object_store`: retries, unknown outcomes, our errors.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};

use crate::error::{Error, Result, StorageErrorKind};
use crate::storage::failure::Failure;
use crate::storage::{ObjectInfo, Put, RetryPolicy, Storage};

/// So many objects are deleted with one request.
const DELETED_AT_ONCE: usize = 1000;

/// The one implementation of [`Storage`], over any store of the crate `object_store`.
pub struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    url: String,
    /// What all keys begin with; empty, or without a slash at its end.
    root: String,
    policy: RetryPolicy,
    in_order: bool,
}

impl fmt::Debug for ObjectStorage {
    /// The URL and no more: what a store tells of itself may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStorage").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What one attempt of an operation came to.
type Attempt<T> = Result<T, Failure>;

impl ObjectStorage {
    /// Storage in `store`. `url` is what people are told, and must not hold a secret. The store should not retry on its
    /// own, and must honour [`PutMode::Create`], which [`probe`](crate::storage::probe()) finds out.
    pub fn new(store: Arc<dyn ObjectStore>, url: impl Into<String>, policy: RetryPolicy) -> Self {
        Self { store, url: url.into(), root: String::new(), policy, in_order: false }
    }

    /// Put every key below `prefix`.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        self.root = prefix.trim_matches('/').to_owned();
        self
    }

    /// The store lists in ascending order of keys, as S3 does, so that the beginning of a listing is not searched for in
    /// all of it.
    #[must_use]
    pub fn lists_in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    /// What errors call the object `key`.
    fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.url.trim_end_matches('/'))
    }

    /// Where the store has `key`. Keys are made by vwal, of parsed numbers and UUIDs.
    fn path(&self, op: &'static str, key: &str) -> Result<Path> {
        let full = if self.root.is_empty() { key.to_owned() } else { format!("{}/{key}", self.root) };
        match Path::parse(&full) {
            Ok(path) if path.as_ref() == full && !key.is_empty() => Ok(path),
            _ => Err(self.no_key(op, key)),
        }
    }

    /// The directory that `prefix` names; the root, when it is empty.
    fn directory(&self, op: &'static str, prefix: &str) -> Result<Path> {
        match prefix.strip_suffix('/').unwrap_or(prefix) {
            "" => Path::parse(&self.root).map_err(|_| self.no_key(op, "")),
            prefix => self.path(op, prefix),
        }
    }

    fn no_key(&self, op: &'static str, key: &str) -> Error {
        Error::Storage {
            op,
            object: self.name(key),
            kind: StorageErrorKind::Other,
            message: "this is not a key that an object may have".into(),
        }
    }

    /// The key of an object that the store calls `path`; `None`: it is not below the root.
    fn key<'a>(&self, path: &'a Path) -> Option<&'a str> {
        match self.root.as_str() {
            "" => Some(path.as_ref()),
            root => path.as_ref().strip_prefix(root)?.strip_prefix('/'),
        }
    }

    fn info(&self, meta: &ObjectMeta) -> Option<ObjectInfo> {
        Some(ObjectInfo {
            key: self.key(&meta.location)?.to_owned(),
            size: meta.size,
            modified_us: u64::try_from(meta.last_modified.timestamp_micros()).unwrap_or(0),
        })
    }

    /// One request, of limited duration.
    ///
    /// The libraries below panic on some settings of the environment. That must not end the task that ships.
    async fn limited<T>(&self, request: impl Future<Output = T>) -> Attempt<T> {
        let limit = self.policy.request_timeout;
        match tokio::time::timeout(limit, AssertUnwindSafe(request).catch_unwind()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failure::panicked()),
            Err(_) => Err(Failure::passing(format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    /// One request whose every error is a failure.
    async fn ask<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> Attempt<T> {
        self.limited(request).await?.map_err(|error| Failure::of(&error))
    }

    /// Tries until it works, cannot work, or the time is up.
    async fn retried<T, F: Future<Output = Attempt<T>>>(
        &self,
        op: &'static str,
        key: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T> {
        let mut attempts = self.policy.begin();
        loop {
            let failure = match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if !failure.transient || !attempts.pause().await {
                return Err(failure.error(op, self.name(key), attempts.made()));
            }
        }
    }

    async fn try_put(&self, path: &Path, content: &[Bytes]) -> Attempt<Put> {
        let payload: PutPayload = content.iter().cloned().collect();
        match self.limited(self.store.put_opts(path, payload, PutMode::Create.into())).await? {
            Ok(_) => Ok(Put::Created),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. },
            ) => self.settle(path, content).await,
            // It was written; what is missing in the answer is nothing that vwal needs. The object says whether it is ours.
            Err(error) if is_without_etag(&error) => self.settle(path, content).await,
            Err(error) => Err(Failure::of(&error)),
        }
    }

    /// There is an object at `path`, says the store: is it ours, from an attempt whose answer was lost?
    ///
    /// Also asked at the first attempt: the write of an earlier call, or of a process that is gone, may have come late.
    async fn settle(&self, path: &Path, content: &[Bytes]) -> Attempt<Put> {
        let found = match self.limited(self.store.get(path)).await? {
            Ok(found) => found,
            // Deleted since; or the store answers "conflict" while another write of the same key is under way.
            Err(object_store::Error::NotFound { .. }) => {
                return Err(Failure::passing("the store reports a conflict, but there is no object"));
            }
            Err(error) => return Err(Failure::of(&error)),
        };
        let size: u64 = content.iter().map(|part| part.len() as u64).sum();
        if found.meta.size != size {
            return Ok(Put::Taken);
        }
        let mut ours = content.iter().flat_map(|part| part.iter());
        let mut compared = 0_u64;
        let mut chunks = found.into_stream();
        while let Some(chunk) = self.limited(chunks.next()).await? {
            let chunk = chunk.map_err(|error| Failure::of(&error))?;
            if chunk.iter().any(|byte| ours.next() != Some(byte)) {
                return Ok(Put::Taken);
            }
            compared += chunk.len() as u64;
        }
        if compared != size {
            return Err(Failure::passing(format!("{compared} of {size} bytes came")));
        }
        Ok(Put::Created)
    }

    async fn try_get(&self, path: &Path, key: &str, range: Range<u64>) -> Attempt<Result<Bytes>> {
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let found = match self.limited(self.store.get_opts(path, options)).await? {
            Ok(found) => found,
            Err(error @ object_store::Error::NotFound { .. }) => return Err(Failure::of(&error)),
            Err(error) => {
                let failure = Failure::of(&error);
                // Each store has its own words for a range that is not there. The size has one meaning.
                if matches!(failure.kind, StorageErrorKind::Other)
                    && let Some(meta) = self.look(path).await?
                    && meta.size < range.end
                {
                    return Ok(Err(self.too_short(key, meta.size, &range)));
                }
                return Err(failure);
            }
        };
        if found.meta.size < range.end {
            return Ok(Err(self.too_short(key, found.meta.size, &range)));
        }
        let length = range.end - range.start;
        if found.range != range {
            return Err(Failure::passing(format!("asked for bytes {range:?}, got {:?}", found.range)));
        }
        if matches!(found.payload, GetResultPayload::File(..)) {
            // In one piece. As a stream it would come in pieces of a few kilobytes, each by way of another thread.
            let bytes = self.limited(found.bytes()).await?.map_err(|error| Failure::of(&error))?;
            return match bytes.len() as u64 {
                len if len == length => Ok(Ok(bytes)),
                len => Err(Failure::passing(format!("{len} of {length} bytes came"))),
            };
        }
        // The range lies in the object, by the store's word; memory is taken as the bytes come.
        let mut bytes = BytesMut::new();
        let mut chunks = found.into_stream();
        while let Some(chunk) = self.limited(chunks.next()).await? {
            let chunk = chunk.map_err(|error| Failure::of(&error))?;
            // Most answers are one chunk, which need not be copied.
            if bytes.is_empty() && chunk.len() as u64 == length {
                return Ok(Ok(chunk));
            }
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > length {
                break;
            }
        }
        if bytes.len() as u64 != length {
            return Err(Failure::passing(format!("{} of {length} bytes came", bytes.len())));
        }
        Ok(Ok(bytes.freeze()))
    }

    fn too_short(&self, key: &str, size: u64, range: &Range<u64>) -> Error {
        Error::DamagedObject {
            object: self.name(key),
            offset: Some(size),
            what: format!("it ends here, and should go on to {} at least", range.end),
        }
    }

    /// `None`: it is not there.
    async fn look(&self, path: &Path) -> Attempt<Option<ObjectMeta>> {
        match self.limited(self.store.head(path)).await? {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    async fn try_list(&self, prefix: &Path, after: Option<&Path>, limit: usize) -> Attempt<Vec<ObjectInfo>> {
        let prefix = (!prefix.as_ref().is_empty()).then_some(prefix);
        let mut entries = match after {
            Some(after) => self.store.list_with_offset(prefix, after),
            None => self.store.list(prefix),
        };
        // The smallest keys so far, at most `limit`.
        let mut found: BTreeMap<String, ObjectInfo> = BTreeMap::new();
        let mut in_order = self.in_order;
        let mut last = String::new();
        while let Some(entry) = self.limited(entries.next()).await? {
            // No error is passed over: what comes after it in the listing may be missing.
            let meta = entry.map_err(|error| Failure::of(&error))?;
            in_order &= meta.location.as_ref() > last.as_str();
            meta.location.as_ref().clone_into(&mut last);
            // Not every store takes `after` as exclusive, and some list the prefix itself when there is an object "prefix/".
            if after.is_some_and(|after| meta.location <= *after) || Some(&meta.location) == prefix {
                continue;
            }
            let Some(info) = self.info(&meta) else { continue };
            found.insert(info.key.clone(), info);
            if found.len() > limit {
                found.pop_last();
            }
            if in_order && found.len() == limit {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    async fn try_delete(&self, paths: &[Path]) -> Attempt<()> {
        for some in paths.chunks(DELETED_AT_ONCE) {
            let some: Vec<_> = some.iter().cloned().map(Ok).collect();
            let mut results = self.store.delete_stream(stream::iter(some).boxed());
            while let Some(result) = self.limited(results.next()).await? {
                match result {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(Failure::of(&error)),
                }
            }
        }
        Ok(())
    }
}

/// Whether all that is wrong with a success is that it has no `ETag`. The type is private to `object_store`, its words are not.
fn is_without_etag(error: &object_store::Error) -> bool {
    let mut link: Option<&dyn std::error::Error> = Some(error);
    std::iter::from_fn(|| {
        let this = link?;
        link = this.source();
        Some(this.to_string())
    })
    .any(|words| words == "ETag Header missing from response")
}

#[async_trait]
impl Storage for ObjectStorage {
    fn url(&self) -> &str {
        &self.url
    }

    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put> {
        let path = self.path("put", key)?;
        self.retried("put", key, || self.try_put(&path, content)).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path("get", key)?;
        if range.start >= range.end {
            // No store reads nothing. Whether the object reaches that far can still be said.
            let Some(info) = self.head(key).await? else {
                return Err(Error::Storage {
                    op: "get",
                    object: self.name(key),
                    kind: StorageErrorKind::NotFound,
                    message: "it is not there".into(),
                });
            };
            return if range.end <= info.size {
                Ok(Bytes::new())
            } else {
                Err(self.too_short(key, info.size, &range))
            };
        }
        self.retried("get", key, || self.try_get(&path, key, range.clone())).await?
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path("head", key)?;
        let meta = self.retried("head", key, || self.look(&path)).await?;
        Ok(meta.as_ref().and_then(|meta| self.info(meta)))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let below = self.directory("list", prefix)?;
        let after = after.map(|after| self.path("list", after)).transpose()?;
        self.retried("list", prefix, || self.try_list(&below, after.as_ref(), limit)).await
    }

    async fn list_names(&self, prefix: &str) -> Result<Vec<String>> {
        let below = self.directory("list", prefix)?;
        let some = (!below.as_ref().is_empty()).then_some(&below);
        let listed = self.retried("list", prefix, || self.ask(self.store.list_with_delimiter(some))).await?;
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|path| Some(path.filename()?.to_owned())).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let paths = keys.iter().map(|key| self.path("delete", key)).collect::<Result<Vec<_>>>()?;
        let Some(first) = keys.first() else { return Ok(()) };
        self.retried("delete", first, || self.try_delete(&paths)).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::storage::{check, open, probe};

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    }

    fn at(url: &str) -> Arc<dyn Storage> {
        open(&url.parse().expect("a URL"), RetryPolicy::default()).expect("storage")
    }

    #[test]
    fn objects_in_memory_and_in_a_directory() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = format!("file://{}/not there yet", home.path().display());
        for url in ["memory://object-tests/below", &directory] {
            let storage = at(url);
            run(async {
                assert_eq!(storage.list("", None, 10).await.expect("an empty list"), []);
                assert_eq!(storage.list_names("").await.expect("no names"), Vec::<String>::new());
                assert_eq!(storage.head("a/b").await.expect("an answer"), None);
                storage.delete(&["a/b".to_owned()]).await.expect("nothing to delete is no error");
                probe(&*storage).await.expect("create-only writes work");
                probe(&*storage).await.expect("a second time, too");
                let report = check(&*storage).await;
                assert!(report.is_ok() && report.steps.len() == 6, "{report:?}");
                let left = storage.list("", None, 10).await.expect("a list");
                assert_eq!(left.iter().map(|info| info.key.as_str()).collect::<Vec<_>>(), ["put-if-absent"]);
            });
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let storage = ObjectStorage::new(Arc::new(InMemory::new()), "memory://keys", RetryPolicy::default());
        for key in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\nb"] {
            let error = run(storage.put_new(key, &[])).expect_err(key);
            assert!(error.to_string().contains("not a key"), "{error}");
        }
    }
}
