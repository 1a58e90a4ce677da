//! Sections: what one process at a time does with a log. Each is a word that names the slot of the process that is in it.
//!
//! Unlike a lock of the wal-index a section is waited for, and who enters it is told whether the process before died in it: then what it
//! was about may be half done. A section of a dead process is first *abandoned*, by whoever finds out: one that waits, one that cleans up, or
//! the process that is given the slot. So no word ever names a process that did not enter.

use std::time::Duration;

use super::memory::SharedMemory;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Instant, hint, thread};

/// Nobody is in the section.
const FREE: u32 = 0;
/// Its process has died in it.
const ABANDONED: u32 = u32::MAX;
/// So often the word is looked at before the thread sleeps.
const SPINS: u32 = 100;
/// The first sleep and the longest one. Whether the other process lives is looked at before each of the longest.
const SLEEP: Duration = Duration::from_micros(20);
const SLEEP_MAX: Duration = Duration::from_millis(1);

/// What is done by one process at a time. Whoever is in several of them entered them in this order, but for [`Section::Metadata`], which is
/// entered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Writing to the current segment, or beginning another one.
    Transaction,
    /// A pass over the base file; freeing segments.
    Pass,
    /// Writing the index and the seal of a segment.
    Seal,
    /// An fsync that commits rely on.
    Fsync,
    /// Making frames part of the view.
    Absorption,
    /// Beginning to use the wal-index, or making it invalid.
    Index,
    /// Writing the metadata.
    Metadata,
}

/// How many sections there are.
pub(super) const SECTIONS: usize = 7;

/// A process is in a section until this is dropped.
pub struct Entered<'a> {
    memory: &'a SharedMemory,
    section: Section,
    is_inherited: bool,
}

impl Entered<'_> {
    /// The process that was in it before has died there.
    pub fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// Leave the section as the process before has left it: whoever enters it next is told that somebody died in it.
    pub fn abandon(self) {
        self.memory.leave_half_done(self.section);
        std::mem::forget(self);
    }

    /// Stay in the section until [`SharedMemory::exit`].
    pub fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What was being done is half done, as if the process had died.
            self.memory.leave_half_done(self.section);
        } else {
            self.memory.exit(self.section);
        }
    }
}

impl SharedMemory {
    fn word(&self, section: Section) -> &AtomicU32 {
        self.control().section(section)
    }

    /// This process's name in a word.
    fn me(&self) -> u32 {
        self.slot() as u32 + 1
    }

    /// Enter a section, after waiting for whoever is in it.
    pub fn enter(&self, section: Section) -> Entered<'_> {
        loop {
            if let Some(entered) = self.enter_within(section, Duration::from_secs(3600)) {
                return entered;
            }
        }
    }

    /// The same. `None`: a process that lives has been in it for all of this time; it may have been stopped.
    pub fn enter_within(&self, section: Section, time: Duration) -> Option<Entered<'_>> {
        if let Some(entered) = self.try_enter(section, true) {
            return Some(entered);
        }
        for _ in 0..SPINS {
            hint::spin_loop();
            if let Some(entered) = self.try_enter(section, true) {
                return Some(entered);
            }
        }
        let until = Instant::now() + time;
        let mut sleep = SLEEP;
        loop {
            if sleep == SLEEP_MAX {
                self.abandon_if_dead(self.word(section).load(Ordering::SeqCst));
            }
            thread::sleep(sleep);
            sleep = (2 * sleep).min(SLEEP_MAX);
            if let Some(entered) = self.try_enter(section, true) {
                return Some(entered);
            }
            if Instant::now() >= until {
                return None;
            }
        }
    }

    /// Enter a section if nobody is in it. `inherits`: also one whose process has died in it.
    pub fn try_enter(&self, section: Section, inherits: bool) -> Option<Entered<'_>> {
        let take = |from| {
            self.word(section).compare_exchange(from, self.me(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let is_inherited = !take(FREE);
        if is_inherited && !(inherits && take(ABANDONED)) {
            return None;
        }
        Some(Entered { memory: self, section, is_inherited })
    }

    /// Whether this process is in a section.
    pub fn is_in(&self, section: Section) -> bool {
        self.word(section).load(Ordering::SeqCst) == self.me()
    }

    /// Leave a section; see [`Entered::stay`].
    pub fn exit(&self, section: Section) {
        // Not that of another process, which has the slot by now: this one's last connection may be gone.
        let _ = self.word(section).compare_exchange(self.me(), FREE, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn leave_half_done(&self, section: Section) {
        let _ = self.word(section).compare_exchange(self.me(), ABANDONED, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn abandon_if_dead(&self, word: u32) {
        let slot = word.wrapping_sub(1) as usize;
        if matches!(word, FREE | ABANDONED) || slot >= self.control().slots.len() {
            return;
        }
        if let Some(_dead) = self.take_from_dead(slot) {
            self.abandon_sections_of(slot);
        }
    }

    /// The process in a slot is dead: whoever enters the sections that it was in is told so. The caller has taken the slot.
    pub(super) fn abandon_sections_of(&self, slot: usize) {
        for word in self.control().sections() {
            let dead = slot as u32 + 1;
            let _ = word.compare_exchange(dead, ABANDONED, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}
