//! From a URL and the environment to something that holds objects.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Arc, LazyLock, Weak};

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
/// For stores that vwal has no scheme for, and for tests. It is used on several threads and on runtimes that come and go, so its
/// connections must not belong to one.
pub fn provide(name: &str, store: Arc<dyn ObjectStore>) {
    MEMORY.lock().insert(name.to_owned(), Provided(store, false));
}

/// The storage that `url` names. Nothing is read, written or asked of the network yet.
///
/// Credentials and settings of the cloud backends come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`), or from the
/// machine's metadata service.
///
/// Connections belong to the runtime on which they were made, and stand still when that one does. So storage is opened for each
/// runtime.
///
/// Of a `file:` URL the first directory that is found, or that the first put makes, is the one that is meant for as long as
/// the result lives: when the path comes to name another one, or none, that is an error.
pub fn open(url: &StorageUrl, policy: RetryPolicy) -> Result<Arc<dyn Storage>> {
    open_known(url, policy, Known::at_first_sight(), None)
}

/// The same for the task that ships a log to `place`. `clients` are those of its runtime.
pub(crate) fn open_for_shipper(
    url: &StorageUrl,
    policy: RetryPolicy,
    place: &Place,
    clients: &Clients,
) -> Result<Arc<dyn Storage>> {
    open_known(url, policy, place.of_shipper(), Some(clients))
}

/// The same for the task that keeps what was shipped to `place`.
pub(crate) fn open_for_keeper(
    url: &StorageUrl,
    policy: RetryPolicy,
    place: &Place,
    clients: &Clients,
) -> Result<Arc<dyn Storage>> {
    open_known(url, policy, place.of_keeper(), Some(clients))
}

/// The clients of the databases that share a runtime: those whose storage is in one bucket share the connections to it. Of a client
/// that nobody uses any more nothing is kept.
#[derive(Default)]
pub(crate) struct Clients {
    made: Mutex<Vec<Client>>,
}

struct Client {
    scheme: Scheme,
    bucket: String,
    policy: RetryPolicy,
    /// A client keeps the settings that it found when it was made. Who finds others gets another client.
    environment: Vec<(OsString, OsString)>,
    store: Weak<dyn ObjectStore>,
    in_order: bool,
}

impl Clients {
    fn get(
        &self,
        url: &StorageUrl,
        policy: &RetryPolicy,
        make: impl FnOnce() -> Result<(Arc<dyn ObjectStore>, bool)>,
    ) -> Result<(Arc<dyn ObjectStore>, bool)> {
        let environment: Vec<_> = std::env::vars_os().collect();
        let mut made = self.made.lock();
        made.retain(|client| client.store.strong_count() > 0);
        let same = |client: &&Client| {
            client.scheme == url.scheme()
                && client.bucket == url.bucket()
                && client.policy == *policy
                && client.environment == environment
        };
        if let Some((store, in_order)) =
            made.iter().find(same).and_then(|client| Some((client.store.upgrade()?, client.in_order)))
        {
            return Ok((store, in_order));
        }
        let (store, in_order) = make()?;
        made.push(Client {
            scheme: url.scheme(),
            bucket: url.bucket().to_owned(),
            policy: *policy,
            environment,
            store: Arc::downgrade(&store),
            in_order,
        });
        Ok((store, in_order))
    }
}

/// `clients`: those that may be shared. With them a directory is asked one thing at a time, so that one that does not answer holds no
/// more than one of the threads that are for all databases.
fn open_known(
    url: &StorageUrl,
    policy: RetryPolicy,
    known: Arc<Mutex<Known>>,
    clients: Option<&Clients>,
) -> Result<Arc<dyn Storage>> {
    if url.has_placeholder() {
        return Err(Error::Usage(format!(
            "'{url}' has a placeholder that only the name of a database fills"
        )));
    }
    let make = || -> Result<(Arc<dyn ObjectStore>, bool)> {
        match url.scheme() {
            Scheme::File => {
                let store = LocalStore::new(url.directory(), known);
                Ok((Arc::new(if clients.is_some() { store.one_at_a_time() } else { store }), true))
            }
            Scheme::Memory => {
                let Provided(store, in_order) =
                    MEMORY.lock().entry(url.bucket().to_owned()).or_default().clone();
                Ok((store, in_order))
            }
            #[cfg(feature = "s3")]
            Scheme::S3 => cloud::s3(url, &policy),
            #[cfg(feature = "gcs")]
            Scheme::Gcs => cloud::gcs(url, &policy),
            #[cfg(feature = "azure")]
            Scheme::Azure => cloud::azure(url, &policy),
            // Refused when the URL was parsed.
            #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
            _ => Err(Error::Usage(format!("this build of vwal cannot use '{url}'"))),
        }
    };
    let (store, in_order) = match clients {
        Some(clients) if !matches!(url.scheme(), Scheme::File | Scheme::Memory) => {
            clients.get(url, &policy, make)?
        }
        _ => make()?,
    };
    let mut storage = ObjectStorage::new(store, url.to_string(), policy);
    if url.scheme() != Scheme::File {
        storage = storage.below(&url.prefix());
    }
    Ok(Arc::new(if in_order { storage.lists_in_order() } else { storage }))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn databases_share_the_client_of_their_bucket_for_as_long_as_one_uses_it() {
        let clients = Clients::default();
        let get = |url: &str, policy| {
            let made = || Ok((Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, true));
            clients.get(&url.parse().expect("a URL"), &policy, made).expect("a client").0
        };
        let policy = RetryPolicy::default();
        let first = get("memory://one/a.db", policy);
        assert!(Arc::ptr_eq(&first, &get("memory://one/b.db", policy)));
        assert!(!Arc::ptr_eq(&first, &get("memory://two/a.db", policy)));
        assert!(!Arc::ptr_eq(&first, &get("memory://one/a.db", RetryPolicy::once(policy.deadline))));
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_none(), "nothing is kept of it");
        get("memory://one/a.db", policy);
    }
}
