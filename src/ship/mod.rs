//! Shipping: from the log on this disk to storage.
//!
//! Two tasks for each database that has storage, on threads that all databases share (`task.rs`), with one runtime for the network
//! (`network.rs`):
//!
//! - the *shipper* (`shipper.rs`) finds out what storage has (`reconcile.rs`), puts a base snapshot there if the log is new
//!   (`base.rs`), and from then on a bundle of level 0 per interval (`cut.rs`): every frame, up to the last commit that is
//!   fsynced;
//! - the *keeper* (`keeper.rs`) merges bundles (`compact.rs`), takes snapshots, and deletes what has expired (`retain.rs`).
//!
//! Nothing here is on the way of a commit. What commits need to know stands in the log (`log/remote.rs`).

mod base;
pub mod compact;
mod cut;
mod keeper;
mod network;
mod reconcile;
pub mod retain;
mod shipper;
mod stats;
mod task;

pub use stats::Stats;
pub(crate) use task::{Shipping, Tasks, Workers, start};
#[cfg(test)]
pub(crate) use task::{keep_once, ship_once, ship_once_as};
