//! The keeper: what storage needs from time to time. Snapshots, merges of bundles, deletion of what has expired.
//!
//! It wakes when a bundle has been shipped, or a snapshot is due or asked for. An idle database costs nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::base;
use super::compact::Compactor;
use super::retain::{expire, survey};
use super::task::Shipping;
use crate::error::{Error, Result, StorageErrorKind};
use crate::log::{Log, Wakeup};
use crate::storage::bundles::{self, Head};
use crate::storage::{Put, Storage};
use crate::types::Level;

/// After a failure it is tried again after this long.
const RETRY: Duration = Duration::from_secs(30);

/// A merge that makes a bundle of this level or a higher one is followed by a look at what has expired.
const EXPIRE_AFTER: Level = Level::TOP;

/// Snapshots that were asked for.
#[derive(Default)]
pub(super) struct Requests {
    inner: Mutex<Answers>,
    answered: Condvar,
}

#[derive(Default)]
struct Answers {
    /// Numbers of the last request and of the last one that was answered.
    asked: u64,
    done: u64,
    result: Option<Result<u64>>,
    refusing: bool,
}

impl Requests {
    pub(super) fn ask(&self, keeper: &Wakeup) -> Result<u64> {
        let mut inner = self.inner.lock();
        inner.asked += 1;
        let mine = inner.asked;
        keeper.notify();
        while inner.done < mine && !inner.refusing {
            self.answered.wait(&mut inner);
        }
        match &inner.result {
            Some(result) if inner.done >= mine => result.clone(),
            _ => Err(Error::Usage(
                "the database is being closed, or is not shipped: there is no snapshot".into(),
            )),
        }
    }

    fn pending(&self) -> Option<u64> {
        let inner = self.inner.lock();
        (inner.asked > inner.done).then_some(inner.asked)
    }

    /// This process does not ship the log, or not any more.
    pub(super) fn decline(&self) {
        if let Some(number) = self.pending() {
            let what = "this process does not ship the database to its storage: another one does, or shipping has ended";
            self.answer(number, Err(Error::Usage(what.into())));
        }
    }

    fn answer(&self, number: u64, result: Result<u64>) {
        let mut inner = self.inner.lock();
        inner.done = inner.done.max(number);
        inner.result = Some(result);
        drop(inner);
        self.answered.notify_all();
    }

    /// Nobody will answer any more.
    pub(super) fn refuse(&self) {
        self.inner.lock().refusing = true;
        self.answered.notify_all();
    }
}

/// See the module.
pub(super) struct Keeper {
    pub(super) log: Arc<Log>,
    shipping: Arc<Shipping>,
    storage: Arc<dyn Storage>,
    /// The newest full image in storage; `None`: not looked up yet.
    newest_image: Option<Image>,
    failure: Option<Failure>,
    compactor: Compactor,
    /// A bundle has been shipped since the open: until then there is nothing new to merge.
    is_active: bool,
    /// A merge or a snapshot may have made something superfluous.
    may_have_expired: bool,
}

/// The last round failed.
struct Failure {
    at: Instant,
    /// Storage did not answer.
    was_away: bool,
}

/// A full image in storage.
#[derive(Clone, Copy)]
struct Image {
    end_frame_no: u64,
    /// By the clock of the store.
    modified_us: u64,
    seen: Instant,
}

impl Keeper {
    pub(super) fn new(log: &Arc<Log>, shipping: &Arc<Shipping>, storage: Arc<dyn Storage>) -> Keeper {
        let compactor = Compactor::new(&storage, log.log_id());
        Keeper {
            log: Arc::clone(log),
            shipping: Arc::clone(shipping),
            storage,
            newest_image: None,
            failure: None,
            compactor,
            is_active: false,
            may_have_expired: false,
        }
    }

    /// Do what is due. Returns how long to sleep, unless something happens before.
    pub(super) async fn round(&mut self) -> Option<Duration> {
        if let Some(number) = self.shipping.snapshots.pending() {
            let result = self.snapshot().await;
            if let Err(error) = &result {
                self.log.note_error(error);
            }
            self.shipping.snapshots.answer(number, result);
        }
        // Storage is as it should be, as far as the shipper knows, and there is something to keep.
        self.log.stored_frame_no()?;
        if let Some(failure) = &self.failure {
            let left = RETRY.saturating_sub(failure.at.elapsed());
            // If storage did not answer: it has just taken a bundle.
            let is_back = failure.was_away && !self.shipping.news.lock().is_empty();
            if !left.is_zero() && !is_back {
                return Some(left);
            }
        }
        match self.keep().await {
            Ok(timeout) => {
                if self.failure.take().is_some() {
                    self.log.clear_error();
                }
                timeout
            }
            Err(error) => {
                self.shipping.stats.failed();
                self.log.note_error(&error);
                let was_away = matches!(error, Error::Storage { kind: StorageErrorKind::Unavailable, .. });
                self.failure = Some(Failure { at: Instant::now(), was_away });
                Some(RETRY)
            }
        }
    }

    async fn keep(&mut self) -> Result<Option<Duration>> {
        for (head, trailer) in std::mem::take(&mut *self.shipping.news.lock()) {
            self.compactor.note(head, &trailer);
            self.is_active = true;
        }
        if self.is_active {
            self.merge().await?;
        }
        if std::mem::take(&mut self.may_have_expired) {
            // What could not be done now is due again with the next merge or snapshot.
            self.expire().await?;
        }
        let timeout = self.snapshot_due().await?;
        if timeout == Some(Duration::ZERO) {
            self.snapshot().await?;
            return Ok(Some(Duration::ZERO));
        }
        Ok(timeout)
    }

    /// Everything that a keeper does, now.
    #[cfg(test)]
    pub(super) async fn once(&mut self, snapshot: bool) -> Result<()> {
        if snapshot {
            self.snapshot().await?;
        }
        (self.is_active, self.may_have_expired) = (true, true);
        self.keep().await.map(drop)
    }

    /// Merge what is due.
    async fn merge(&mut self) -> Result<()> {
        while let Some(merged) = self.compactor.step(self.log.io().random_u64()).await? {
            if merged.written.put == Put::Created {
                // A bundle of a high level stands for many: there is no need to look more often, and looking is not free.
                self.may_have_expired |= merged.job.level >= EXPIRE_AFTER;
                self.shipping.stats.merged();
                self.shipping.stats.put(u64::from(merged.written.object_count), merged.written.stored_len);
            }
        }
        Ok(())
    }

    /// Delete what has expired.
    async fn expire(&mut self) -> Result<()> {
        let retention = &self.log.options().shipping.retention;
        if retention.is_off() {
            return Ok(());
        }
        for plan in survey(&self.storage, retention).await? {
            if expire(&self.storage, &plan, |_| self.shipping.stats.deleted(1)).await? > 0 {
                self.compactor.forget();
            }
        }
        Ok(())
    }

    /// When the next snapshot is due; `None`: not before something is committed.
    async fn snapshot_due(&mut self) -> Result<Option<Duration>> {
        let interval = self.log.options().shipping.snapshot_interval;
        let stored = self.log.stored_frame_no().unwrap_or(0);
        if interval.is_zero() {
            return Ok(None);
        }
        let image = match self.newest_image {
            Some(image) => image,
            None => *self.newest_image.insert(self.find_image().await?),
        };
        if stored <= image.end_frame_no {
            return Ok(None);
        }
        let by_clock = Duration::from_micros(self.log.io().now_us().saturating_sub(image.modified_us));
        Ok(Some(interval.saturating_sub(by_clock.max(image.seen.elapsed()))))
    }

    async fn find_image(&self) -> Result<Image> {
        let newest = |level, frame_no| {
            let storage = Arc::clone(&self.storage);
            let log_id = self.log.log_id();
            async move { bundles::list_up_to(&*storage, log_id, level, frame_no, 1).await }
        };
        let snapshots = newest(Level::SNAPSHOT, u64::MAX).await?;
        let of = |head: &Head| Image {
            end_frame_no: if head.level == Level::SNAPSHOT { head.frame_no } else { 0 },
            modified_us: head.modified_us,
            seen: Instant::now(),
        };
        if let Some(head) = snapshots.first() {
            return Ok(of(head));
        }
        // The base snapshot, which begins at frame 0.
        let base = newest(Level::ZERO, 0).await?;
        Ok(base.first().map_or(Image { end_frame_no: 0, modified_us: 0, seen: Instant::now() }, of))
    }

    fn check_stored(&self, frame_no: u64) -> Result<()> {
        if self.log.stored_frame_no().is_some_and(|stored| stored >= frame_no) {
            return Ok(());
        }
        Err(Error::NotStored {
            path: self.log.database().to_owned(),
            frame_no,
            waited_ms: 0,
            cause: "a snapshot is taken of what storage has, and it does not have that much yet".into(),
        })
    }

    /// Bring the base file forward, and put it into storage. Returns the frame that it ends with.
    async fn snapshot(&mut self) -> Result<u64> {
        self.log.checkpointer().checkpoint()?;
        if let Some(intent) = self.log.checkpointer().interrupted_pass()? {
            // Pinning the base file would complete that pass, and free frames that storage still needs.
            self.check_stored(intent)?;
        }
        let base = self.log.checkpointer().pin_base()?;
        self.check_stored(base.commit().frame_no)?;
        let done = &self.shipping.stats.image_pages_done;
        let written = base::write_image(&self.storage, &self.log, &base, Level::SNAPSHOT, 0, done).await?;
        if written.put == Put::Created {
            self.may_have_expired = true;
            self.shipping.stats.took_snapshot();
            self.shipping.stats.put(u64::from(written.object_count), written.stored_len);
        }
        self.newest_image = Some(Image {
            end_frame_no: base.commit().frame_no,
            modified_us: self.log.io().now_us(),
            seen: Instant::now(),
        });
        Ok(base.commit().frame_no)
    }
}
