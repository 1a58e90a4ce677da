//! Verifying what is in storage: every object, the continuity of frames, and that each commit can be restored.
//!
//! Everything that is wrong is collected as a [`Finding`]; verifying goes on. What is worth knowing and does no harm is a
//! note. Nothing is changed.

mod coverage;
mod data;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures::stream::{self, StreamExt};

use super::lineage::{self, LogEnd, NoLog};
use super::plan::Known;
use super::run::block_on;
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::Content;
use crate::options::StorageUrl;
use crate::storage::bundles::{Bundle, Head};
use crate::storage::keys::{self, Key};
use crate::storage::{self, ObjectInfo, RetryPolicy, Storage};
use crate::types::{Level, LogId};

/// Bundles that are looked at at the same time.
const AT_ONCE: usize = 8;
/// Objects that one request of a listing asks for.
const LIST_CHUNK: usize = 1000;
/// So many keys are named where there may be any number.
const NAMED: usize = 3;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The end of each object: what it is, and its indexes.
    Indexes,
    /// Every byte: all checksums, and everything is decoded.
    Data,
}

/// Something that is not as it was put there, or does not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object, or the log.
    pub object: String,
    /// Byte offset in it, where there is one.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.object)?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What there is of a level of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelSummary {
    /// The level.
    pub level: Level,
    /// Bundles.
    pub bundles: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// A log in storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// The log.
    pub log_id: LogId,
    /// What is there of each level, from 0 up, then the snapshots.
    pub levels: Vec<LevelSummary>,
    /// The earliest commit that can be restored: the end of the oldest full image.
    pub first_frame_no: Option<u64>,
    /// The last frame.
    pub end_frame_no: Option<u64>,
    /// Commits that can be restored, each on its own.
    pub restorable: u64,
    /// The log that took over.
    pub successor: Option<LogId>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Logs, oldest first.
    pub logs: Vec<LogSummary>,
    /// Objects that are vwal's.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is worth saying, and is not wrong.
    pub notes: Vec<String>,
}

impl Verified {
    fn find(&mut self, object: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding { object: object.into(), offset: None, what: what.into() });
    }

    /// Damage is a finding; that storage cannot be read is an error of the whole.
    fn find_error(&mut self, error: Error) -> Result<()> {
        match error {
            Error::DamagedObject { object, offset, what } => {
                self.findings.push(Finding { object, offset, what });
                Ok(())
            }
            Error::Storage { kind: StorageErrorKind::NotFound, object, .. } => {
                self.notes.push(format!("'{object}' was deleted while this was looking"));
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// How far verifying is: bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bundles that were looked at.
    pub bundles: u64,
    /// All there are.
    pub bundles_total: u64,
}

/// Verify what is at `url`. Blocks; `progress` is told how far it is.
pub fn verify(
    url: &StorageUrl,
    policy: RetryPolicy,
    depth: Depth,
    mut progress: impl FnMut(Advance),
) -> Result<Verified> {
    block_on(async {
        let storage = storage::open(url, policy)?;
        verify_in(&storage, depth, &mut progress).await
    })
}

/// A part, by what its key says: log, level, frame, nonce, number.
type PartName = (LogId, Level, u64, u64, u32);

/// What a listing of everything shows.
#[derive(Default)]
struct Listing {
    logs: BTreeMap<LogId, Vec<Head>>,
    parts: BTreeMap<PartName, ObjectInfo>,
    foreign: Vec<String>,
}

/// Verify what is in an open storage.
pub async fn verify_in(
    storage: &Arc<dyn Storage>,
    depth: Depth,
    progress: &mut dyn FnMut(Advance),
) -> Result<Verified> {
    let mut verified = Verified::default();
    let mut listing = list(&**storage, &mut verified).await?;
    note_foreign(&listing.foreign, &mut verified);
    let bundles_total = listing.logs.values().map(|heads| heads.len() as u64).sum();
    let mut bundles = 0;
    let mut ends = Vec::new();
    for (log_id, heads) in std::mem::take(&mut listing.logs) {
        let mut opened = Vec::new();
        let mut broken = BTreeSet::new();
        let mut looks = stream::iter(heads.iter().copied())
            .map(|head| look(storage, head, depth, &listing.parts))
            .buffer_unordered(AT_ONCE);
        while let Some((head, looked)) = looks.next().await {
            bundles += 1;
            progress(Advance { bundles, bundles_total });
            for error in looked.errors {
                verified.find_error(error)?;
            }
            match looked.known {
                Some((known, nonce)) => {
                    opened.push((head, known, nonce, looked.last_commit_us, looked.commits))
                }
                None => {
                    broken.insert((head.level, head.frame_no));
                }
            }
        }
        drop(looks);
        let used: BTreeSet<(Level, u64, u64)> =
            opened.iter().map(|(head, _, nonce, ..)| (head.level, head.frame_no, *nonce)).collect();
        listing.parts.retain(|&(log, level, frame_no, nonce, _), _| {
            // Those of a bundle that cannot be read may well be in use.
            let is_used = broken.contains(&(level, frame_no)) || used.contains(&(level, frame_no, nonce));
            log != log_id || !is_used
        });
        let summary = coverage::check(&**storage, log_id, &heads, &opened, &mut verified);
        let last_commit_us = opened.iter().max_by_key(|it| it.1.end_frame_no).map(|it| it.3);
        ends.push(LogEnd {
            log_id,
            end_frame_no: summary.end_frame_no.unwrap_or(0),
            last_commit_us,
            successor: summary.successor,
            is_damaged: false,
        });
        verified.logs.push(summary);
    }
    note_leftovers(&listing.parts, &mut verified);
    check_lineage(&**storage, &ends, &mut verified);
    Ok(verified)
}

async fn list(storage: &dyn Storage, verified: &mut Verified) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut after: Option<String> = None;
    loop {
        let chunk = storage.list("", after.as_deref(), LIST_CHUNK).await?;
        let is_last = chunk.len() < LIST_CHUNK;
        after = chunk.last().map(|info| info.key.clone());
        for info in chunk {
            match Key::parse(&info.key) {
                Some(Key::Head { log_id, .. }) => {
                    listing.logs.entry(log_id).or_default().extend(Head::of(&info));
                }
                Some(Key::Part { log_id, level, frame_no, nonce, part }) => {
                    let size = info.size;
                    listing.parts.insert((log_id, level, frame_no, nonce, part), info);
                    verified.objects += 1;
                    verified.bytes = verified.bytes.saturating_add(size);
                    continue;
                }
                Some(Key::Probe) => {}
                None => {
                    listing.foreign.push(info.key);
                    continue;
                }
            }
            verified.objects += 1;
            verified.bytes = verified.bytes.saturating_add(info.size);
        }
        if is_last || after.is_none() {
            return Ok(listing);
        }
    }
}

/// What looking at a bundle gave.
#[derive(Default)]
struct Looked {
    /// What it is, and its nonce; `None`: it cannot be used.
    known: Option<(Known, u64)>,
    last_commit_us: u64,
    commits: u64,
    errors: Vec<Error>,
}

async fn look(
    storage: &Arc<dyn Storage>,
    head: Head,
    depth: Depth,
    parts: &BTreeMap<PartName, ObjectInfo>,
) -> (Head, Looked) {
    let mut looked = Looked::default();
    let bundle = match Bundle::open(storage, &head).await {
        Ok(bundle) => bundle,
        Err(error) => {
            looked.errors.push(error);
            return (head, looked);
        }
    };
    let trailer = *bundle.trailer();
    for part in bundle.parts() {
        let name = (head.log_id, head.level, head.frame_no, trailer.nonce, part.number);
        let what = match parts.get(&name) {
            Some(info) if info.size == part.size => continue,
            Some(info) => format!("its part {} has {} bytes, expected {}", part.number, info.size, part.size),
            None => format!("its part {} is missing", part.number),
        };
        looked.errors.push(bundle.object().damaged(None, what));
    }
    if looked.errors.is_empty() {
        looked.errors = data::check(&bundle, depth).await;
    }
    if looked.errors.is_empty() {
        looked.known = Some((Known::new(&trailer, bundle.stored_len()), trailer.nonce));
    }
    looked.last_commit_us = trailer.last_commit_us;
    looked.commits = trailer.commit_count;
    (head, looked)
}

fn note_foreign(foreign: &[String], verified: &mut Verified) {
    if !foreign.is_empty() {
        let named: Vec<&str> = foreign.iter().take(NAMED).map(String::as_str).collect();
        verified.notes.push(format!(
            "{} objects are not vwal's, and were left alone: {}{}",
            foreign.len(),
            named.join(", "),
            if foreign.len() > NAMED { ", ..." } else { "" }
        ));
    }
}

fn note_leftovers(parts: &BTreeMap<PartName, ObjectInfo>, verified: &mut Verified) {
    if !parts.is_empty() {
        let bytes: u64 = parts.values().map(|info| info.size).fold(0, u64::saturating_add);
        verified.notes.push(format!(
            "{} objects with {bytes} bytes were left behind by a writer that was interrupted; expiring removes them",
            parts.len()
        ));
    }
}

fn check_lineage(storage: &dyn Storage, ends: &[LogEnd], verified: &mut Verified) {
    match lineage::choose(ends, None) {
        Ok(lineage) => {
            if let Some(awaited) = lineage.awaited {
                verified.notes.push(format!("log {awaited} took over, and has nothing in storage yet"));
            }
        }
        Err(NoLog::Empty) => verified.notes.push("there is no log of vwal".into()),
        Err(NoLog::Several(live)) => {
            let ids: Vec<String> = live.iter().map(|end| end.log_id.to_string()).collect();
            verified.notes.push(format!("there are several logs that nothing took over: {}", ids.join(", ")));
        }
        Err(problem @ (NoLog::Circle | NoLog::Unknown(_))) => {
            verified.find(storage.url(), format!("it {problem}"));
        }
    }
}

/// What errors call a log.
fn log_name(storage: &dyn Storage, log_id: LogId) -> String {
    format!("{}/{}", storage.url().trim_end_matches('/'), keys::log_prefix(log_id))
}

fn is_image(known: &Known) -> bool {
    known.content == Content::FullImage
}
