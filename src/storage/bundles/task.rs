//! Work that goes on in the background until it is waited for, and is called off when nobody waits any more.

use std::panic::resume_unwind;

use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// See the module. Needs a runtime.
pub(in crate::storage) struct Task<T>(JoinHandle<Result<T>>);

impl<T: Send + 'static> Task<T> {
    /// Start it.
    pub fn spawn(work: impl Future<Output = Result<T>> + Send + 'static) -> Task<T> {
        Task(tokio::spawn(work))
    }

    /// Wait for its end.
    pub async fn wait(&mut self) -> Result<T> {
        joined((&mut self.0).await)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Run `work`, which computes for long, on a thread of its own.
pub(in crate::storage) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match result {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Error::Timeout("the work was called off".into())),
        },
    }
}
