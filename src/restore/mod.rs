//! Making a database from what storage has, and checking that storage has it.

pub mod lineage;
pub mod plan;
