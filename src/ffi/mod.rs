//! The boundary to C: the only module with `unsafe`.
//!
//! Towards C it offers the verbs (`methods.rs`, declared in `c/vwal.h`) and the extension's entry point (`register.rs`);
//! from C it takes the base file and a few functions of SQLite (`shim.rs`). Every call from C goes through `guard.rs`,
//! which turns a panic into an error code and refuses calls in a forked child.

mod base_file;
mod buffers;
mod codes;
mod fork;
mod guard;
mod methods;
mod register;
mod shim;
mod shm;
mod sql;

pub use register::{register, sqlite3_vwal_init};
