//! Whether a store can do what vwal needs: above all, create an object only when it is not there.
//!
//! Two primaries that ship to the same place are told apart by that alone. Some servers take the condition and ignore it,
//! and would let the second one overwrite what the first one put there.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, Result, StorageErrorKind};
use crate::storage::{Put, Storage};

/// The object that [`probe`] leaves at the root of the storage.
pub const PROBE_KEY: &str = "put-if-absent";

/// One thing that was tried.
#[derive(Clone, Debug)]
pub struct ProbeStep {
    /// What was tried, for people.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What is wrong; `None`: it works.
    pub error: Option<Error>,
}

/// What [`probe`] and [`check`] tried, in that order.
#[derive(Clone, Debug, Default)]
pub struct ProbeReport {
    /// The steps. After one that others depend on has failed, those are not tried.
    pub steps: Vec<ProbeStep>,
}

impl ProbeReport {
    /// Whether everything works.
    pub fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.error.is_none())
    }

    /// The first error.
    pub fn error(&self) -> Option<&Error> {
        self.steps.iter().find_map(|step| step.error.as_ref())
    }

    /// Runs a step; `None`: it failed.
    async fn step<T>(&mut self, name: &'static str, work: impl Future<Output = Result<T>>) -> Option<T> {
        let start = Instant::now();
        let result = work.await;
        let took = start.elapsed();
        let (value, error) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        self.steps.push(ProbeStep { name, took, error });
        value
    }
}

/// Whether the store honours create-only writes, with one object that stays there for the next time.
///
/// A store that does not is an [`Error::Storage`] of the kind `Unsuitable`. Two requests when the object is there already.
pub async fn probe(storage: &dyn Storage) -> Result<ProbeReport> {
    let mut report = ProbeReport::default();
    report.step("create-only writes", create_only(storage, PROBE_KEY)).await;
    match report.error() {
        Some(error) => Err(error.clone()),
        None => Ok(report),
    }
}

/// Tries everything that vwal asks of a store, on objects of its own that it deletes again.
pub async fn check(storage: &dyn Storage) -> ProbeReport {
    let mut report = ProbeReport::default();
    let directory = format!("check-{:016x}/", random());
    let key = format!("{directory}object");
    let content = Bytes::from((0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let written = report
        .step("write", async {
            match storage.put_new(&key, std::slice::from_ref(&content)).await? {
                Put::Created => Ok(()),
                Put::Taken => Err(unsuitable(storage, &key, "a new key is taken")),
            }
        })
        .await;
    if written.is_none() {
        return report;
    }
    report.step("read", read(storage, &key, &content)).await;
    report.step("list", list(storage, &directory, &key, content.len() as u64)).await;
    report
        .step("create-only writes", async {
            match storage.put_new(&key, &[Bytes::from_static(b"other")]).await? {
                Put::Taken => read(storage, &key, &content).await,
                Put::Created => Err(ignores(storage, &key)),
            }
        })
        .await;
    let contested = format!("{directory}contested");
    report.step("two writers at once", race(storage, &contested)).await;
    report
        .step("delete", async {
            let keys = [key.clone(), contested.clone()];
            storage.delete(&keys).await?;
            // Deleting what is not there is no error.
            storage.delete(&keys).await?;
            match storage.list(&directory, None, 1).await?.first() {
                None => Ok(()),
                Some(left) => Err(unsuitable(storage, &left.key, "it is still listed after it was deleted")),
            }
        })
        .await;
    report
}

/// Two puts of different bytes under one key: the second must change nothing.
async fn create_only(storage: &dyn Storage, key: &str) -> Result<()> {
    let bytes = |nonce: u64| {
        Bytes::from(format!(
            "vwal asks whether this store creates an object only when it is not there: {nonce:016x}\n"
        ))
    };
    let first = bytes(random());
    // There from an earlier probe: that the store said so is the proof.
    if storage.put_new(key, std::slice::from_ref(&first)).await? == Put::Taken {
        return Ok(());
    }
    match storage.put_new(key, &[bytes(random())]).await? {
        Put::Created => Err(ignores(storage, key)),
        Put::Taken => read(storage, key, &first).await,
    }
}

async fn read(storage: &dyn Storage, key: &str, content: &Bytes) -> Result<()> {
    let size = content.len();
    for range in [0..size, 0..1, size / 2..size - 1, size - 1..size] {
        let found = storage.get(key, range.start as u64..range.end as u64).await?;
        if found != content.slice(range) {
            return Err(unsuitable(storage, key, "other bytes are read than were written"));
        }
    }
    match storage.head(key).await? {
        Some(info) if info.size == size as u64 => Ok(()),
        Some(info) => {
            Err(unsuitable(storage, key, &format!("it has {} bytes, and should have {size}", info.size)))
        }
        None => Err(unsuitable(storage, key, "it was written, and is not there")),
    }
}

async fn list(storage: &dyn Storage, directory: &str, key: &str, size: u64) -> Result<()> {
    let listed = storage.list(directory, None, 10).await?;
    if listed.len() != 1 || listed[0].key != key || listed[0].size != size {
        return Err(unsuitable(storage, key, "it was written, and a listing does not show it so"));
    }
    if !storage.list(directory, Some(key), 10).await?.is_empty() {
        return Err(unsuitable(storage, key, "a listing from behind it shows it"));
    }
    let name = directory.trim_end_matches('/');
    if !storage.list_names("").await?.iter().any(|found| found == name) {
        return Err(unsuitable(storage, key, "a listing of names does not show it"));
    }
    Ok(())
}

/// Several writers at once: one creates the object, and its bytes are what is there.
async fn race(storage: &dyn Storage, key: &str) -> Result<()> {
    let contents: Vec<Bytes> = (0..8).map(|writer| Bytes::from(format!("writer {writer}"))).collect();
    let puts = contents.iter().map(|content| storage.put_new(key, std::slice::from_ref(content)));
    let results = futures::future::try_join_all(puts).await?;
    let mut winners = contents.iter().zip(&results).filter(|(_, put)| **put == Put::Created);
    match (winners.next(), winners.next()) {
        (Some((content, _)), None) => {
            let found = storage.get(key, 0..content.len() as u64).await?;
            if found == *content { Ok(()) } else { Err(ignores(storage, key)) }
        }
        (None, _) => Err(unsuitable(storage, key, "of several writers at once, none created it")),
        _ => Err(ignores(storage, key)),
    }
}

fn ignores(storage: &dyn Storage, key: &str) -> Error {
    unsuitable(
        storage,
        key,
        "the store overwrites an object that was to be created only if it is not there (If-None-Match: *), so that it \
         cannot keep two primaries apart: use another store, or a newer version of this one",
    )
}

fn unsuitable(storage: &dyn Storage, key: &str, what: &str) -> Error {
    Error::Storage {
        op: "check",
        object: format!("{}/{key}", storage.url().trim_end_matches('/')),
        kind: StorageErrorKind::Unsuitable,
        message: what.to_owned(),
    }
}

/// So that no two probes write the same bytes.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
