//! Forked children.
//!
//! A child has the parent's memory, but neither its threads nor its locks, and SQLite's own rule is that a connection
//! must not be carried across a fork (<https://sqlite.org/howtocorrupt.html#_carrying_an_open_database_across_a_fork_>).
//! So every verb is refused there. Whether this is the child is known without a system call: a handler that runs in the
//! child at the fork counts up, and a handle remembers the count it was opened at.
//!
//! Nor may a child open databases itself when its parent had some open. It would find its parent's logs, and write to
//! them beside its parent; and the threads that waited in the parent are still in the queues of `parking_lot`, with
//! stacks that the next thread of the child is given. A child of a parent without open databases may open what it likes;
//! it must only not wait for a mutex that another thread of the parent held at the fork, so what the threads of a process
//! share is [`PerProcess`]. The background threads belong to the registry: a child has a new one, and starts its own.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::io::inherited_lock_descriptors;

static FORKS: AtomicU64 = AtomicU64::new(0);
/// The parent had databases open at the fork.
static HAS_INHERITED: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// How many forks lie between this process and the one that loaded vwal.
pub(super) fn generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Whether this process may open databases.
pub(super) fn check_open() -> Result<()> {
    if HAS_INHERITED.load(Ordering::Relaxed) { Err(Error::Forked) } else { Ok(()) }
}

/// Have the counter kept from now on.
pub(super) fn install() {
    INSTALL.call_once(|| {
        // SAFETY: the handler is a plain function that stays loaded: the extension is permanent, and so is an
        // application's own code.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// A value that is made when it is first asked for, and once more in a forked child.
pub(super) struct PerProcess<T> {
    value: AtomicPtr<T>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    pub(super) const fn new() -> Self {
        PerProcess { value: AtomicPtr::new(std::ptr::null_mut()) }
    }

    pub(super) fn get(&self, make: impl FnOnce() -> T) -> &'static T {
        let mut value = self.value.load(Ordering::Acquire);
        if value.is_null() {
            let made = Box::into_raw(Box::new(make()));
            let null = std::ptr::null_mut();
            value = match self.value.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => made,
                Err(first) => {
                    // SAFETY: nobody else has seen it; it was made by Box::into_raw above.
                    drop(unsafe { Box::from_raw(made) });
                    first
                }
            };
        }
        // SAFETY: it was made by Box::into_raw and is never freed: `forget` leaks it.
        unsafe { &*value }
    }

    /// The parent's value, as it was at the fork, is left alone.
    fn forget(&self) {
        self.value.store(std::ptr::null_mut(), Ordering::Release);
    }
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    super::methods::REGISTRY.forget();
    super::register::CACHE.forget();
    super::register::INITIALISING.forget();
    super::register::REGISTERING.forget();
    for descriptor in inherited_lock_descriptors() {
        HAS_INHERITED.store(true, Ordering::Relaxed);
        // An flock is shared with the parent for as long as the descriptor is open here.
        // SAFETY: close is async-signal-safe. The descriptor belongs to a LockFile that this child never drops, since
        // every verb refuses before it gets there.
        unsafe { libc::close(descriptor) };
    }
}
