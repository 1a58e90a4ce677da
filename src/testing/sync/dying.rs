//! Processes of a model that die at any step: before any access to an atomic.
//!
//! A thread that belongs to a process unwinds when that dies, and so do the other threads of the process when they come to their next
//! step. Until then they do nothing that another process could see.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shuttle::rand::{Rng, thread_rng};

/// A process of a model.
pub struct Dying {
    dead: AtomicBool,
    /// It dies at one of so many steps, on average; 0: never.
    odds: u32,
    /// What the kernel does then, before anybody else goes on.
    on_death: Box<dyn Fn() + Send + Sync>,
}

shuttle::thread_local! {
    static CURRENT: RefCell<Option<Arc<Dying>>> = RefCell::new(None);
}

/// The reason of an unwinding that is no failure.
struct Killed;

impl Dying {
    pub fn new(odds: u32, on_death: impl Fn() + Send + Sync + 'static) -> Arc<Dying> {
        Arc::new(Dying { dead: AtomicBool::new(false), odds, on_death: Box::new(on_death) })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Do something as a thread of this process. `None`: it died.
    pub fn run<T>(self: &Arc<Dying>, act: impl FnOnce() -> T) -> Option<T> {
        CURRENT.with(|current| current.replace(Some(Arc::clone(self))));
        let result = catch_unwind(AssertUnwindSafe(act));
        CURRENT.with(|current| current.replace(None));
        match result {
            Ok(result) => Some(result),
            Err(reason) if <dyn Any>::is::<Killed>(&*reason) => None,
            Err(reason) => resume_unwind(reason),
        }
    }
}

/// The current thread's process may die here.
pub fn step() {
    let Some(process) = CURRENT.with(|current| current.borrow().clone()) else { return };
    if !process.is_dead() {
        if process.odds == 0 || !thread_rng().gen_ratio(1, process.odds) {
            return;
        }
        process.dead.store(true, Ordering::Relaxed);
        (process.on_death)();
    }
    // What is dropped on the way is memory of this process.
    CURRENT.with(|current| current.replace(None));
    // Not a panic, which would be reported as a failure of the model.
    resume_unwind(Box::new(Killed));
}
