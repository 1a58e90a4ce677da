//! Databases: which are open in this process, their background tasks, and the handle that applications get.

mod background;
mod database;
pub mod inspect;
mod metrics;
mod patience;
mod registry;

#[cfg(all(test, shuttle))]
pub(crate) use background::start_tasks;
pub use database::{Database, SegmentInfo, Status};
pub use registry::{Claim, OpenRequest, Registry};
