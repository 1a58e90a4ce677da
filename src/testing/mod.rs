//! What the tests of the library are made of, and the tests that need several of its modules: none of it is in the product.
//!
//! | module | |
//! |---|---|
//! | `io` | A disk in memory that remembers what was fsynced, fails on demand, and can be looked at as of any operation. |
//! | `vfs` | A VFS for SQLite on that disk, below vwal. |
//! | `storage` | An object store that hides, delays, loses and counts. |
//! | `sync` | Locks and atomics that hand the order of threads to shuttle. |
//! | `counting` | An allocator that counts, and refuses. |
//! | `faults` | The fault programme (`docs/reliability.md`). |
//! | `schedules` | Models of the threads, in random orders. |
//! | `fuzz` | Every decoder as a target. |

#[cfg(test)]
pub mod counting;
#[cfg(test)]
pub mod faults;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(test)]
pub mod io;
#[cfg(all(test, shuttle))]
pub mod schedules;
#[cfg(test)]
pub mod storage;
#[cfg(all(test, shuttle))]
pub mod sync;
#[cfg(test)]
pub mod vfs;
