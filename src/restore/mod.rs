//! Making a database from what storage has, and checking that storage has it.

pub mod lineage;
mod output;
pub mod plan;
mod resolve;
mod run;
pub mod verify;

pub use resolve::{Resolved, Target, log_ends};
pub use run::{Advance, Restore, Restored, leftovers};
