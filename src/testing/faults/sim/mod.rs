//! A real SQLite, with `vwal` in it, over files in memory: what is promised must hold for SQL, whatever becomes of the files.
//!
//! A [`machine::Machine`] is one process on one disk. [`program`] makes it live a random life, by seed: commits of two
//! connections, savepoints, spills, checkpoints, all that the background threads do (step by step, as there are none here),
//! shipping, leaving WAL mode and coming back, adopting a WAL of stock SQLite, closing and being killed. [`golden`] knows
//! what each commit leaves, from another SQLite that has nothing to do with vwal.

mod golden;
mod io_errors;
mod lives;
mod machine;
mod mutation;
mod power_loss;
mod program;
mod step;
