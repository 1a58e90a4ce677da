//! Restoring databases from storage, and verifying what is there.
//!
//! The stores are made of the history of a real database (`common/history.rs`), so that every byte that must come back is
//! known.

#[path = "../common/campaign.rs"]
mod campaign;
#[path = "../common/history.rs"]
mod history;
#[path = "../common/objects.rs"]
mod objects;
#[path = "../common/random.rs"]
mod random;

mod damage;
mod going_on;
mod kill;
mod lineage;
mod output;
mod states;
