//! The subcommands that work with storage.

pub mod check;
pub mod compact;
pub mod log;
pub mod restore;
pub mod ship;
pub mod verify;
mod when;

use std::ffi::OsStr;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vwal::storage::{self, RetryPolicy, Storage, StorageUrl};

use super::Failure;

/// What may be a database or a URL: it is a URL when there is "://" in it.
fn as_url(what: &OsStr) -> Option<&str> {
    what.to_str().filter(|text| text.contains("://"))
}

/// The URL in an argument. What is wrong with it is said without repeating it: it may hold a secret.
fn parse_url(text: &str) -> Result<StorageUrl, Failure> {
    let url: StorageUrl = text.parse().map_err(|error: vwal::Error| Failure::usage(error.to_string()))?;
    if url.has_placeholder() {
        return Err(Failure::usage(
            "the storage URL has {name} in it, which only the name of a database fills: write that name",
        ));
    }
    Ok(url)
}

/// The URL in the environment, for a command that was given none.
fn url_of_environment() -> Result<String, Failure> {
    std::env::var("VWAL_STORAGE").ok().filter(|text| !text.is_empty() && text != "off").ok_or_else(|| {
        Failure::usage(
            "where is the storage? There is no URL, and VWAL_STORAGE in the environment names none",
        )
    })
}

/// Open storage and work with it, on a runtime of this thread.
fn with_storage<T>(
    text: &str,
    work: impl AsyncFnOnce(Arc<dyn Storage>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let url = parse_url(text)?;
    let runtime = storage::runtime()?;
    runtime.block_on(async { work(storage::open(&url, RetryPolicy::default())?).await })
}

/// A bar on standard error, hidden when that is no terminal. `template` as in indicatif.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
