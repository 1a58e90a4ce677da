//! From a URL and the environment to something that holds objects.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::options::{Scheme, StorageUrl};
#[cfg(feature = "https")]
use crate::storage::cloud;
use crate::storage::local::{Known, LocalStore, Place};
use crate::storage::{ObjectStorage, RetryPolicy, Storage};

/// The stores `memory://name` of this process.
static MEMORY: LazyLock<Mutex<HashMap<String, Provided>>> = LazyLock::new(Mutex::default);

/// A store by name, and whether it lists in order.
#[derive(Clone)]
struct Provided(Arc<dyn ObjectStore>, bool);

impl Default for Provided {
    fn default() -> Self {
        Provided(Arc::new(InMemory::new()), true)
    }
}

/// Let `memory://name` stand for an object store of the application's own, from now on and in this process.
///
/// For stores that vwal has no scheme for, and for tests. It is used on several threads with runtimes of their own, so its
/// connections must not belong to one.
pub fn provide(name: &str, store: Arc<dyn ObjectStore>) {
    MEMORY.lock().insert(name.to_owned(), Provided(store, false));
}

/// The storage that `url` names. Nothing is read, written or asked of the network yet.
///
/// Credentials and settings of the cloud backends come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`), or from the
/// machine's metadata service.
///
/// Connections belong to the runtime on which they were made, and stand still when that one does. So each thread that has
/// a runtime of its own opens its own storage.
///
/// Of a `file:` URL the first directory that is found, or that the first put makes, is the one that is meant for as long as
/// the result lives: when the path comes to name another one, or none, that is an error.
pub fn open(url: &StorageUrl, policy: RetryPolicy) -> Result<Arc<dyn Storage>> {
    open_known(url, policy, Known::at_first_sight())
}

/// The same for the thread that ships a log to `place`.
pub(crate) fn open_for_shipper(
    url: &StorageUrl,
    policy: RetryPolicy,
    place: &Place,
) -> Result<Arc<dyn Storage>> {
    open_known(url, policy, place.of_shipper())
}

/// The same for the thread that keeps what was shipped to `place`.
pub(crate) fn open_for_keeper(
    url: &StorageUrl,
    policy: RetryPolicy,
    place: &Place,
) -> Result<Arc<dyn Storage>> {
    open_known(url, policy, place.of_keeper())
}

fn open_known(url: &StorageUrl, policy: RetryPolicy, known: Arc<Mutex<Known>>) -> Result<Arc<dyn Storage>> {
    if url.has_placeholder() {
        return Err(Error::Usage(format!(
            "'{url}' has a placeholder that only the name of a database fills"
        )));
    }
    let (store, in_order): (Arc<dyn ObjectStore>, bool) = match url.scheme() {
        Scheme::File => (Arc::new(LocalStore::new(url.directory(), known)), true),
        Scheme::Memory => {
            let Provided(store, in_order) = MEMORY.lock().entry(url.bucket().to_owned()).or_default().clone();
            (store, in_order)
        }
        #[cfg(feature = "s3")]
        Scheme::S3 => cloud::s3(url, &policy)?,
        #[cfg(feature = "gcs")]
        Scheme::Gcs => cloud::gcs(url, &policy)?,
        #[cfg(feature = "azure")]
        Scheme::Azure => cloud::azure(url, &policy)?,
        // Refused when the URL was parsed.
        #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
        _ => return Err(Error::Usage(format!("this build of vwal cannot use '{url}'"))),
    };
    let mut storage = ObjectStorage::new(store, url.to_string(), policy);
    if url.scheme() != Scheme::File {
        storage = storage.below(&url.prefix());
    }
    Ok(Arc::new(if in_order { storage.lists_in_order() } else { storage }))
}
