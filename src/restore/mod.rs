//! Making a database from what storage has, and checking that storage has it.

mod commits;
pub mod lineage;
mod output;
pub mod plan;
mod resolve;
mod run;
pub mod verify;

pub use commits::{LoggedCommit, Wanted, commits, commits_in};
pub use resolve::{Resolved, Target, log_ends};
pub use run::{Advance, Restore, Restored, leftovers};
