//! The tasks that ship a log, and what they share with the database that they belong to.
//!
//! They have their turns on threads of a pool, where reading and compressing may take its time; only the network, and what waits for
//! it, is on the runtime that all databases share (`network.rs`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::keeper::Keeper;
use super::network::{Network, Online};
use super::shipper::Shipper;
use super::stats::Stats;
use crate::error::{Error, FileOp, Result};
use crate::format::bundle::Trailer;
use crate::io::lower_priority;
use crate::log::{Log, Wakeup};
use crate::options::Ack;
use crate::pool::{Next, Pool, Running, Step};
use crate::storage::bundles::Head;
use crate::storage::{Place, RetryPolicy, Storage, StorageUrl, open_for_keeper, open_for_shipper};

/// The tasks try again for as long as the database is open. Within one operation they do not persist for long, so that
/// trouble is told soon.
const RETRIES: RetryPolicy = RetryPolicy {
    deadline: Duration::from_secs(3),
    first_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_secs(1),
    request_timeout: Duration::from_secs(30),
};

/// Where the system gave no thread it is asked again after this long.
const NO_THREAD_PAUSE: Duration = Duration::from_secs(2);

/// While another process ships the log, it is looked this often whether that still does.
const STAND_BY: Duration = Duration::from_millis(500);
/// While another process has the log open, it is looked this often whether that has committed, or waits for storage.
const LOOK: Duration = Duration::from_millis(20);

/// Reading and compressing is done for so many databases at a time.
const THREADS: usize = 3;

/// The threads that ship the open databases of a process.
#[derive(Clone)]
pub(crate) struct Workers {
    /// Nobody waits for what is done here, and everybody waits for commits: its threads have a low priority.
    low: Pool,
    /// Here commits are waited for.
    normal: Pool,
    network: Arc<Network>,
}

impl Workers {
    /// None is started yet. `normal`: threads of the usual priority.
    pub(crate) fn new(normal: &Pool) -> Workers {
        Workers {
            low: Pool::new("vwal-ship", THREADS, lower_priority),
            normal: normal.clone(),
            network: Arc::default(),
        }
    }
}

/// The shipping of one database. When its tasks are stopped, what is on its way is given up, and found out about after
/// the next open.
pub(crate) struct Shipping {
    pub(super) url: StorageUrl,
    pub(super) place: Place,
    pub(super) stats: Stats,
    /// Wakes the keeper.
    pub(super) keeper: Wakeup,
    /// Bundles of level 0 that the keeper has not heard of yet.
    pub(super) news: Mutex<Vec<(Head, Trailer)>>,
    pub(super) snapshots: super::keeper::Requests,
}

/// The running tasks. Dropping them stops them.
pub(crate) struct Tasks {
    log: Arc<Log>,
    shipping: Arc<Shipping>,
    running: Vec<Running>,
    _online: Option<Arc<Online>>,
}

/// Start shipping a log, if its options name a storage. No network is used yet.
pub(crate) fn start(log: &Arc<Log>, workers: &Workers) -> Result<Option<Tasks>> {
    let Some(url) = log.options().shipping.storage.as_ref().filter(|_| log.has_storage()) else {
        return Ok(None);
    };
    let url = url.for_database(log.database())?;
    // Whatever is wrong with the URL or the environment is told now, and not by a task.
    crate::storage::open(&url, RETRIES)?;
    let shipping = Arc::new(Shipping::new(url));
    log.remote().set_shipping_stopped(false);
    // The keeper works where the shipper does.
    log.memory().claim_shipping();
    // A thread has the priority of the one that starts it, and commits may wait for the network. Where the system gives no thread now,
    // the tasks try again, and tell.
    let online = workers.network.online().ok();
    let mut tasks = Tasks { log: Arc::clone(log), shipping, running: Vec::new(), _online: online };
    let pool = match log.options().shipping.ack {
        Ack::Local => &workers.low,
        Ack::Remote => &workers.normal,
    };
    tasks.start::<Shipper>(pool, workers)?;
    tasks.start::<Keeper>(&workers.low, workers)?;
    Ok(Some(tasks))
}

impl Tasks {
    fn start<W: Work>(&mut self, pool: &Pool, workers: &Workers) -> Result<()> {
        let (log, shipping) = (&self.log, &self.shipping);
        let running = pool.start(|waker| {
            W::wakeup(log, shipping).attach(waker);
            Box::new(Task::<W> {
                log: Arc::clone(log),
                shipping: Arc::clone(shipping),
                network: Arc::clone(&workers.network),
                waker: waker.clone(),
                failed: false,
                state: State::Opening,
                online: None,
            })
        });
        self.running
            .push(running.map_err(|error| Error::io(FileOp::StartThread, log.database(), None, &error))?);
        Ok(())
    }

    /// What the tasks share.
    pub(crate) fn shipping(&self) -> &Arc<Shipping> {
        &self.shipping
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.log.remote().set_shipping_stopped(true);
        for task in self.running.drain(..) {
            if task.stop().is_err() {
                self.log.note_error(&panicked());
            }
        }
        self.log.shipper_wakeup().detach();
        self.shipping.keeper.detach();
    }
}

fn panicked() -> Error {
    Error::Usage("a task that ships the log panicked".into())
}

impl Shipping {
    fn new(url: StorageUrl) -> Shipping {
        Shipping {
            url,
            place: Place::default(),
            stats: Stats::default(),
            keeper: Wakeup::default(),
            news: Mutex::default(),
            snapshots: Default::default(),
        }
    }

    /// Where the log is shipped to.
    pub(crate) fn url(&self) -> &StorageUrl {
        &self.url
    }

    /// What the metadata says of this place; `None`: nothing, or it cannot be read.
    fn in_metadata(&self, log: &Log) -> Option<u64> {
        Some(log.checkpointer().noted_stored(Place::number(&self.url)).ok()??.commit.frame_no)
    }

    /// The frame up to which storage had everything when it was last asked, by the metadata; 0: it never was.
    pub(crate) fn last_known(&self, log: &Log) -> u64 {
        self.in_metadata(log).map_or(0, |noted| noted.min(log.published_frame_no()))
    }

    /// The last frame, if the metadata says that storage has everything, and the base file has it as well: then there is nothing to do
    /// before the next commit. `None` where the log is to take over, which is for storage to hear.
    pub(crate) fn noted(&self, log: &Log) -> Option<u64> {
        let noted = self.in_metadata(log)?;
        // More than the log has would be a log that lost commits, and storage is asked what to think of that.
        let is_all = noted == log.published_frame_no() && noted == log.checkpointed_frame_no();
        (is_all && log.options().shipping.take_over.is_none()).then_some(noted)
    }

    /// What has been done.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Take a snapshot of the base file now. Returns the frame that it ends with.
    pub(crate) fn snapshot(&self) -> Result<u64> {
        self.snapshots.ask(&self.keeper)
    }
}

/// What a task does in rounds: the shipper or the keeper.
pub(super) trait Work: Sized + Send + 'static {
    /// It has something to do when something is committed.
    const SERVES_COMMITS: bool;

    /// What wakes it.
    fn wakeup<'a>(log: &'a Log, shipping: &'a Shipping) -> &'a Wakeup;

    /// Its storage, on the runtime that was entered.
    fn storage(online: &Online, shipping: &Shipping) -> Result<Arc<dyn Storage>>;

    fn new(log: &Arc<Log>, shipping: &Arc<Shipping>, storage: Arc<dyn Storage>) -> Self;

    /// It was woken, or the time has come: when is a round due?
    fn due(&mut self) -> Next;

    /// One round. Returns when to look again.
    fn work(&mut self) -> impl Future<Output = Next> + Send;

    /// Another process does its work.
    fn stand_by(_: &Shipping) {}

    /// The task has ended, and no other one does its work. Tell those who wait for it.
    fn gone(log: &Log, shipping: &Shipping);
}

/// A round that is under way. It gives the worker back.
type Round<W> = Pin<Box<dyn Future<Output = (W, Next)> + Send>>;

enum State<W> {
    /// There is no runtime yet.
    Opening,
    /// Until that time, or without one, until it is notified.
    Resting(W, Option<Instant>),
    Working(Round<W>),
    Ended,
}

struct Task<W: Work> {
    log: Arc<Log>,
    shipping: Arc<Shipping>,
    network: Arc<Network>,
    waker: Waker,
    /// There was no runtime the last time.
    failed: bool,
    state: State<W>,
    online: Option<Arc<Online>>,
}

impl<W: Work> Step for Task<W> {
    fn step(&mut self) -> Next {
        let _told = TellsPanic(Arc::clone(&self.log));
        let online = self.online.clone();
        let _entered = online.as_ref().map(|online| online.enter());
        let memory = self.log.memory();
        let is_mine = if W::SERVES_COMMITS { memory.claim_shipping() } else { memory.is_shipping() };
        if !is_mine {
            // Another process ships the log. When it closes or dies this one takes over.
            W::stand_by(&self.shipping);
            return Next::In(STAND_BY);
        }
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::Opening => break self.open(),
                State::Resting(mut work, until) => {
                    let is_notified = W::wakeup(&self.log, &self.shipping).take_notified();
                    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                    // A round that has ended may still wake the task.
                    if !is_notified && left.is_none_or(|left| !left.is_zero()) {
                        self.state = State::Resting(work, until);
                        break left.map_or(Next::WhenWoken, Next::In);
                    }
                    match work.due() {
                        Next::Now => State::Working(Box::pin(async move {
                            let next = work.work().await;
                            (work, next)
                        })),
                        next => {
                            let next = self.sooner(next);
                            self.state = State::Resting(work, until_of(next));
                            break next;
                        }
                    }
                }
                State::Working(mut round) => {
                    match round.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                        Poll::Pending => {
                            self.state = State::Working(round);
                            break Next::WhenWoken;
                        }
                        Poll::Ready((_, Next::Never)) => break Next::Never,
                        Poll::Ready((work, next)) => State::Resting(work, until_of(next)),
                    }
                }
                State::Ended => break Next::Never,
            };
        }
    }
}

impl<W: Work> Task<W> {
    /// When to ask again whether there is something to do. Commits of another process wake nobody here. The pause after a failed round is not cut short
    /// by that.
    fn sooner(&self, next: Next) -> Next {
        match next {
            _ if !W::SERVES_COMMITS || !self.log.memory().may_have_others() => next,
            Next::WhenWoken => Next::In(LOOK),
            Next::In(time) => Next::In(time.min(LOOK)),
            next => next,
        }
    }

    /// Begin, if there is a runtime or one can be started. Where the system gives no thread for it, it may do so later.
    fn open(&mut self) -> Next {
        match self.try_open() {
            Ok(work) => {
                if std::mem::take(&mut self.failed) {
                    self.log.remote().clear_trouble();
                }
                self.state = State::Resting(work, Some(Instant::now()));
                Next::Now
            }
            Err(error) => {
                self.log.remote().set_trouble(&error);
                self.failed = true;
                if !matches!(error, Error::Io { op: FileOp::StartRuntime, .. }) {
                    return Next::Never;
                }
                self.state = State::Opening;
                Next::In(NO_THREAD_PAUSE)
            }
        }
    }

    fn try_open(&mut self) -> Result<W> {
        let online = self.online.insert(self.network.online()?);
        let storage = {
            let _entered = online.enter();
            W::storage(online, &self.shipping)?
        };
        Ok(W::new(&self.log, &self.shipping, storage))
    }
}

impl<W: Work> Drop for Task<W> {
    fn drop(&mut self) {
        {
            let _entered = self.online.as_ref().map(|online| online.enter());
            self.state = State::Ended;
        }
        W::gone(&self.log, &self.shipping);
    }
}

/// Tells of a panic on this thread.
struct TellsPanic(Arc<Log>);

impl Drop for TellsPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.remote().set_trouble(&panicked());
        }
    }
}

/// The time of what comes next; `None`: when the task is woken.
fn until_of(next: Next) -> Option<Instant> {
    match next {
        Next::Now => Some(Instant::now()),
        // A time that cannot be counted does not come.
        Next::In(time) => Instant::now().checked_add(time),
        Next::WhenWoken | Next::Never => None,
    }
}

impl Work for Shipper {
    const SERVES_COMMITS: bool = true;

    fn wakeup<'a>(log: &'a Log, _: &'a Shipping) -> &'a Wakeup {
        log.shipper_wakeup()
    }

    fn storage(online: &Online, shipping: &Shipping) -> Result<Arc<dyn Storage>> {
        open_for_shipper(&shipping.url, RETRIES, &shipping.place, &online.clients)
    }

    fn new(log: &Arc<Log>, shipping: &Arc<Shipping>, storage: Arc<dyn Storage>) -> Shipper {
        Shipper::new(log, shipping, storage)
    }

    fn due(&mut self) -> Next {
        Shipper::due(self)
    }

    async fn work(&mut self) -> Next {
        match self.round().await {
            Ok(None) => Next::Now,
            // Whoever begins to wait for storage has it tried again at once.
            Ok(Some(pause)) => Next::In(pause),
            Err(error) => {
                // For good: from here on this log ships nothing.
                self.log.remote().set_fenced(&error);
                Next::Never
            }
        }
    }

    fn gone(log: &Log, _: &Shipping) {
        log.remote().set_shipping_stopped(true);
        // Another process may be able to.
        log.memory().give_up_shipping();
    }
}

impl Work for Keeper {
    const SERVES_COMMITS: bool = false;

    fn wakeup<'a>(_: &'a Log, shipping: &'a Shipping) -> &'a Wakeup {
        &shipping.keeper
    }

    fn storage(online: &Online, shipping: &Shipping) -> Result<Arc<dyn Storage>> {
        open_for_keeper(&shipping.url, RETRIES, &shipping.place, &online.clients)
    }

    fn new(log: &Arc<Log>, shipping: &Arc<Shipping>, storage: Arc<dyn Storage>) -> Keeper {
        Keeper::new(log, shipping, storage)
    }

    fn due(&mut self) -> Next {
        if self.log.remote().fence().is_some() { Next::Never } else { Next::Now }
    }

    async fn work(&mut self) -> Next {
        self.round().await.map_or(Next::WhenWoken, Next::In)
    }

    fn stand_by(shipping: &Shipping) {
        shipping.snapshots.decline();
    }

    fn gone(_: &Log, shipping: &Shipping) {
        shipping.snapshots.refuse();
    }
}

/// One round of a shipper that has just begun, on this thread.
#[cfg(test)]
pub(crate) fn ship_once(log: &Arc<Log>, storage: &Arc<dyn Storage>) -> Result<()> {
    ship_once_as(log, storage, "memory://unused")
}

/// The same to storage that is taken for the one at `url`.
#[cfg(test)]
pub(crate) fn ship_once_as(log: &Arc<Log>, storage: &Arc<dyn Storage>, url: &str) -> Result<()> {
    let shipping = Arc::new(Shipping::new(url.parse()?));
    let mut shipper = Shipper::new(log, &shipping, Arc::clone(storage));
    match crate::testing::storage::block_on(shipper.round())? {
        None => Ok(()),
        Some(_) => {
            Err(log.remote().shipping_trouble().unwrap_or_else(|| Error::Usage("a round failed".into())))
        }
    }
}

/// One round of a keeper that has just begun, on this thread: a snapshot if one is asked for, merges, deletion of what has
/// expired.
#[cfg(test)]
pub(crate) fn keep_once(log: &Arc<Log>, storage: &Arc<dyn Storage>, snapshot: bool) -> Result<()> {
    let shipping = Arc::new(Shipping::new("memory://unused".parse()?));
    let mut keeper = Keeper::new(log, &shipping, Arc::clone(storage));
    crate::testing::storage::block_on(keeper.once(snapshot))
}

#[cfg(all(test, not(shuttle)))]
#[path = "task_tests.rs"]
mod tests;
