//! What two processes see of each other, as scripts of steps: on vwal the same as on stock SQLite.

#[path = "semantics/checkpoints.rs"]
mod checkpoints;
#[path = "semantics/features.rs"]
mod features;
#[path = "semantics/isolation.rs"]
mod isolation;
#[path = "semantics/locking.rs"]
mod locking;
#[path = "semantics/modes.rs"]
mod modes;
#[path = "semantics/schema.rs"]
mod schema;
