//! Shipping, seen from an application: what a database with storage does, and what is in storage afterwards.

mod away;
mod backlog;
mod basics;
mod closing;
mod cost;
mod fencing;
mod gaps;
mod keeping;
mod lab;
mod primaries;
mod quiet;
mod storm;

#[path = "../common/campaign.rs"]
mod campaign;
#[path = "../common/lab.rs"]
mod common_lab;
#[path = "../common/faulty.rs"]
mod faulty;
#[path = "../crash/ledger.rs"]
mod ledger;
#[path = "../common/random.rs"]
mod random;
