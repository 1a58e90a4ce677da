//! Databases: which are open in this process, their background threads, and the handle that applications get.

mod background;
mod database;
pub mod inspect;
mod metrics;
mod patience;
mod registry;

#[cfg(all(test, shuttle))]
pub(crate) use background::{checkpoint_loop, sync_loop};
pub use database::{Database, SegmentInfo, Status};
pub use registry::{Claim, OpenRequest, Registry};
