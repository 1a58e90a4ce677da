//! What the commands that talk to storage share: where it is, a runtime, progress.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vwal::restore::lineage;
use vwal::storage::{RetryPolicy, Storage, StorageUrl};
use vwal::{Error, LogId};

use super::Failure;

/// A storage, or a database file: what contains "://" is a URL.
pub enum Place {
    Url(StorageUrl),
    Database(PathBuf),
}

impl Place {
    /// Which of the two an argument is.
    pub fn of(text: &str) -> Result<Place, Failure> {
        if text.contains("://") { url(text).map(Place::Url) } else { Ok(Place::Database(text.into())) }
    }
}

/// A URL that was given as an argument. It is not repeated when it is wrong: there may be a password in it.
pub fn url(text: &str) -> Result<StorageUrl, Failure> {
    Ok(text.parse()?)
}

/// Run something asynchronous to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}

/// The storage at a URL. Call it within [`block_on`].
pub fn open(url: &StorageUrl) -> Result<Arc<dyn Storage>, Failure> {
    Ok(vwal::storage::open(url, RetryPolicy::default())?)
}

/// The log `wanted`, or else the one that is live.
pub async fn choose_log(storage: &Arc<dyn Storage>, wanted: Option<LogId>) -> Result<LogId, Failure> {
    let ends = vwal::restore::log_ends(storage).await?;
    let chosen = lineage::choose(&ends, wanted).map_err(|problem| Error::NothingThere {
        url: storage.url().to_owned(),
        what: problem.to_string(),
    })?;
    Ok(chosen.logs[0].log_id)
}

/// A bar on standard error; none when that is no terminal.
pub fn bar(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A sign of life on standard error for work whose end is not known; none when that is no terminal.
pub fn spinner(message: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    bar
}
