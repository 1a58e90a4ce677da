//! Forked children.
//!
//! A child has the parent's memory, but neither its threads nor its locks, and SQLite's own rule is that a connection
//! must not be carried across a fork (<https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_>).
//! So every verb is refused there. Whether this is the child is known without a system call: a handler that runs in the
//! child at the fork counts up, and a handle remembers the count it was opened at.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::io::inherited_lock_descriptors;

static FORKS: AtomicU64 = AtomicU64::new(0);
static INSTALL: Once = Once::new();

/// How many forks lie between this process and the one that loaded vwal.
pub(super) fn generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Have the counter kept from now on.
pub(super) fn install() {
    INSTALL.call_once(|| {
        // SAFETY: the handler is a plain function that stays loaded: the extension is permanent, and so is an
        // application's own code.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    for descriptor in inherited_lock_descriptors() {
        // An flock is shared with the parent for as long as the descriptor is open here.
        // SAFETY: close is async-signal-safe. The descriptor belongs to a LockFile that this child never drops, since
        // every verb refuses before it gets there.
        unsafe { libc::close(descriptor) };
    }
}
