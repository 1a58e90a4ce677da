//! Where the lock is that says who owns a simulated log: it is a real one.

use std::cell::RefCell;
use std::path::Path;

thread_local! {
    static LOCK_DIRS: RefCell<Vec<tempfile::TempDir>> = const { RefCell::new(Vec::new()) };
}

/// Where a lock is. The next one to need such a directory on this thread takes it over: making and removing them took longer
/// than all else in a simulated power loss.
pub struct LockDir(Option<tempfile::TempDir>);

impl LockDir {
    pub fn new() -> LockDir {
        let used = LOCK_DIRS.with_borrow_mut(Vec::pop);
        // In memory, where there is such a place.
        let memory = Path::new("/dev/shm");
        let new = || if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        LockDir(Some(used.unwrap_or_else(|| new().expect("a temporary directory"))))
    }

    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("it is there until it is dropped").path()
    }
}

impl Drop for LockDir {
    fn drop(&mut self) {
        // At the end of the thread the list is gone, and the directory goes too.
        let dir = self.0.take();
        let _ = LOCK_DIRS.try_with(|dirs| dirs.borrow_mut().extend(dir));
    }
}
