//! Storage in memory that notes after how many operations on the disk each object was put.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::Result;
use crate::storage::{ObjectInfo, Put, Storage};
use crate::testing::io::TestIo;
use crate::testing::storage::TestStorage;

/// See the module.
pub struct Stored {
    inner: Arc<TestStorage>,
    io: TestIo,
    puts: Mutex<Vec<(usize, String)>>,
}

impl Stored {
    /// Empty, beside a disk.
    pub fn new(io: &TestIo) -> Arc<Stored> {
        Arc::new(Stored { inner: TestStorage::new(), io: io.clone(), puts: Mutex::default() })
    }

    /// What was there after so many operations on the disk, beside another disk.
    pub fn at(&self, operations: usize, io: &TestIo) -> Arc<Stored> {
        let there = Stored::new(io);
        for (put, key) in &*self.puts.lock() {
            if *put <= operations
                && let Some(bytes) = self.inner.object(key)
            {
                there.inner.plant(key, bytes);
                there.puts.lock().push((0, key.clone()));
            }
        }
        there
    }

    /// How many objects were there after so many operations on the disk.
    pub fn count_at(&self, operations: usize) -> u64 {
        self.puts.lock().iter().filter(|(put, _)| *put <= operations).count() as u64
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored")
    }
}

#[async_trait]
impl Storage for Stored {
    fn url(&self) -> &str {
        self.inner.url()
    }

    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put> {
        let operations = self.io.operations();
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
