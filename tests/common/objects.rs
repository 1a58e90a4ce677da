//! A storage in memory whose objects a test may damage.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use vwal::storage::{ObjectInfo, Put, Storage};
use vwal::{Error, Result, StorageErrorKind};

/// Objects by key.
#[derive(Debug, Default)]
pub struct Objects(Mutex<BTreeMap<String, Bytes>>);

impl Objects {
    pub fn new() -> Arc<Objects> {
        Arc::default()
    }

    /// The same objects, to be changed on their own.
    pub fn copy(&self) -> Arc<Objects> {
        Arc::new(Objects(Mutex::new(self.all().clone())))
    }

    pub fn all(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap()
    }

    pub fn storage(self: &Arc<Objects>) -> Arc<dyn Storage> {
        Arc::clone(self) as _
    }
}

#[async_trait]
impl Storage for Objects {
    fn url(&self) -> &str {
        "test://objects"
    }

    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put> {
        let bytes: Bytes = content.concat().into();
        let mut objects = self.all();
        match objects.get(key) {
            Some(there) if *there != bytes => Ok(Put::Taken),
            _ => {
                objects.insert(key.to_owned(), bytes);
                Ok(Put::Created)
            }
        }
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let error = |kind, message: &str| Error::Storage {
            op: "get",
            object: key.to_owned(),
            kind,
            message: message.to_owned(),
        };
        let objects = self.all();
        let object = objects.get(key).ok_or_else(|| error(StorageErrorKind::NotFound, "not there"))?;
        let (start, end) = (range.start as usize, range.end as usize);
        match start <= end && end <= object.len() {
            true => Ok(object.slice(start..end)),
            false => Err(error(StorageErrorKind::Other, "a range outside of the object")),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        Ok(self.all().get(key).map(|object| info(key, object)))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>> {
        let objects = self.all();
        let wanted = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(wanted.map(|(key, object)| info(key, object)).take(limit).collect())
    }

    async fn list_names(&self, prefix: &str) -> Result<Vec<String>> {
        let objects = self.all();
        let names = objects.keys().filter_map(|key| key.strip_prefix(prefix)?.split_once('/'));
        let mut names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let mut objects = self.all();
        for key in keys {
            objects.remove(key);
        }
        Ok(())
    }
}

fn info(key: &str, object: &Bytes) -> ObjectInfo {
    ObjectInfo { key: key.to_owned(), size: object.len() as u64, modified_us: 1_700_000_000_000_000 }
}
