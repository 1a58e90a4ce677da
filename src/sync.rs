//! Locks, condition variables, atomics, threads and the clock of those parts whose threads depend on each other: those of `parking_lot`
//! and of the standard library.
//!
//! Built for the models of `src/testing/schedules` (`VWAL_SHUTTLE=1 cargo test --lib schedules`), they are those of shuttle, which
//! runs threads in any order that it likes, one at a time (`src/testing/sync.rs`). The interface is that of `parking_lot` then too.

#[cfg(all(test, shuttle))]
pub use crate::testing::sync::*;

#[cfg(not(all(test, shuttle)))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(all(test, shuttle)))]
pub use std::hint;
#[cfg(not(all(test, shuttle)))]
pub use std::sync::atomic;
#[cfg(not(all(test, shuttle)))]
pub use std::thread;
#[cfg(not(all(test, shuttle)))]
pub use std::time::Instant;

/// Those of the standard library, with its interface.
#[cfg(not(all(test, shuttle)))]
pub mod standard {
    pub use std::sync::{Condvar, Mutex, MutexGuard};
}
