//! The runtime on which the open databases of a process reach their storage. There is one while there is something to ship.

use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{EnterGuard, Handle};
use tokio::sync::oneshot;

use crate::error::{Error, FileOp, Result};
use crate::storage::{Clients, runtime};

/// At the end the threads of the runtime are waited for so long.
const END_MAX: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Default)]
pub(super) struct Network {
    online: Mutex<Weak<Online>>,
}

/// The runtime, with the connections that belong to it. It ends with the last task that has it.
pub(super) struct Online {
    handle: Handle,
    /// Clients that databases share.
    pub(super) clients: Clients,
    /// Dropping it ends the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// The runtime, which is started if there is none.
    ///
    /// Errors: [`FileOp::StartRuntime`]; the system may give the threads later.
    pub(super) fn online(&self) -> Result<Arc<Online>> {
        let mut online = self.online.lock();
        if let Some(online) = online.upgrade() {
            return Ok(online);
        }
        let started = Arc::new(Online::start()?);
        *online = Arc::downgrade(&started);
        Ok(started)
    }
}

impl Online {
    /// The runtime is made on its own thread: the caller's may be one of the application's runtime, on which no other can be started.
    fn start() -> Result<Online> {
        let (end, ended) = oneshot::channel();
        let (begun, begins) = mpsc::channel();
        let run = move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return drop(begun.send(Err(error))),
            };
            let _ = begun.send(Ok(runtime.handle().clone()));
            // Whatever else is on the runtime has its turns on this thread meanwhile. It ends by an error: nothing is sent.
            let _ = runtime.block_on(ended);
            // Threads that have nothing to do end at once. A file that is being written by one is not waited for: it has no name yet.
            runtime.shutdown_timeout(END_MAX);
        };
        let failed = |error| Error::io(FileOp::StartRuntime, Path::new("storage"), None, &error);
        let thread = std::thread::Builder::new().name("vwal-net".into()).spawn(run).map_err(failed)?;
        let handle = match begins.recv() {
            Ok(begun) => begun?,
            Err(_) => return Err(failed(std::io::Error::other("the thread of the runtime panicked"))),
        };
        Ok(Online { handle, clients: Clients::default(), end: Some(end), thread: Some(thread) })
    }

    /// What is made and polled on this thread until the guard is dropped belongs to the runtime.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // Its tasks catch their panics themselves.
            let _ = thread.join();
        }
    }
}
