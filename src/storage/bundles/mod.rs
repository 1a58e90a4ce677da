//! Bundles in storage: what there is, reading it, writing it.
//!
//! | file | purpose |
//! |---|---|
//! | `heads.rs` | what there is, from listings |
//! | `object.rs` | one object: its trailer, its indexes, ranges of it |
//! | `bundle.rs` | a bundle with its parts; a page of it; deleting it |
//! | `commits.rs` | the commits of a bundle, one after the other |
//! | `find.rs` | the bundle that holds a frame, the commit of a time, how far storage has come |
//! | `writer.rs` | writing a bundle |
//! | `task.rs` | work that goes on in the background |
//!
//! Nothing that storage says is believed: an object is checked against its key and its checksums before it is used, and
//! what does not fit is an [`Error::DamagedObject`].

mod bundle;
mod commits;
mod find;
mod heads;
mod object;
mod task;
mod writer;

pub use bundle::{Bundle, delete_bundle};
pub use commits::CommitCursor;
pub use find::{Durable, commit_at, durable_frame_no, find_by_frame, find_by_time};
pub use heads::{Head, PartObject, list, list_up_to, logs, parts};
pub use object::StoredObject;
pub(super) use task::{Task, compute};
pub use writer::{BundleWriter, OBJECT_LEN_TARGET, Written};

use crate::error::Error;
use crate::storage::Storage;

/// Damage in an object at `offset`.
pub(super) fn damaged(
    storage: &dyn Storage,
    key: &str,
    offset: impl Into<Option<u64>>,
    what: impl Into<String>,
) -> Error {
    Error::DamagedObject { object: object_name(storage, key), offset: offset.into(), what: what.into() }
}

/// What errors call an object.
pub(super) fn object_name(storage: &dyn Storage, key: &str) -> String {
    format!("{}/{key}", storage.url().trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
