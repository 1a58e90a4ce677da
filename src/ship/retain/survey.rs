//! Finding out what retention must know, and doing what it decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::plan::{ExpirePlan, Expired, Item, Known, Reference, plan, unknown};
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::Content;
use crate::options::Retention;
use crate::ship::shipper::TRUST;
use crate::storage::Storage;
use crate::storage::bundles::{self, Bundle, Head};
use crate::types::{Level, LogId};

/// Parts without a head are left alone for this long: their bundle may still be on its way.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Heads of level 0 stay for this long, whatever the rule: they are what fences another primary off. One that has been in
/// touch with storage lately puts its next bundle without asking, and must find that key taken. Twice that, since a put
/// takes a while.
const FENCE_AGE: Duration = Duration::from_secs(2 * TRUST.as_secs());

/// Decide what goes of every log in the storage. Reads listings, and opens the bundles that may be old, and their parents:
/// about as many as go.
pub async fn survey(storage: &Arc<dyn Storage>, retention: &Retention) -> Result<Vec<ExpirePlan>> {
    let mut logs = Vec::new();
    for log_id in bundles::logs(&**storage).await? {
        logs.push(Log::list(storage, log_id).await?);
    }
    // All ages are told from the newest bundle of all logs: a log that has been replaced gets older, too.
    let newest = logs.iter().filter_map(|log| log.newest.as_ref()).max_by_key(|newest| newest.modified_us);
    let Some(&reference) = newest else { return Ok(Vec::new()) };

    let mut plans = Vec::new();
    let images: BTreeMap<LogId, Option<u64>> =
        logs.iter().map(|log| (log.log_id, log.first_image_modified_us())).collect();
    for mut log in logs {
        let longest = retention.longest().and_then(|age| u64::try_from(age.as_micros()).ok());
        let image_us = log.successor.and_then(|successor| images.get(&successor).copied().flatten());
        // The database of any time that is still promised can be had from the log that goes on.
        let is_replaced = image_us
            .zip(longest)
            .is_some_and(|(image_us, longest)| reference.modified_us.saturating_sub(image_us) > longest);
        log.look(storage, retention, &reference, is_replaced).await?;
        let mut plan = plan(log.log_id, &log.items, retention, &reference, is_replaced);
        // Any part of a plan may stay.
        let fence_us = u64::try_from(FENCE_AGE.as_micros()).unwrap_or(u64::MAX);
        plan.delete.retain(|Expired { head, .. }| {
            head.level != Level::ZERO || reference.modified_us.saturating_sub(head.modified_us) > fence_us
        });
        plan.orphans = orphans(storage, log.log_id, ORPHAN_AGE).await?;
        plan.unreadable = log.unreadable;
        plans.push(plan);
    }
    Ok(plans)
}

/// Do what was decided: oldest bundles first, of each one the head before its parts. `progress` hears of each bundle that
/// is gone. Returns how many went.
///
/// It may be called off at any point, and repeated: what stays is always enough for what was promised.
pub async fn expire(
    storage: &Arc<dyn Storage>,
    plan: &ExpirePlan,
    mut progress: impl FnMut(&Head),
) -> Result<u64> {
    let mut count = 0;
    for expired in &plan.delete {
        bundles::delete_bundle(storage, &expired.head).await?;
        count += 1;
        progress(&expired.head);
    }
    for keys in plan.orphans.chunks(1000) {
        storage.delete(keys).await?;
    }
    Ok(count)
}

/// Parts of a log that no head lists, of bundles no part of which was written within `older_than` of the newest object, by
/// the clock of the store. A crash in the middle of writing or deleting a bundle leaves them.
pub async fn orphans(storage: &Arc<dyn Storage>, log_id: LogId, older_than: Duration) -> Result<Vec<String>> {
    let parts = bundles::parts(&**storage, log_id).await?;
    let newest_head = bundles::list_up_to(&**storage, log_id, Level::ZERO, u64::MAX, 1).await?;
    let newest_us = parts
        .iter()
        .map(|part| part.modified_us)
        .chain(newest_head.iter().map(|head| head.modified_us))
        .max()
        .unwrap_or(0);
    let mut by_bundle: BTreeMap<(Level, u64, u64), Vec<_>> = BTreeMap::new();
    for part in parts {
        by_bundle.entry((part.level, part.frame_no, part.nonce)).or_default().push(part);
    }
    let older_than = u64::try_from(older_than.as_micros()).unwrap_or(u64::MAX);
    let mut orphans = Vec::new();
    for ((level, frame_no, nonce), parts) in by_bundle {
        let last_us = parts.iter().map(|part| part.modified_us).max().unwrap_or(u64::MAX);
        if newest_us.saturating_sub(last_us) <= older_than {
            continue;
        }
        let head = bundles::list_up_to(&**storage, log_id, level, frame_no, 1).await?;
        let is_listed = match head.first().filter(|head| head.frame_no == frame_no) {
            None => false,
            Some(head) => match Bundle::open(storage, head).await {
                Ok(bundle) => bundle.trailer().nonce == nonce,
                // It cannot be told: they stay.
                Err(Error::DamagedObject { .. }) => true,
                Err(error) if is_gone(&error) => false,
                Err(error) => return Err(error),
            },
        };
        if !is_listed {
            orphans.extend(parts.into_iter().map(|part| part.key));
        }
    }
    Ok(orphans)
}

/// What there is of a log.
struct Log {
    log_id: LogId,
    items: Vec<Item>,
    newest: Option<Reference>,
    /// The log that goes on, when this one has been ended.
    successor: Option<LogId>,
    unreadable: Vec<Head>,
}

impl Log {
    async fn list(storage: &Arc<dyn Storage>, log_id: LogId) -> Result<Log> {
        let mut log =
            Log { log_id, items: Vec::new(), newest: None, successor: None, unreadable: Vec::new() };
        for level in Level::merged().chain([Level::SNAPSHOT]) {
            let heads = bundles::list(&**storage, log_id, level, 0, usize::MAX).await?;
            if level == Level::ZERO
                && let Some(head) = heads.first()
            {
                let newest = Bundle::open(storage, head).await?;
                let trailer = newest.trailer();
                if let Content::Terminator { successor } = trailer.content {
                    log.successor = Some(successor);
                }
                log.newest =
                    Some(Reference { commit_us: trailer.last_commit_us, modified_us: head.modified_us });
            }
            log.items.extend(heads.into_iter().map(|head| Item { head, known: None }));
        }
        Ok(log)
    }

    /// When the first full image of the log was written: the base snapshot, or the oldest one of the level.
    fn first_image_modified_us(&self) -> Option<u64> {
        let is_image = |item: &&Item| {
            item.head.level == Level::SNAPSHOT || (item.head.level == Level::ZERO && item.head.frame_no == 0)
        };
        self.items.iter().filter(is_image).map(|item| item.head.modified_us).min()
    }

    /// Open what must be known.
    async fn look(
        &mut self,
        storage: &Arc<dyn Storage>,
        retention: &Retention,
        reference: &Reference,
        is_replaced: bool,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        loop {
            let wanted = unknown(&self.items, retention, reference, is_replaced);
            let mut is_new = false;
            for at in wanted {
                if !seen.insert(at) {
                    continue;
                }
                is_new = true;
                let head = self.items[at].head;
                match Bundle::open(storage, &head).await {
                    Ok(bundle) => {
                        self.items[at].known = Some(Known::new(bundle.trailer(), bundle.stored_len()));
                    }
                    Err(Error::DamagedObject { .. }) => {
                        self.unreadable.push(head);
                    }
                    Err(error) if is_gone(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if !is_new {
                return Ok(());
            }
        }
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Storage { kind: StorageErrorKind::NotFound, .. })
}
