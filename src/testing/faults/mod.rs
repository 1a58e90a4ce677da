//! What must hold when files fail: the numbered invariants of `docs/design.md`, power loss, and I/O errors.
//!
//! The tests drive a log through the verbs that the shim calls, with made-up pages (`rig.rs`), over files in memory
//! (`testing/io`).

#[path = "../../../tests/common/campaign.rs"]
pub(crate) mod campaign;
mod corruption;
mod group_commit;
mod invariants;
mod io_errors;
mod mutation;
mod pages;
mod power_loss;
mod restoring;
pub(crate) mod rig;
mod sealing;
mod shipped;
mod sim;
mod stored;
mod stormy;
mod swapping;
mod sweep;
mod unsynced;
mod wal_reads;
mod workload;
