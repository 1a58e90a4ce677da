//! What there is in storage, from listings. Keys that are not vwal's are passed over.

use crate::error::Result;
use crate::storage::keys::{self, Key};
use crate::storage::{ObjectInfo, Storage};
use crate::types::{Level, LogId};

/// Objects that one request of a listing asks for.
const LIST_CHUNK: usize = 1000;

/// A bundle, as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Its log.
    pub log_id: LogId,
    /// Its level.
    pub level: Level,
    /// Its first frame, or the last one of a snapshot.
    pub frame_no: u64,
    /// Bytes of the object (without those of its parts).
    pub size: u64,
    /// When it was written, microseconds since 1970, by the clock of the store.
    pub modified_us: u64,
}

impl Head {
    /// Its key.
    pub fn key(&self) -> String {
        keys::head_key(self.log_id, self.level, self.frame_no)
    }

    /// The bundle that a listing shows. `None`: it is something else.
    pub fn of(info: &ObjectInfo) -> Option<Head> {
        match Key::parse(&info.key)? {
            Key::Head { log_id, level, frame_no } => {
                Some(Head { log_id, level, frame_no, size: info.size, modified_us: info.modified_us })
            }
            _ => None,
        }
    }
}

/// A part of a bundle, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartObject {
    /// Its key.
    pub key: String,
    /// Level of its bundle.
    pub level: Level,
    /// First frame of its bundle, or the last one of a snapshot.
    pub frame_no: u64,
    /// Nonce of its bundle.
    pub nonce: u64,
    /// Its number, from 1.
    pub part: u32,
    /// Bytes.
    pub size: u64,
    /// When it was written, microseconds since 1970, by the clock of the store.
    pub modified_us: u64,
}

/// The logs that have anything in storage, oldest first.
pub async fn logs(storage: &dyn Storage) -> Result<Vec<LogId>> {
    let names = storage.list_names("").await?;
    Ok(names
        .iter()
        .filter_map(|name| {
            let id: LogId = name.parse().ok()?;
            // There is one way to write an id.
            (id.to_string() == *name).then_some(id)
        })
        .collect())
}

/// The bundles of a level that may hold frames from `from_frame_no` on, newest first, at most `limit`.
///
/// These are the ones that begin (snapshots: end) at or behind that frame, and the one before them, which may contain it.
pub async fn list(
    storage: &dyn Storage,
    log_id: LogId,
    level: Level,
    from_frame_no: u64,
    limit: usize,
) -> Result<Vec<Head>> {
    let mut heads = Vec::new();
    let mut listing = Listing::new(keys::level_prefix(log_id, level), None);
    while heads.len() < limit
        && let Some(chunk) = listing.next(storage, limit - heads.len()).await?
    {
        for head in chunk.iter().filter_map(Head::of) {
            heads.push(head);
            if head.frame_no <= from_frame_no || heads.len() == limit {
                return Ok(heads);
            }
        }
    }
    Ok(heads)
}

/// The bundles of a level that begin (snapshots: end) at or before `frame_no`, newest first, at most `limit`.
pub async fn list_up_to(
    storage: &dyn Storage,
    log_id: LogId,
    level: Level,
    frame_no: u64,
    limit: usize,
) -> Result<Vec<Head>> {
    let mut heads = Vec::new();
    // Keys count down: those behind the key of the next frame are of this frame and the ones before it.
    let after = frame_no.checked_add(1).map(|next| keys::head_key(log_id, level, next));
    let mut listing = Listing::new(keys::level_prefix(log_id, level), after);
    while heads.len() < limit
        && let Some(chunk) = listing.next(storage, limit - heads.len()).await?
    {
        heads.extend(chunk.iter().filter_map(Head::of).filter(|head| head.frame_no <= frame_no));
    }
    heads.truncate(limit);
    Ok(heads)
}

/// All parts of bundles of a log, those that belong to no bundle included.
pub async fn parts(storage: &dyn Storage, log_id: LogId) -> Result<Vec<PartObject>> {
    let mut found = Vec::new();
    let mut listing = Listing::new(keys::parts_prefix(log_id), None);
    while let Some(chunk) = listing.next(storage, LIST_CHUNK).await? {
        found.extend(chunk.into_iter().filter_map(|info| match Key::parse(&info.key)? {
            Key::Part { level, frame_no, nonce, part, .. } => Some(PartObject {
                level,
                frame_no,
                nonce,
                part,
                size: info.size,
                modified_us: info.modified_us,
                key: info.key,
            }),
            _ => None,
        }));
    }
    Ok(found)
}

/// A listing in chunks: objects that are not vwal's may stand before the ones that are looked for.
struct Listing {
    prefix: String,
    after: Option<String>,
    at_end: bool,
}

impl Listing {
    fn new(prefix: String, after: Option<String>) -> Listing {
        Listing { prefix, after, at_end: false }
    }

    /// The next chunk. `None`: that was all.
    async fn next(&mut self, storage: &dyn Storage, limit: usize) -> Result<Option<Vec<ObjectInfo>>> {
        if self.at_end {
            return Ok(None);
        }
        let limit = limit.min(LIST_CHUNK);
        let chunk = storage.list(&self.prefix, self.after.as_deref(), limit).await?;
        self.at_end = chunk.len() < limit;
        if let Some(last) = chunk.last() {
            self.after = Some(last.key.clone());
        }
        Ok(Some(chunk))
    }
}
