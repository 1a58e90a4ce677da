//! The runtime on which everything asynchronous runs: the command line and restores have one each, and all that is shipped has one.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, FileOp, Result};

/// The threads of a runtime stay for as long as it does.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A runtime that goes on while a thread blocks on it. Storage is opened on it ([`open`](super::open)), and used on it only.
///
/// It has a few threads beside it, for reading files, decoding and looking up names; each of them costs memory, so there are no
/// more. tokio panics when one is needed, none is there and the system gives none, which libraries below run into as well. When
/// one is there already, that does the work. So the first one is started here, where no thread is an error, and stays.
///
/// Work on these threads must not wait for other work on them.
pub fn runtime() -> Result<Runtime> {
    let failed = |error| Error::io(FileOp::StartRuntime, Path::new("storage"), None, &error);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .thread_name("vwal-store")
        .max_blocking_threads(4)
        .thread_keep_alive(KEEP_ALIVE)
        .build()
        .map_err(failed)?;
    runtime.block_on(start_thread()).map_err(failed)?;
    Ok(runtime)
}

/// A write to a file of tokio's is the one thing that asks it for a thread and gets an error.
async fn start_thread() -> io::Result<()> {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    let mut nowhere = File::from_std(nowhere);
    let written = async {
        nowhere.write_all(b"x").await?;
        nowhere.flush().await
    };
    written.await.map_err(|_| {
        let what = "the system gives no thread (a limit on processes, or no memory)";
        io::Error::new(io::ErrorKind::WouldBlock, what)
    })
}
