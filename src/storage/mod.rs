//! Object storage: named, immutable objects behind a small interface of our own.
//!
//! Two layers. [`Storage`] is what vwal asks of an object store: put an object that is not there yet, read a range, list,
//! delete. One implementation ([`ObjectStorage`]) serves every backend of the crate `object_store`; it retries what may be
//! retried, settles writes whose outcome is unknown, and turns errors into ours. [`bundles`] stands on it and knows what
//! the objects are.
//!
//! Everything here is asynchronous, and runs on the threads of `ship` and of the command line, never inside a call of
//! SQLite.

mod backend;
pub mod bundles;
#[cfg(feature = "https")]
mod cloud;
mod failure;
pub mod keys;
mod local;
pub mod merge;
mod object;
mod probe;
mod retry;
mod runtime;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::options::StorageUrl;
pub(crate) use backend::{Clients, open_for_keeper, open_for_shipper};
pub use backend::{open, provide};
pub(crate) use local::Place;
pub use object::ObjectStorage;
pub use probe::{PROBE_KEY, ProbeReport, ProbeStep, check, probe};
pub use retry::RetryPolicy;
pub use runtime::runtime;

use crate::error::Result;

/// How a create-only write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is there now, durably, with exactly these bytes: this call (or an attempt of it whose answer was lost)
    /// made it.
    Created,
    /// There is an object of that key with other bytes. It has not been touched.
    Taken,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key, relative to the root of the storage.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When the store says it was written, microseconds since 1970. By the store's clock.
    pub modified_us: u64,
}

/// What vwal asks of an object store. Keys are relative to the root that the URL names, with `/` between their parts.
///
/// Every operation retries what may be retried for as long as the [`RetryPolicy`] says, and is then an
/// [`Error::Storage`](crate::Error::Storage) that names the operation and the object, never a secret.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// Where it is, for people. Holds no secrets.
    fn url(&self) -> &str;

    /// Create an object. An existing one is never changed (`If-None-Match: *`, or what the backend has in its place).
    ///
    /// When an attempt has an unknown outcome (a timeout, a broken connection), it is repeated; an object that is then
    /// found there is read back and compared.
    ///
    /// After an error, too, the outcome is unknown: the object may be there, or come to be there later. Whoever goes on
    /// must put the same bytes under this key again.
    async fn put_new(&self, key: &str, content: &[Bytes]) -> Result<Put>;

    /// Read a range of an object: exactly the bytes `range`, which must lie within it. An object that is not there is an
    /// error of the kind `NotFound`.
    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// What a listing would say of one object; `None`: it is not there.
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>>;

    /// Objects whose keys begin with `prefix` (which ends with `/` or is empty) and are greater than `after`, ascending,
    /// at most `limit`.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<ObjectInfo>>;

    /// The names directly below `prefix` that have objects below them, ascending, without slashes. Some servers go on
    /// showing one whose objects have all been deleted.
    async fn list_names(&self, prefix: &str) -> Result<Vec<String>>;

    /// Delete objects. One that is not there is no error.
    async fn delete(&self, keys: &[String]) -> Result<()>;
}
