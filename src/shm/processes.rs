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

/// The byte of the lock file that the process in a slot locks. No process locks byte 0.
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
        self.shares.iter().for_each(|count| count.store(0, Ordering::SeqCst));
        self.state.store(FREE, Ordering::Release);
    }
}

impl SharedMemory {
    /// The processes that have the database open, those that have died lately included.
    pub fn processes(&self) -> Vec<Process> {
        self.control().used_slots().iter().enumerate().filter_map(|(at, slot)| slot.read(at)).collect()
    }

    /// Take a slot for this process. Errors: [`Error::Usage`] when all are taken.
    pub(super) fn join(&self, pid: u32, program: &str, now_us: u64) -> Result<usize> {
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
            (0..LOCK_COUNT)
                .filter(|&lock| control.owners.is_of(lock, at))
                .for_each(|lock| control.owners.free(lock));
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

    /// This process has no connection any more.
    pub fn leave(&self) {
        self.control().slots[self.slot()].clear();
        self.liveness().give_back(self.slot());
    }

    /// If the process in a slot is dead, clear what it has left. True: it was. The steps can be repeated, since this process
    /// may die at any of them: the slot is free only after everything else.
    pub(super) fn clean_if_dead(&self, slot: usize, heir: &dyn Heir) -> bool {
        let control = self.control();
        let (Some(its), true) = (control.slots.get(slot), slot != self.slot()) else { return false };
        // The kernel excludes processes, not the threads of one.
        let _one = self.cleaning.lock();
        // An error says nothing of the process, so it is taken for alive.
        if !self.liveness().take(slot).unwrap_or(false) {
            return false;
        }
        for lock in 0..LOCK_COUNT {
            let (dead, mine) = (slot as u32 + 1, self.slot() as u32 + 1);
            let word = control.owners.word(lock);
            if word.compare_exchange(dead, mine, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                if lock == WRITE_LOCK {
                    heir.end_dead_writer();
                }
                control.owners.free(lock);
            }
        }
        its.clear();
        self.liveness().give_back(slot);
        true
    }
}
