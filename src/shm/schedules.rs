//! The locks of several processes, any of which may die at any step: see `src/testing/schedules`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::control::SLOTS;
use super::locks::{Heir, LOCK_COUNT, SharedLocks, WRITE_LOCK};
use super::memory::SharedMemory;
use super::processes::Liveness;
use super::section::Section;
use crate::error::Result;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::testing::schedules::{explore, must_fail};
use crate::testing::sync::dying::{Dying, step};

const CI: u64 = 10_000;
const PROCESSES: u32 = 3;
const CONNECTIONS: usize = 2;
const STEPS: u32 = 5;
/// A process dies at one of so many steps.
const ODDS: u32 = 60;

/// What holders believe, and what the kernel knows. The mutexes are not shuttle's: nobody who holds one can be interrupted.
struct World {
    kernel: Mutex<[Option<u32>; SLOTS]>,
    /// (process, lock, exclusively)
    holders: Mutex<Vec<(u32, usize, bool)>>,
    /// The writer who has begun something and not ended it, or 0: what `end_dead_writer` is for.
    unfinished: AtomicU32,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The kernel says that a process is dead which lives.
    TakesTheLivingForDead,
    /// Nobody ends what a dead writer began.
    NoHeir,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn new(fault: Fault) -> Arc<World> {
        Arc::new(World {
            kernel: Mutex::default(),
            holders: Mutex::default(),
            unfinished: AtomicU32::new(0),
            fault,
        })
    }

    fn has_died(&self, pid: u32) {
        lock(&self.kernel).iter_mut().filter(|owner| **owner == Some(pid)).for_each(|owner| *owner = None);
        lock(&self.holders).retain(|&(holder, ..)| holder != pid);
    }

    fn took(&self, pid: u32, at: usize, exclusive: bool) {
        let mut holders = lock(&self.holders);
        holders.push((pid, at, exclusive));
        let of_lock: Vec<_> = holders.iter().filter(|&&(_, lock, _)| lock == at).collect();
        let is_right = of_lock.len() == 1 || of_lock.iter().all(|(.., exclusive)| !exclusive);
        assert!(is_right, "lock {at} has more than its owner: {of_lock:?}");
    }

    fn gives_back(&self, pid: u32, at: usize, exclusive: bool) {
        let mut holders = lock(&self.holders);
        if let Some(mine) = holders.iter().position(|&holder| holder == (pid, at, exclusive)) {
            holders.swap_remove(mine);
        }
    }
}

/// The world as a process sees it.
struct Seen {
    world: Arc<World>,
    pid: u32,
}

impl Liveness for Seen {
    fn take(&self, slot: usize) -> Result<bool> {
        // The dead do not call the kernel.
        step();
        let owner = &mut lock(&self.world.kernel)[slot];
        let lies = self.world.fault == Fault::TakesTheLivingForDead;
        if owner.is_none() || lies {
            *owner = Some(self.pid);
        }
        Ok(*owner == Some(self.pid))
    }
    fn give_back(&self, slot: usize) {
        step();
        let owner = &mut lock(&self.world.kernel)[slot];
        if *owner == Some(self.pid) {
            *owner = None;
        }
    }
}

impl Heir for Seen {
    fn end_dead_writer(&self) -> bool {
        if self.world.fault != Fault::NoHeir {
            self.world.unfinished.store(0, Ordering::SeqCst);
        }
        true
    }
}

/// What a connection does.
fn connection(locks: &SharedLocks, seen: &Seen) {
    let (world, pid) = (&seen.world, seen.pid);
    let mut mine: Vec<(usize, bool)> = Vec::new();
    for _ in 0..STEPS {
        let at = [WRITE_LOCK, 3, 4][thread_rng().gen_range(0..3)];
        let exclusive = at == WRITE_LOCK || thread_rng().gen_ratio(1, 3);
        let is_mine = mine.iter().any(|&(lock, _)| lock == at);
        if !is_mine && if exclusive { locks.seize(at, seen) } else { locks.share(at, seen) } {
            world.took(pid, at, exclusive);
            mine.push((at, exclusive));
            if at == WRITE_LOCK {
                let before = world.unfinished.swap(pid, Ordering::SeqCst);
                assert_eq!(before, 0, "the writer before has left something unfinished");
            }
        }
        if mine.len() > 1 || thread_rng().gen_ratio(1, 3) {
            give_up(locks, seen, &mut mine);
        }
    }
    give_up(locks, seen, &mut mine);
}

fn give_up(locks: &SharedLocks, seen: &Seen, mine: &mut Vec<(usize, bool)>) {
    for (at, exclusive) in mine.drain(..) {
        if at == WRITE_LOCK {
            seen.world.unfinished.store(0, Ordering::SeqCst);
        }
        seen.world.gives_back(seen.pid, at, exclusive);
        if exclusive { locks.release(at) } else { locks.unshare(at) }
    }
}

/// The life of a process.
fn process(first: &SharedMemory, world: &Arc<World>, pid: u32, odds: u32) {
    let kernel = Arc::clone(world);
    let dying = Dying::new(odds, move || kernel.has_died(pid));
    let see = || Seen { world: Arc::clone(world), pid };
    let opened = dying.run(|| first.in_another_process(Arc::new(see()), pid).expect("there is a slot"));
    let Some(memory) = opened.map(Arc::new) else { return };
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                dying.run(|| connection(&SharedLocks::new(&memory), &see()));
            });
        }
    });
    dying.run(|| memory.leave());
}

fn model(fault: Fault, odds: u32) {
    let world = World::new(fault);
    let first = SharedMemory::alone();
    thread::scope(|scope| {
        for number in 1..=PROCESSES {
            let (world, first) = (&world, &first);
            scope.spawn(move || {
                // Another one comes in its place.
                process(first, world, number, odds);
                process(first, world, number + PROCESSES, odds);
            });
        }
    });
    // Whatever they left, somebody who comes later gets every lock.
    let last = Seen { world: Arc::clone(&world), pid: 100 };
    let liveness = Arc::new(Seen { world: Arc::clone(&world), pid: 100 });
    let memory = first.in_another_process(liveness, 100).expect("there is a slot");
    let locks = SharedLocks::new(&Arc::new(memory));
    for at in 0..LOCK_COUNT {
        assert!(locks.seize(at, &last), "lock {at} was left behind");
    }
    assert_eq!(world.unfinished.load(Ordering::SeqCst), 0, "the last writer has left something unfinished");
}

#[test]
fn the_locks_of_dead_processes_are_free_and_those_of_the_living_are_not() {
    explore("locks of several processes, which die", CI, || model(Fault::None, ODDS));
}

#[test]
fn the_locks_of_several_processes_exclude_each_other() {
    explore("locks of several processes", CI / 2, || model(Fault::None, 0));
}

#[test]
fn a_process_that_is_taken_for_dead_is_found() {
    must_fail(CI, None, "has more than its owner", || model(Fault::TakesTheLivingForDead, ODDS));
}

#[test]
fn a_dead_writer_without_an_heir_is_found() {
    must_fail(CI, None, "has left something unfinished", || model(Fault::NoHeir, ODDS));
}

/// What is done in a section: two steps, between which its process may die.
fn work_in_section(memory: &SharedMemory, half_done: &AtomicU32, pid: u32, fault: SectionFault) {
    for _ in 0..STEPS {
        let entered = memory.enter(Section::Pass);
        // Who is not told of a death finds nothing that one has left.
        let left = half_done.swap(pid, Ordering::SeqCst);
        let is_told = entered.is_inherited() && fault != SectionFault::ForgetsDeath;
        assert!(left == 0 || is_told, "process {left} has left something half done");
        assert_eq!(half_done.swap(0, Ordering::SeqCst), pid, "two processes are in the section");
        if fault == SectionFault::LeavesTwice {
            memory.exit(Section::Pass);
        }
        drop(entered);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SectionFault {
    None,
    /// Nobody looks whether the process before has died.
    ForgetsDeath,
    /// A thread leaves the section for another one of its process.
    LeavesTwice,
}

fn section_model(kernel_fault: Fault, fault: SectionFault, odds: u32) {
    let world = World::new(kernel_fault);
    let first = SharedMemory::alone();
    let half_done = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 1..=PROCESSES {
            let (world, first, half_done) = (&world, &first, &half_done);
            scope.spawn(move || {
                for pid in [number, number + PROCESSES] {
                    let kernel = Arc::clone(world);
                    let dying = Dying::new(odds, move || kernel.has_died(pid));
                    let seen = Arc::new(Seen { world: Arc::clone(world), pid });
                    let opened = dying.run(|| first.in_another_process(seen, pid).expect("there is a slot"));
                    let Some(memory) = opened else { continue };
                    thread::scope(|scope| {
                        for _ in 0..CONNECTIONS {
                            scope.spawn(|| dying.run(|| work_in_section(&memory, half_done, pid, fault)));
                        }
                    });
                    dying.run(|| memory.leave());
                }
            });
        }
    });
    // Whatever they left, somebody who comes later gets in, and is told.
    let liveness = Arc::new(Seen { world: Arc::clone(&world), pid: 100 });
    let memory = first.in_another_process(liveness, 100).expect("there is a slot");
    work_in_section(&memory, &half_done, 100, fault);
}

#[test]
fn a_section_is_for_one_process_and_its_death_is_told_to_the_next() {
    explore("sections of several processes, which die", CI, || {
        section_model(Fault::None, SectionFault::None, ODDS);
    });
}

#[test]
fn a_section_whose_dead_process_is_forgotten_is_found() {
    must_fail(CI, None, "has left something half done", || {
        section_model(Fault::None, SectionFault::ForgetsDeath, ODDS);
    });
}

#[test]
fn a_section_of_a_process_that_is_taken_for_dead_is_found() {
    must_fail(CI, None, "two processes are in the section", || {
        section_model(Fault::TakesTheLivingForDead, SectionFault::None, 0);
    });
}

#[test]
fn a_section_that_is_left_for_another_thread_is_found() {
    must_fail(CI, None, "half done", || section_model(Fault::None, SectionFault::LeavesTwice, 0));
}
