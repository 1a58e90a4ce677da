//! The threads, and what they share with the database that they belong to.

use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::keeper::Keeper;
use super::shipper::{Due, Shipper};
use super::stats::Stats;
use crate::error::{Error, FileOp, Result};
use crate::format::bundle::Trailer;
use crate::io::lower_priority;
use crate::log::{Log, Wakeup};
use crate::options::Ack;
use crate::storage::bundles::Head;
use crate::storage::{Place, RetryPolicy, Storage, StorageUrl};
use crate::storage::{open_for_keeper, open_for_shipper};

/// The threads try again for as long as the database is open. Within one operation they do not persist for long, so that
/// trouble is told soon.
const RETRIES: RetryPolicy = RetryPolicy {
    deadline: Duration::from_secs(3),
    first_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_secs(1),
    request_timeout: Duration::from_secs(30),
};

/// Where the system gave no thread it is asked again after this long.
const NO_THREAD_PAUSE: Duration = Duration::from_secs(2);

/// The shipping of one database. Dropping it stops the threads: what is on its way is given up, and found out about after
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
    stop: watch::Sender<bool>,
}

/// The running threads.
pub(crate) struct Threads {
    log: Arc<Log>,
    shipping: Arc<Shipping>,
    handles: Vec<JoinHandle<()>>,
}

/// Start shipping a log, if its options name a storage. No network is used yet.
pub(crate) fn start(log: &Arc<Log>) -> Result<Option<Threads>> {
    let Some(url) = log.options().shipping.storage.as_ref().filter(|_| log.has_storage()) else {
        return Ok(None);
    };
    let url = url.for_database(log.database())?;
    // Whatever is wrong with the URL or the environment is told now, and not by a thread.
    crate::storage::open(&url, RETRIES)?;
    let shipping = Arc::new(Shipping::new(url));
    log.remote().set_shipping_stopped(false);
    log.shipper_wakeup().restart();
    let mut threads = Threads { log: Arc::clone(log), shipping: Arc::clone(&shipping), handles: Vec::new() };
    threads.spawn("vwal-ship", ship_loop, |log, _| log.remote().set_shipping_stopped(true))?;
    threads.spawn("vwal-keep", keep_loop, |_, shipping| shipping.snapshots.refuse())?;
    Ok(Some(threads))
}

impl Threads {
    /// `gone` tells those who wait for the thread that it has ended.
    fn spawn(&mut self, name: &str, run: fn(&Arc<Log>, &Shipping), gone: fn(&Log, &Shipping)) -> Result<()> {
        let (log, shipping) = (Arc::clone(&self.log), Arc::clone(&self.shipping));
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let end = End { log: &log, shipping: &shipping, gone };
            run(&log, &shipping);
            drop(end);
        });
        let thread =
            thread.map_err(|error| Error::io(FileOp::StartThread, self.log.database(), None, &error))?;
        self.handles.push(thread);
        Ok(())
    }

    /// What the threads share.
    pub(crate) fn shipping(&self) -> &Arc<Shipping> {
        &self.shipping
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shipping.stop.send_replace(true);
        self.log.remote().set_shipping_stopped(true);
        self.log.shipper_wakeup().stop();
        self.shipping.keeper.stop();
        for thread in self.handles.drain(..) {
            if thread.join().is_err() {
                self.log.note_error(&Error::Usage("a thread that ships the log panicked".into()));
            }
        }
    }
}

/// The end of a thread, however it comes: stopped, fenced off, or by a panic.
struct End<'a> {
    log: &'a Log,
    shipping: &'a Shipping,
    gone: fn(&Log, &Shipping),
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.remote().set_trouble(&Error::Usage("a thread that ships the log panicked".into()));
        }
        (self.gone)(self.log, self.shipping);
    }
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
            stop: watch::Sender::new(false),
        }
    }

    /// Where the log is shipped to.
    pub(crate) fn url(&self) -> &StorageUrl {
        &self.url
    }

    /// What has been done.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Take a snapshot of the base file now. Returns the frame that it ends with.
    pub(crate) fn snapshot(&self) -> Result<u64> {
        self.snapshots.ask(&self.keeper)
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Run something until it is done, or the threads are to stop: `None`.
    pub(super) fn unless_stopped<T>(
        &self,
        runtime: &tokio::runtime::Runtime,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut stop = self.stop.subscribe();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => None,
                result = work => Some(result),
            }
        })
    }
}

/// A runtime of its own, and storage that belongs to it. Where the system gives no thread for the runtime it may do so later.
/// `None`: it is to stop, or cannot be, which has been told.
fn open(
    log: &Log,
    shipping: &Shipping,
    storage: OpenStorage,
    wait: impl Fn(),
) -> Option<(tokio::runtime::Runtime, Arc<dyn Storage>)> {
    let mut failed = false;
    while !shipping.is_stopping() {
        match try_open(shipping, storage) {
            Ok(opened) => {
                if failed {
                    log.remote().clear_trouble();
                }
                return Some(opened);
            }
            Err(error) => {
                log.remote().set_trouble(&error);
                failed = true;
                if !matches!(error, Error::Io { op: FileOp::StartRuntime, .. }) {
                    return None;
                }
            }
        }
        wait();
    }
    None
}

/// One of [`crate::storage::open_for_shipper`] and [`crate::storage::open_for_keeper`].
type OpenStorage = fn(&StorageUrl, RetryPolicy, &Place) -> Result<Arc<dyn Storage>>;

fn try_open(
    shipping: &Shipping,
    storage: OpenStorage,
) -> Result<(tokio::runtime::Runtime, Arc<dyn Storage>)> {
    let runtime = crate::storage::runtime()?;
    let storage = {
        let _entered = runtime.enter();
        storage(&shipping.url, RETRIES, &shipping.place)?
    };
    Ok((runtime, storage))
}

fn ship_loop(log: &Arc<Log>, shipping: &Shipping) {
    if log.options().shipping.ack == Ack::Local {
        // Nobody waits for it, and everybody waits for commits.
        lower_priority();
    }
    let wait = || log.shipper_wakeup().wait(Some(NO_THREAD_PAUSE));
    let Some((runtime, storage)) = open(log, shipping, open_for_shipper, wait) else { return };
    let mut shipper = Shipper::new(log, shipping, storage);
    while !shipping.is_stopping() {
        match shipper.due() {
            Due::In(pause) => {
                log.shipper_wakeup().wait(Some(pause));
                continue;
            }
            Due::WhenWoken => {
                log.shipper_wakeup().wait(None);
                continue;
            }
            Due::Now => {}
        }
        match shipping.unless_stopped(&runtime, shipper.round()) {
            None => break,
            Some(Ok(None)) => {}
            // Whoever begins to wait for storage has it tried again at once.
            Some(Ok(Some(pause))) => log.shipper_wakeup().wait(Some(pause)),
            Some(Err(error)) => {
                // For good: from here on this log ships nothing.
                log.remote().set_fenced(&error);
                break;
            }
        }
    }
    // A file that is being written by a thread of the runtime is not waited for: it has no name yet.
    runtime.shutdown_background();
}

fn keep_loop(log: &Arc<Log>, shipping: &Shipping) {
    lower_priority();
    let wait = || shipping.keeper.wait(Some(NO_THREAD_PAUSE));
    let Some((runtime, storage)) = open(log, shipping, open_for_keeper, wait) else { return };
    let mut keeper = Keeper::new(log, shipping, storage);
    while !shipping.is_stopping() && log.remote().fence().is_none() {
        let timeout = match shipping.unless_stopped(&runtime, keeper.round()) {
            None => break,
            Some(timeout) => timeout,
        };
        shipping.keeper.wait(timeout);
    }
    runtime.shutdown_background();
}

/// One round of a shipper that has just begun, on this thread.
#[cfg(test)]
pub(crate) fn ship_once(log: &Arc<Log>, storage: &Arc<dyn Storage>) -> Result<()> {
    ship_once_as(log, storage, "memory://unused")
}

/// The same to storage that is taken for the one at `url`.
#[cfg(test)]
pub(crate) fn ship_once_as(log: &Arc<Log>, storage: &Arc<dyn Storage>, url: &str) -> Result<()> {
    let shipping = Shipping::new(url.parse()?);
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
    let shipping = Shipping::new("memory://unused".parse()?);
    let mut keeper = Keeper::new(log, &shipping, Arc::clone(storage));
    crate::testing::storage::block_on(keeper.once(snapshot))
}
