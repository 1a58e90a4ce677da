//! What the processes that have a database open agree on, in memory that all of them map: the file `shm` in the log directory.
//!
//! | part | what it has |
//! |---|---|
//! | [`Positions`] | how far each step of a frame's way has come |
//! | [`SharedLocks`] | the eight locks of the wal-index |
//! | [`Process`] | who has the database open; cleaning up after the dead |
//! | [`Section`] | what one process at a time does, with waiting |
//! | [`LogState`] | what the processes leave to each other of the log |
//! | [`SharedMemory`] | the mapping, and the regions of the wal-index in it |
//!
//! The process that recovers the log makes the memory anew, and the last one to close it removes the file. Every field is an atomic, and is
//! changed without a system call. Any process may die between any two of its steps, so each part says what it leaves then, and
//! what others do about it. The layout is in docs/format.md.

mod control;
mod lines;
mod locks;
mod log_state;
mod memory;
mod positions;
mod processes;
#[cfg(all(test, shuttle))]
mod schedules;
mod section;

pub use locks::{Heir, LOCK_COUNT, SharedLocks, WRITE_LOCK};
pub use log_state::TailState;
pub use memory::{SHM_NAME, SharedMemory, SharedPositions};
pub use positions::{PassLimit, Positions, Start};
pub use processes::{Liveness, Process};
pub use section::{Entered, Section};
