//! Databases: which are open in this process, their background threads, and the handle that applications get.

mod background;
mod database;
pub mod inspect;
mod metrics;
mod registry;

pub use database::{Database, SegmentInfo, Status};
pub use registry::{Claim, OpenRequest, Registry};
