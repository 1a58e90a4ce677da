//! The command `vwal`, run as people and scripts run it: every subcommand, as text and as JSON, and every exit code.
//!
//! Nothing here registers vwal in the test's own process, but for the one that plays another application (`run.rs`).

mod arguments;
mod databases;
mod demo;
mod looking;
mod run;
mod s3;
#[path = "../common/s3.rs"]
mod servers;
mod storage;
