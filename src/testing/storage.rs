//! A storage in memory that counts what is asked of it, for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::{Error, Result, StorageErrorKind};
use crate::storage::{ObjectInfo, Put, Storage};

/// Bytes that LZ4 cannot make much smaller, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(step).collect()
}

/// Requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub puts: u64,
    pub gets: u64,
    pub lists: u64,
    pub deletes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct TestStorage {
    objects: Mutex<BTreeMap<String, (Bytes, u64)>>,
    requests: Mutex<Requests>,
    /// The clock of the store, microseconds since 1970.
    pub clock_us: AtomicU64,
    /// This many puts from now on fail.
    pub failing_puts: AtomicU64,
}

impl TestStorage {
    pub fn new() -> Arc<TestStorage> {
        Arc::default()
    }

    /// Requests since the last call.
    pub fn requests(&self) -> Requests {
        std::mem::take(&mut *self.requests.lock())
    }

    pub fn keys(&self) -> Vec<String> {
        self.objects.lock().keys().cloned().collect()
    }

    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.objects.lock().get(key).map(|(bytes, _)| bytes.clone())
    }

    /// Put anything anywhere.
    pub fn plant(&self, key: &str, bytes: impl Into<Bytes>) {
        let modified_us = self.clock_us.load(Ordering::Relaxed);
        self.objects.lock().insert(key.to_owned(), (bytes.into(), modified_us));
    }

    fn missing(&self, op: &'static str, key: &str) -> Error {
        Error::Storage {
            op,
            object: format!("{}/{key}", self.url()),
            kind: StorageErrorKind::NotFound,
            message: "there is no such object".into(),
        }
    }
}

#[async_trait]
impl Storage for TestStorage {
    fn url(&self) -> &str {
        "memory://test"
    }

    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put> {
        self.requests.lock().puts += 1;
        tokio::task::yield_now().await;
        let fails =
            self.failing_puts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if fails.is_ok() {
            return Err(Error::Storage {
                op: "put",
                object: format!("{}/{key}", self.url()),
                kind: StorageErrorKind::Unavailable,
                message: "it was told to fail".into(),
            });
        }
        let bytes: Bytes = content.concat().into();
        let there = self.object(key);
        if there.is_none() {
            self.plant(key, bytes);
            return Ok(Put::Created);
        }
        Ok(if there == Some(bytes) { Put::Created } else { Put::Taken })
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.requests.lock().gets += 1;
        tokio::task::yield_now().await;
        let bytes = self.object(key).ok_or_else(|| self.missing("get", key))?;
        if range.end > bytes.len() as u64 {
            return Err(Error::DamagedObject {
                object: format!("{}/{key}", self.url()),
                offset: Some(range.start),
                what: "it is too short".into(),
            });
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let objects = self.objects.lock();
        Ok(objects.get(key).map(|(bytes, modified_us)| ObjectInfo {
            key: key.to_owned(),
            size: bytes.len() as u64,
            modified_us: *modified_us,
        }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.requests.lock().lists += 1;
        tokio::task::yield_now().await;
        let objects = self.objects.lock();
        let wanted = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|a| key.as_str() > a));
        let info = |(key, (bytes, modified_us)): (&String, &(Bytes, u64))| ObjectInfo {
            key: key.clone(),
            size: bytes.len() as u64,
            modified_us: *modified_us,
        };
        Ok(wanted.take(limit).map(info).collect())
    }

    async fn list_names(&self, prefix: &str) -> Result<Vec<String>> {
        self.requests.lock().lists += 1;
        let mut names: Vec<String> = self
            .keys()
            .iter()
            .filter_map(|key| key.strip_prefix(prefix)?.split_once('/').map(|(name, _)| name.to_owned()))
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.requests.lock().deletes += 1;
        let mut objects = self.objects.lock();
        for key in keys {
            objects.remove(key);
        }
        Ok(())
    }
}

/// Run `work` on a runtime like the ones of vwal's threads.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(work)
}
