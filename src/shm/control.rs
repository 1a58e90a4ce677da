//! The layout of the first pages of the file `shm` (docs/format.md): everything in them is an atomic, and zeros are the state of a
//! log that nobody has open.

use super::lines::Lines;
use super::locks::ExclusiveOwners;
use super::log_state::LogState;
use super::positions::Positions;
use super::processes::ProcessSlot;
use super::section::{SECTIONS, Section};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes before the first region of the wal-index.
pub const CONTROL_SIZE: u64 = 16384;
/// How many processes may have a database open.
#[cfg(not(all(test, shuttle)))]
pub const SLOTS: usize = 64;
/// A model makes thousands of these. One for each of its processes, and some that are being cleaned up.
#[cfg(all(test, shuttle))]
pub const SLOTS: usize = 7;

/// "vwal shm", read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"vwal shm");
/// Another layout has another version.
const VERSION: u32 = 2;

#[repr(C)]
struct Head {
    magic: AtomicU64,
    version: AtomicU32,
    /// Bytes of [`Control`].
    size: AtomicU32,
    /// Slots from this one on were never taken.
    slots_used: AtomicU32,
}

/// See the module.
#[repr(C)]
pub struct Control {
    head: Lines<Head>,
    pub(super) positions: Positions,
    pub(super) owners: ExclusiveOwners,
    pub(super) slots: [ProcessSlot; SLOTS],
    sections: [Lines<AtomicU32>; SECTIONS],
    pub(super) state: LogState,
}

#[cfg(not(all(test, shuttle)))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Control>() as u64 <= CONTROL_SIZE);
    assert!(offset_of!(Control, positions) == 128);
    assert!(offset_of!(Control, owners) == 384);
    assert!(offset_of!(Control, slots) == 1408);
    assert!(offset_of!(Control, sections) == 9600 && offset_of!(Control, state) == 10496);
    assert!(size_of::<ProcessSlot>() == 128 && SLOTS == 64);
    assert!(
        offset_of!(Head, version) == 8 && offset_of!(Head, size) == 12 && offset_of!(Head, slots_used) == 16
    );
};

impl Control {
    /// What zeros are.
    pub(super) fn new() -> Control {
        Control {
            head: Lines(Head {
                magic: AtomicU64::new(0),
                version: AtomicU32::new(0),
                size: AtomicU32::new(0),
                slots_used: AtomicU32::new(0),
            }),
            positions: Positions::default(),
            owners: ExclusiveOwners::default(),
            slots: std::array::from_fn(|_| ProcessSlot::default()),
            sections: Default::default(),
            state: LogState::default(),
        }
    }

    /// The process that recovered the log has written everything else: others may read it.
    pub(super) fn complete(&self) {
        self.head.size.store(size_of::<Control>() as u32, Ordering::Relaxed);
        self.head.version.store(VERSION, Ordering::Relaxed);
        self.head.magic.store(MAGIC, Ordering::Release);
    }

    /// What another process needs of the head: `Err` says what is there instead.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.head.magic.load(Ordering::Acquire) != MAGIC {
            return Err("it is not the shared memory of a log".into());
        }
        let version = self.head.version.load(Ordering::Relaxed);
        let size = self.head.size.load(Ordering::Relaxed);
        if (version, size) == (VERSION, size_of::<Control>() as u32) {
            return Ok(());
        }
        Err(format!(
            "another version of vwal has the database open: its shared memory is of version {version} ({size} bytes), that of this one is \
             of version {VERSION} ({} bytes). Use one version in all processes",
            size_of::<Control>()
        ))
    }

    pub(super) fn section(&self, section: Section) -> &AtomicU32 {
        &self.sections[section as usize]
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = &AtomicU32> {
        self.sections.iter().map(|word| &**word)
    }

    /// A process takes this slot. It calls this before it first shares a lock. A process that wants a lock exclusively, and does not look at
    /// this slot yet, has put itself into the word of the owner before that, and the sharer sees it there (`locks.rs`).
    pub(super) fn use_slot(&self, slot: usize) {
        self.head.slots_used.fetch_max(slot as u32 + 1, Ordering::SeqCst);
    }

    /// The slots that may have been taken.
    pub(super) fn used_slots(&self) -> &[ProcessSlot] {
        &self.slots[..SLOTS.min(self.head.slots_used.load(Ordering::SeqCst) as usize)]
    }
}
