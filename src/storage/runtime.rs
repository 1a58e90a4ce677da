//! The runtime on which everything asynchronous runs: of the thread that makes it, and of nobody else.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, FileOp, Result};

/// A runtime for this thread. Storage is opened on it ([`open`](super::open)), and used on it only.
///
/// It has a few threads beside it, for reading files and decoding; each of them costs memory, so there are no more.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(|error| Error::io(FileOp::StartRuntime, Path::new("storage"), None, &error))
}
