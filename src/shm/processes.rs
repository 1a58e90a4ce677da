//! The processes that have a database open: one slot each.
//!
//! The owner of a slot holds a lock of the kernel on it for as long as it lives ([`Liveness`]). Nothing is decided by process ids: those are
//! used again, and in another container they are others.

use super::locks::{Heir, LOCK_COUNT, WRITE_LOCK};
use super::memory::SharedMemory;
use crate::error::{Error, Result};
use crate::io::LockFile;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a program's name that are kept.
const NAME_BYTES: usize = 64;
const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// A process, and what its connections share.
#[derive(Default)]
#[repr(C, align(128))]
pub struct ProcessSlot {
    /// For each lock how many connections of the process share it.
    shares: [AtomicU32; LOCK_COUNT],
    state: AtomicU32,
    pid: AtomicU32,
    /// Microseconds since 1970.
    since_us: AtomicU64,
    /// UTF-8, and zeros after it.
    program: [AtomicU64; NAME_BYTES / 8],
    /// How many in the process read the base file as it is: no pass may change it.
    pins: AtomicU32,
    /// How many in the process wait for storage.
    waiters: AtomicU32,
    /// Connections of the process that have the wal-index mapped.
    mapped: AtomicU32,
}

#[cfg(not(all(test, shuttle)))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(ProcessSlot, state) == 32 && offset_of!(ProcessSlot, pid) == 36);
    assert!(offset_of!(ProcessSlot, since_us) == 40 && offset_of!(ProcessSlot, program) == 48);
};

/// A process that has the database open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its slot, from 0.
    pub slot: usize,
    /// Its id, as it knows it itself: in another container it may have another one.
    pub pid: u32,
    /// The name of its program.
    pub program: String,
    /// When it opened the database, microseconds since 1970.
    pub since_us: u64,
}

impl Process {
    /// When it opened the database, as RFC 3339 has it, in UTC.
    pub fn since(&self) -> String {
        let since_us = i64::try_from(self.since_us).unwrap_or(i64::MAX);
        jiff::Timestamp::from_microsecond(since_us).unwrap_or(jiff::Timestamp::MAX).to_string()
    }
}

/// Who can tell whether the process in a slot lives.
pub trait Liveness: Send + Sync {
    /// Take a slot. False: a process that lives has it. What this process has taken already, it gets again.
    fn take(&self, slot: usize) -> Result<bool>;
    /// Give a slot back.
    fn give_back(&self, slot: usize);
}

/// By a lock on a byte of the lock file, which the kernel drops when the process ends in any way.
impl Liveness for LockFile {
    fn take(&self, slot: usize) -> Result<bool> {
        self.lock_byte(byte_of(slot))
    }
    fn give_back(&self, slot: usize) {
        self.unlock_byte(byte_of(slot));
    }
}

/// The byte of the lock file that the process in a slot locks. Byte 0 is the door (`io/lock.rs`).
fn byte_of(slot: usize) -> u64 {
    slot as u64 + 1
}

impl ProcessSlot {
    pub(super) fn share_count(&self, lock: usize) -> &AtomicU32 {
        &self.shares[lock]
    }

    fn fill(&self, process: &Process) {
        self.pid.store(process.pid, Ordering::Relaxed);
        self.since_us.store(process.since_us, Ordering::Relaxed);
        let mut name = [[0; 8]; NAME_BYTES / 8];
        for (byte, of) in name.as_flattened_mut().iter_mut().zip(process.program.bytes()) {
            *byte = of;
        }
        for (word, bytes) in self.program.iter().zip(&name) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        self.state.store(TAKEN, Ordering::Release);
    }

    fn read(&self, slot: usize) -> Option<Process> {
        if self.state.load(Ordering::Acquire) == FREE {
            return None;
        }
        let name: Vec<u8> =
            self.program.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        Some(Process {
            slot,
            pid: self.pid.load(Ordering::Relaxed),
            program: String::from_utf8_lossy(&name[..len]).into_owned(),
            since_us: self.since_us.load(Ordering::Relaxed),
        })
    }

    /// The process has no connection any more, or is dead.
    fn clear(&self) {
        let counts = self.shares.iter().chain([&self.pins, &self.waiters, &self.mapped]);
        counts.for_each(|count| count.store(0, Ordering::SeqCst));
        self.state.store(FREE, Ordering::Release);
    }
}

impl SharedMemory {
    /// The processes that have the database open.
    pub fn processes(&self) -> Vec<Process> {
        let taken = self.control().used_slots().iter().enumerate().filter_map(|(at, slot)| slot.read(at));
        taken.filter(|process| !self.has_died(process.slot)).collect()
    }

    /// Take a slot for this process. Errors: [`Error::Usage`] when all are taken.
    pub(super) fn take_slot(&self, pid: u32, program: &str, now_us: u64) -> Result<usize> {
        let control = self.control();
        for (at, slot) in control.slots.iter().enumerate() {
            if !self.liveness().take(at)? {
                continue;
            }
            if control.owners.is_of(WRITE_LOCK, at) {
                // What a dead writer began, only who has the log open can end. There is at most one such slot.
                self.liveness().give_back(at);
                continue;
            }
            control.owners.free_all_of(at);
            self.abandon_sections_of(at);
            // A process may not be taken for the one that shipped the log from this slot before.
            let _ = control.state.shipper().compare_exchange(
                at as u32 + 1,
                0,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            slot.clear();
            slot.fill(&Process { slot: at, pid, program: program.to_owned(), since_us: now_us });
            control.use_slot(at);
            return Ok(at);
        }
        Err(Error::Usage(format!(
            "{} processes have the database open, which is the most",
            control.slots.len()
        )))
    }

    fn mine(&self) -> &ProcessSlot {
        &self.control().slots[self.slot()]
    }

    /// Whether the process in a slot is dead. What it has left is cleared then, but for its write lock, and the slot with that: they need an heir.
    fn has_died(&self, slot: usize) -> bool {
        let Some(_dead) = self.take_from_dead(slot) else { return false };
        self.abandon_sections_of(slot);
        let control = self.control();
        let its = &control.slots[slot];
        [&its.pins, &its.waiters, &its.mapped].iter().for_each(|count| count.store(0, Ordering::SeqCst));
        if !control.owners.is_of(WRITE_LOCK, slot) {
            control.owners.free_all_of(slot);
            its.clear();
        }
        true
    }

    /// Whether a process that lives has counted something.
    fn any(&self, count: impl Fn(&ProcessSlot) -> &AtomicU32) -> bool {
        let slots = self.control().used_slots().iter().enumerate();
        slots.into_iter().any(|(at, slot)| count(slot).load(Ordering::SeqCst) > 0 && !self.has_died(at))
    }

    /// Whether another process, which lives, has the database open.
    pub fn has_others(&self) -> bool {
        let is_taken = |slot: &ProcessSlot| slot.state.load(Ordering::SeqCst) != FREE;
        let slots = self.control().used_slots().iter().enumerate();
        slots.into_iter().any(|(at, slot)| at != self.slot() && is_taken(slot) && !self.has_died(at))
    }

    /// Whether another process may have the database open; whether it lives is not looked at, which takes no system call.
    pub fn may_have_others(&self) -> bool {
        let is_taken = |slot: &ProcessSlot| slot.state.load(Ordering::SeqCst) != FREE;
        self.control().used_slots().iter().filter(|slot| is_taken(slot)).count() > 1
    }

    /// A slot looks taken.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn pretend_another(&self) {
        let slot = self.slot() + 1;
        let process = Process { slot, pid: 1, program: "another".into(), since_us: 0 };
        self.control().slots[slot].fill(&process);
        self.control().use_slot(slot);
    }

    /// Whether several processes have had the database open since it was recovered.
    pub fn was_shared(&self) -> bool {
        self.control().state.was_joined()
    }

    /// No pass may change the base file until [`SharedMemory::unpin`].
    pub fn pin(&self) {
        self.mine().pins.fetch_add(1, Ordering::SeqCst);
    }

    /// See [`SharedMemory::pin`].
    pub fn unpin(&self) {
        self.mine().pins.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody reads the base file as it is.
    pub fn is_pinned(&self) -> bool {
        self.any(|slot| &slot.pins)
    }

    /// Somebody in this process begins to wait for storage.
    pub fn begin_waiting(&self) {
        self.mine().waiters.fetch_add(1, Ordering::SeqCst);
    }

    /// Somebody in this process does not wait for storage any more.
    pub fn end_waiting(&self) {
        self.mine().waiters.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether somebody waits for storage.
    pub fn has_waiters(&self) -> bool {
        self.any(|slot| &slot.waiters)
    }

    /// A connection of this process has mapped the wal-index.
    pub fn begin_mapping(&self) {
        self.mine().mapped.fetch_add(1, Ordering::SeqCst);
    }

    /// A connection of this process is done with the wal-index.
    pub fn end_mapping(&self) {
        self.mine().mapped.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether a connection has the wal-index mapped.
    pub fn is_mapped(&self) -> bool {
        self.any(|slot| &slot.mapped)
    }

    /// Be the process that ships the log, unless another one is that lives. True: this one is.
    pub fn claim_shipping(&self) -> bool {
        if self.control().state.has_left() {
            return false;
        }
        let (word, mine) = (self.control().state.shipper(), self.slot() as u32 + 1);
        let holder = word.load(Ordering::SeqCst);
        if holder == mine {
            return true;
        }
        if holder != 0 && !self.is_vacant(holder as usize - 1) {
            return false;
        }
        word.compare_exchange(holder, mine, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Whether this is the process that ships the log.
    pub fn is_shipping(&self) -> bool {
        self.control().state.shipper().load(Ordering::SeqCst) == self.slot() as u32 + 1
    }

    /// Whether the process that was in a slot has gone.
    fn is_vacant(&self, slot: usize) -> bool {
        match self.control().slots.get(slot) {
            Some(its) => its.state.load(Ordering::SeqCst) == FREE || self.has_died(slot),
            None => true,
        }
    }

    /// This process does not ship the log any more.
    pub fn give_up_shipping(&self) {
        let mine = self.slot() as u32 + 1;
        let _ = self.control().state.shipper().compare_exchange(mine, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The process that ships the log, if that is another one.
    pub fn other_shipper(&self) -> Option<Process> {
        let holder = self.control().state.shipper().load(Ordering::SeqCst) as usize;
        let slot = holder.checked_sub(1).filter(|&slot| slot != self.slot())?;
        self.control().slots.get(slot)?.read(slot).filter(|_| !self.has_died(slot))
    }

    /// This process has no connection any more.
    pub fn leave(&self) {
        self.give_up_shipping();
        self.control().slots[self.slot()].clear();
        self.liveness().give_back(self.slot());
    }

    /// If the process in a slot is dead, clear what it has left. True: it was. The steps can be repeated, since this process
    /// may die at any of them: the slot is free only after everything else.
    pub(super) fn clean_if_dead(&self, slot: usize, heir: &dyn Heir) -> bool {
        let control = self.control();
        let Some(its) = control.slots.get(slot) else { return false };
        let Some(_dead) = self.take_from_dead(slot) else { return false };
        // Before the heir enters one of them.
        self.abandon_sections_of(slot);
        for lock in 0..LOCK_COUNT {
            let (dead, mine) = (slot as u32 + 1, self.slot() as u32 + 1);
            let word = control.owners.word(lock);
            if word.compare_exchange(dead, mine, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                if lock == WRITE_LOCK && !heir.end_dead_writer() {
                    word.store(dead, Ordering::SeqCst);
                    return false;
                }
                control.owners.free(lock);
            }
        }
        its.clear();
        true
    }

    /// Take the slot of a process that has died, until the result is dropped. `None`: it lives, or another thread or process has taken the slot
    /// to clean up; nobody waits for that, since the other one may wait for what this thread has.
    pub(super) fn take_from_dead(&self, slot: usize) -> Option<TakenFromDead<'_>> {
        let bit = 1 << slot;
        // The kernel excludes processes, not the threads of one.
        if slot == self.slot() || self.probing.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
            return None;
        }
        // An error says nothing of the process, so it is taken for alive.
        let is_dead = self.liveness().take(slot).unwrap_or(false);
        if !is_dead {
            self.probing.fetch_and(!bit, Ordering::SeqCst);
        }
        is_dead.then_some(TakenFromDead { memory: self, slot })
    }
}

/// See [`SharedMemory::take_from_dead`].
pub(super) struct TakenFromDead<'a> {
    memory: &'a SharedMemory,
    slot: usize,
}

impl Drop for TakenFromDead<'_> {
    fn drop(&mut self) {
        self.memory.liveness().give_back(self.slot);
        self.memory.probing.fetch_and(!(1 << self.slot), Ordering::SeqCst);
    }
}
