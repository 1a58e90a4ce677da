//! See `src/sync.rs`: everything here leaves it to shuttle which thread goes on. The clock is made up, so that a wait with a time
//! limit may end before anything else happens, or long after.

pub mod atomic;
pub mod dying;

use std::cell::Cell;
use std::ops::{Add, AddAssign, Deref, DerefMut, Sub};
use std::sync::PoisonError;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync as below;

pub use shuttle::hint;
pub use shuttle::thread;

/// What a look at the clock takes.
const LOOK: Duration = Duration::from_micros(1);
/// A wait with a limit from here on is meant to end by what it waits for. It never runs out, and a model whose threads wait for
/// nothing else does not end.
const FOREVER: Duration = Duration::from_secs(60);

thread_local! {
    /// Shuttle runs all threads of a model on one thread of the system.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Something that is wrong below a model on purpose, to see that the model fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A call that should wake everybody wakes one.
    WakesOne,
    /// A call wakes nobody.
    WakesNobody,
}

/// A new run of a model begins.
pub fn begin_run(fault: Option<Fault>) {
    NOW.set(Duration::ZERO);
    FAULT.set(fault);
}

/// The made-up time since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        // Now and then the machine had something else to do.
        let pause = if thread_rng().gen_ratio(1, 64) { LOOK * 200 } else { LOOK };
        NOW.set(NOW.get() + pause);
        Instant(NOW.get())
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, length: Duration) -> Instant {
        Instant(self.0 + length)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, length: Duration) {
        *self = *self + length;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// As in `parking_lot`.
#[derive(Default)]
pub struct Mutex<T>(below::Mutex<T>);

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(below::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, inner: Some(self.lock_below()) }
    }

    fn lock_below(&self) -> below::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As in `parking_lot`.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` while it is unlocked for a moment.
    inner: Option<below::MutexGuard<'a, T>>,
}

impl<T> MutexGuard<'_, T> {
    pub fn unlocked<U>(guard: &mut Self, act: impl FnOnce() -> U) -> U {
        drop(guard.inner.take());
        let result = act();
        guard.inner = Some(guard.mutex.lock_below());
        result
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("it is locked")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("it is locked")
    }
}

/// As in `parking_lot`.
#[derive(Default)]
pub struct RwLock<T>(below::RwLock<T>);

impl<T> RwLock<T> {
    pub const fn new(value: T) -> RwLock<T> {
        RwLock(below::RwLock::new(value))
    }

    pub fn read(&self) -> below::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> below::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for one condition, by tickets.
#[derive(Default)]
struct Waiting {
    /// Not shuttle's: whoever has it does nothing that shuttle could interrupt.
    tickets: std::sync::Mutex<(u64, Vec<u64>)>,
    woken: below::Condvar,
}

impl Waiting {
    fn tickets(&self) -> std::sync::MutexGuard<'_, (u64, Vec<u64>)> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self) -> u64 {
        let mut tickets = self.tickets();
        tickets.0 += 1;
        let ticket = tickets.0;
        tickets.1.push(ticket);
        ticket
    }

    fn waits(&self, ticket: u64) -> bool {
        self.tickets().1.contains(&ticket)
    }

    /// Whether nobody had called this one.
    fn give_up(&self, ticket: u64) -> bool {
        let mut tickets = self.tickets();
        let before = tickets.1.len();
        tickets.1.retain(|&other| other != ticket);
        tickets.1.len() < before
    }

    fn wait<'a, T>(&self, mut guard: below::MutexGuard<'a, T>) -> below::MutexGuard<'a, T> {
        let ticket = self.join();
        while self.waits(ticket) {
            guard = self.woken.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        guard
    }

    /// `pause` lets go of the lock for a moment. True: the time ran out.
    fn wait_for(&self, length: Duration, mut pause: impl FnMut()) -> bool {
        let ticket = self.join();
        let until = NOW.get() + length;
        loop {
            pause();
            if !self.waits(ticket) {
                return false;
            }
            if length < FOREVER && thread_rng().gen_ratio(1, 8) {
                NOW.set(NOW.get().max(until));
            }
            if NOW.get() >= until {
                return self.give_up(ticket);
            }
        }
    }

    fn notify_one(&self) {
        if FAULT.get() == Some(Fault::WakesNobody) {
            return;
        }
        // Any of them: no order is promised.
        let random = thread_rng().r#gen::<usize>();
        let mut tickets = self.tickets();
        if !tickets.1.is_empty() {
            let at = random % tickets.1.len();
            tickets.1.remove(at);
        }
        drop(tickets);
        self.woken.notify_all();
    }

    fn notify_all(&self) {
        if matches!(FAULT.get(), Some(Fault::WakesOne | Fault::WakesNobody)) {
            return self.notify_one();
        }
        self.tickets().1.clear();
        self.woken.notify_all();
    }
}

/// The end of a wait with a limit.
#[derive(Clone, Copy)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// As in `parking_lot`.
#[derive(Default)]
pub struct Condvar(Waiting);

impl Condvar {
    pub fn new() -> Condvar {
        Condvar::default()
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.inner = guard.inner.take().map(|inner| self.0.wait(inner));
    }

    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, length: Duration) -> WaitTimeoutResult {
        let pause = || MutexGuard::unlocked(guard, shuttle::thread::yield_now);
        WaitTimeoutResult(self.0.wait_for(length, pause))
    }

    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> WaitTimeoutResult {
        self.wait_for(guard, until.0.saturating_sub(NOW.get()))
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

pub mod standard {
    //! With the interface of the standard library.

    use std::sync::LockResult;
    use std::time::Duration;

    pub use super::MutexGuard;
    use super::WaitTimeoutResult;

    #[derive(Default)]
    pub struct Mutex<T>(super::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            Ok(self.0.lock())
        }
    }

    #[derive(Default)]
    pub struct Condvar(super::Condvar);

    impl Condvar {
        pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.0.wait(&mut guard);
            Ok(guard)
        }

        pub fn wait_timeout<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            length: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
            let result = self.0.wait_for(&mut guard, length);
            Ok((guard, result))
        }

        pub fn notify_one(&self) {
            self.0.notify_one();
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
