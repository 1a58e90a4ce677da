//! The eight locks of the wal-index, among the connections of all processes, without a system call.
//!
//! Each lock has one word for its exclusive owner, and each process counts its shares in its own slot. So nobody's death leaves
//! anything that cannot be told from life: every entry names the slot of a process, and the kernel says whether that lives.
//!
//! - *Shared*: add to the own count, then look at the word of the exclusive owner. If there is one, take the count back.
//! - *Exclusive*: put the own slot into the word, then look at the counts of all slots. If there is one, take the word back.
//!
//! Both steps of each are sequentially consistent, so of a sharer and an owner that come at once at least one sees the other. Both may
//! see the other and give up; both cannot succeed. SQLite tries again in either case.
//!
//! Whoever finds a dead process in its way cleans up after it (`processes.rs`), and tries again.

use std::sync::Arc;

use super::lines::Lines;
use super::memory::SharedMemory;
use super::processes::ProcessSlot;
use crate::sync::atomic::{AtomicU32, Ordering};

/// How many locks there are: `SQLITE_SHM_NLOCK`.
pub const LOCK_COUNT: usize = 8;
/// `WAL_WRITE_LOCK` of `wal.c`.
pub const WRITE_LOCK: usize = 0;

/// For each lock the slot of its exclusive owner, plus one; 0: none. Each in lines of its own: readers and the writer are on different
/// processors.
#[derive(Default)]
#[repr(C)]
pub struct ExclusiveOwners([Lines<AtomicU32>; LOCK_COUNT]);

impl ExclusiveOwners {
    pub(super) fn word(&self, lock: usize) -> &AtomicU32 {
        &self.0[lock]
    }

    /// Whether the process in a slot has a lock exclusively.
    pub(super) fn is_of(&self, lock: usize, slot: usize) -> bool {
        self.word(lock).load(Ordering::SeqCst) == slot as u32 + 1
    }

    /// The process in a slot, which is dead, has no lock exclusively any more.
    pub(super) fn free_all_of(&self, slot: usize) {
        (0..LOCK_COUNT).filter(|&lock| self.is_of(lock, slot)).for_each(|lock| self.free(lock));
    }

    /// Nobody has a lock exclusively any more. By its owner, or by who cleans up after that.
    pub(super) fn free(&self, lock: usize) {
        self.word(lock).store(0, Ordering::SeqCst);
    }
}

/// Ends what a dead process has begun.
pub trait Heir: Send + Sync {
    /// A process died with the write lock, which the caller holds now: its transaction ends. Doing it twice changes nothing: the heir may
    /// die, too. False: it cannot be done now, and the lock stays with the dead process.
    fn end_dead_writer(&self) -> bool;
}

/// The locks, for the connections of this process. Which of these holds what, the connections know themselves.
pub struct SharedLocks {
    memory: Arc<SharedMemory>,
}

impl SharedLocks {
    /// The locks of the log whose memory this is.
    pub fn new(memory: &Arc<SharedMemory>) -> SharedLocks {
        SharedLocks { memory: Arc::clone(memory) }
    }

    /// Share a lock once more. False: somebody has it exclusively.
    pub fn share(&self, lock: usize, heir: &dyn Heir) -> bool {
        let control = self.memory.control();
        let count = control.slots[self.memory.slot()].share_count(lock);
        let owner = control.owners.word(lock);
        loop {
            count.fetch_add(1, Ordering::SeqCst);
            let holder = owner.load(Ordering::SeqCst);
            if holder == 0 {
                return true;
            }
            count.fetch_sub(1, Ordering::SeqCst);
            if !self.memory.clean_if_dead(holder as usize - 1, heir) {
                return false;
            }
        }
    }

    /// Give up a share.
    pub fn unshare(&self, lock: usize) {
        self.memory.control().slots[self.memory.slot()].share_count(lock).fetch_sub(1, Ordering::SeqCst);
    }

    /// Take a lock exclusively. False: somebody has it.
    pub fn seize(&self, lock: usize, heir: &dyn Heir) -> bool {
        let control = self.memory.control();
        let owner = control.owners.word(lock);
        let mine = self.memory.slot() as u32 + 1;
        loop {
            let in_the_way = match owner.compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst) {
                Err(holder) => holder as usize - 1,
                Ok(_) => {
                    let shares = |slot: &ProcessSlot| slot.share_count(lock).load(Ordering::SeqCst) > 0;
                    let Some(sharer) = control.used_slots().iter().position(shares) else { return true };
                    control.owners.free(lock);
                    sharer
                }
            };
            if !self.memory.clean_if_dead(in_the_way, heir) {
                return false;
            }
        }
    }

    /// Give up an exclusive lock.
    pub fn release(&self, lock: usize) {
        self.memory.control().owners.free(lock);
    }

    /// If the exclusive owner of a lock is dead, clean up after it.
    pub fn clean_dead_owner(&self, lock: usize, heir: &dyn Heir) {
        let owner = self.memory.control().owners.word(lock).load(Ordering::SeqCst);
        if owner != 0 {
            self.memory.clean_if_dead(owner as usize - 1, heir);
        }
    }

    /// Whether nobody has a lock exclusively.
    pub fn is_unowned(&self, lock: usize) -> bool {
        self.memory.control().owners.word(lock).load(Ordering::SeqCst) == 0
    }
}
