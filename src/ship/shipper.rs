//! The shipper: one bundle per interval while there are commits, and nothing at all while there are none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reconcile::{Decision, reconcile};
use super::task::Shipping;
use super::{base, cut};
use crate::error::{Error, Result};
use crate::format::bundle::{Content, ObjectBuilder, Summary, Trailer};
use crate::format::meta::StoredIn;
use crate::io::SyncSite;
use crate::log::Log;
use crate::pool::Next;
use crate::storage::bundles::Head;
use crate::storage::{Place, Put, Storage, keys, probe};
use crate::types::{CommitId, Level, Parent};

/// Pause before the first retry.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest pause between retries.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A log that has not been in touch with storage for so long asks again who owns it, before it ships. Its next key may have
/// been used by another primary, merged and deleted since.
pub(super) const TRUST: Duration = Duration::from_secs(1800);

/// While it waits for the interval to pass, it looks this often whether there is a whole bundle already.
const LOOK: Duration = Duration::from_millis(50);

/// What the shipper knows.
pub(super) struct Shipper {
    pub(super) log: Arc<Log>,
    pub(super) shipping: Arc<Shipping>,
    pub(super) storage: Arc<dyn Storage>,
    /// When storage was last seen to be as it should; `None`: not since the open, or since a failure that left it open.
    touched: Option<Touch>,
    /// Storage was asked since the open.
    asked: bool,
    last_put: Option<Instant>,
    retry: Duration,
    probed: bool,
}

/// A moment, by two clocks: one stands still while the machine sleeps, the other may be set.
#[derive(Clone, Copy)]
struct Touch {
    at: Instant,
    at_us: u64,
}

impl Shipper {
    pub(super) fn new(log: &Arc<Log>, shipping: &Arc<Shipping>, storage: Arc<dyn Storage>) -> Shipper {
        let (log, shipping) = (Arc::clone(log), Arc::clone(shipping));
        Shipper {
            log,
            shipping,
            storage,
            touched: None,
            asked: false,
            last_put: None,
            retry: RETRY_FIRST,
            probed: false,
        }
    }

    /// When the next round is due, by the state of the log.
    pub(super) fn due(&self) -> Next {
        let Some(stored) = self.log.stored_frame_no().filter(|_| self.touched.is_some()) else {
            // A session that writes nothing makes no request.
            return match self.shipping.noted(&self.log).filter(|_| !self.asked) {
                Some(noted) if self.log.remote().shipper_may_sleep(noted) => Next::WhenWoken,
                _ => Next::Now,
            };
        };
        if self.log.published_frame_no() <= stored {
            return if self.log.remote().shipper_may_sleep(stored) { Next::WhenWoken } else { Next::Now };
        }
        if self.log.remote().has_waiters() {
            return Next::Now;
        }
        if self.log.published_frame_no() - stored >= cut::FRAMES_MAX {
            // A whole bundle: it will not become fewer puts by waiting, and the segments are wanted back.
            return Next::Now;
        }
        let interval = self.log.options().shipping.interval;
        match self.last_put.map(|put| interval.saturating_sub(put.elapsed())) {
            Some(left) if !left.is_zero() => Next::In(left.min(LOOK)),
            _ => Next::Now,
        }
    }

    /// One round: find out where storage is if that is not known, then ship everything that is committed now. Returns how
    /// long to wait before the next round; `None`: no longer than [`Shipper::due`] says.
    pub(super) async fn round(&mut self) -> Result<Option<Duration>> {
        let result = self.try_round().await;
        match &result {
            Ok(()) => {
                // It is longer after a failure.
                if self.retry > RETRY_FIRST {
                    self.retry = RETRY_FIRST;
                    self.log.remote().clear_trouble();
                    self.log.clear_error();
                }
                Ok(None)
            }
            Err(Error::Fenced { .. }) => result.map(|()| None),
            Err(error) => {
                self.shipping.stats.failed();
                self.log.remote().set_trouble(error);
                // An unknown outcome of a put is settled by the next one, or found by the next look at storage.
                let pause = self.retry;
                self.retry = (self.retry * 2).min(RETRY_MAX);
                Ok(Some(pause))
            }
        }
    }

    async fn try_round(&mut self) -> Result<()> {
        if !self.is_in_touch() {
            self.find_place().await?;
        }
        let target = self.log.published_frame_no();
        // Only what is on this disk is shipped: storage must never have a commit that a power loss takes from here.
        self.log.durability().sync_to(target, SyncSite::ShippedFrames)?;
        while let Some(stored) = self.log.stored_frame_no().filter(|&stored| stored < target) {
            self.probe_once().await?;
            self.last_put = Some(Instant::now());
            let shipped = cut::ship_next(&self.storage, &self.log, stored, target).await;
            // If it failed, the bundle may be there all the same, and the next one would begin at the same frame.
            let Some(written) = shipped.inspect_err(|_| self.touched = None)? else {
                // Nothing frees what storage lacks. Should it be gone all the same, storage is asked again, after a pause.
                self.touched = None;
                return Err(Error::corrupt(
                    self.log.dir(),
                    None,
                    format!("frame {} is not in the log any more, and storage does not have it", stored + 1),
                ));
            };
            if written.put == Put::Taken {
                // A put of this log that was given up may have come through late.
                self.find_place().await?;
                if self.log.stored_frame_no().is_none_or(|now| now <= stored) {
                    return Err(cut::taken(&*self.storage, &self.log, stored + 1));
                }
                continue;
            }
            self.touch();
            let (trailer, objects) = (written.trailer, u64::from(written.object_count));
            let frames = trailer.end_frame_no - stored;
            self.shipping.stats.shipped(frames, objects, written.stored_len, self.log.io().now_us());
            let commit = CommitId { frame_no: trailer.end_frame_no, commit_us: trailer.last_commit_us };
            self.log.remote().set_shipped(commit);
            self.tell_keeper(&trailer, written.stored_len);
        }
        Ok(())
    }

    fn tell_keeper(&self, trailer: &Trailer, size: u64) {
        let head = Head {
            log_id: trailer.log_id,
            level: trailer.level,
            frame_no: trailer.start_frame_no,
            size,
            modified_us: self.log.io().now_us(),
        };
        self.shipping.news.lock().push((head, *trailer));
        self.shipping.keeper.notify();
    }

    /// Before the first put: does this store keep to create-only writes?
    async fn probe_once(&mut self) -> Result<()> {
        if !self.probed {
            probe(&*self.storage).await?;
            self.probed = true;
        }
        Ok(())
    }

    fn touch(&mut self) {
        self.touched = Some(Touch { at: Instant::now(), at_us: self.log.io().now_us() });
    }

    fn is_in_touch(&self) -> bool {
        self.touched.is_some_and(|touch| {
            let by_clock = Duration::from_micros(self.log.io().now_us().abs_diff(touch.at_us));
            touch.at.elapsed() < TRUST && by_clock < TRUST
        })
    }

    /// Find out where storage is, and make it ready for the next frame of this log.
    async fn find_place(&mut self) -> Result<()> {
        self.asked = true;
        self.touched = None;
        self.shipping.place.look_again();
        // Of a directory the probe leaves the object by which it is seen that files were removed there: it may have to be made again.
        self.probed &= !Place::is_directory(Place::number(&self.shipping.url));
        let mut decision = reconcile(&self.storage, &self.log, &self.shipping.url).await?;
        self.log.checkpointer().forget_stored_above(match decision {
            Decision::Begin { .. } => 0,
            Decision::Continue(CommitId { frame_no, .. }) | Decision::Bridge { frame_no } => frame_no,
        });
        if let Decision::Begin { .. } = decision {
            self.shipping.place.allow_making();
        }
        if !matches!(decision, Decision::Continue { .. }) {
            self.probe_once().await?;
        }
        if let Decision::Begin { end: Some(parent) } = decision {
            self.end_log(parent).await?;
            decision = Decision::Begin { end: None };
        }
        let commit = match decision {
            Decision::Continue(commit) => commit,
            Decision::Begin { .. } => self.put_base(0).await?,
            Decision::Bridge { frame_no } => self.put_base(frame_no + 1).await?,
        };
        // Before anything is acknowledged: should this place be empty at the next open, it is the wrong one.
        let found = StoredIn { place: Place::number(&self.shipping.url), commit };
        self.log.checkpointer().note_stored_in(found)?;
        self.shipping.place.settle();
        self.touch();
        self.log.remote().set_found_stored(found);
        self.shipping.keeper.notify();
        Ok(())
    }

    /// Put a full image there that covers everything from `start_frame_no` on. Returns the commit at which it ends.
    async fn put_base(&mut self, start_frame_no: u64) -> Result<CommitId> {
        let base = self.log.checkpointer().pin_base()?;
        if base.commit().frame_no < start_frame_no {
            return Err(Error::Fenced {
                url: self.storage.url().to_owned(),
                what: format!("it went on to frame {start_frame_no} while it was looked at"),
            });
        }
        let written = base::write_image(
            &self.storage,
            &self.log,
            &base,
            Level::ZERO,
            start_frame_no,
            &self.shipping.stats.image_pages_done,
        )
        .await?;
        if written.put == Put::Taken {
            // It may be one of this log, whose put was given up and came through late.
            return match reconcile(&self.storage, &self.log, &self.shipping.url).await? {
                Decision::Continue(commit) => Ok(commit),
                _ => Err(cut::taken(&*self.storage, &self.log, start_frame_no)),
            };
        }
        self.shipping.stats.took_snapshot();
        self.shipping.stats.put(u64::from(written.object_count), written.stored_len);
        Ok(base.commit())
    }

    /// End another log, so that this one can take its place: nothing can be put behind its terminator.
    async fn end_log(&self, parent: Parent) -> Result<()> {
        let summary = Summary {
            log_id: parent.log_id,
            level: Level::ZERO,
            content: Content::Terminator { successor: self.log.log_id() },
            start_frame_no: parent.frame_no + 1,
            end_frame_no: parent.frame_no,
            db_size_pages: 0,
            // Always the same, so that doing it again finds its own work.
            nonce: 0,
        };
        let (bytes, _) = ObjectBuilder::new(self.log.page_size()).finish(&summary, 0);
        let key = keys::head_key(parent.log_id, Level::ZERO, summary.start_frame_no);
        match self.storage.put_new(&key, &[bytes.into()]).await? {
            Put::Created => Ok(()),
            Put::Taken => Err(Error::Fenced {
                url: self.storage.url().to_owned(),
                what: format!(
                    "log {} went on at the moment at which this database was to take its place: its primary is alive",
                    parent.log_id
                ),
            }),
        }
    }
}
