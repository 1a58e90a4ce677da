//! What the processes leave to each other of a log, besides the positions: where its last frame is, what has failed, what is durable of its
//! names and its metadata.

use super::lines::Lines;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::hint;

/// Something is wrong with an fsync, for all processes: no commit is accepted.
const POISONED: u32 = 1;
/// The database has left WAL mode.
const LEFT: u32 = 2;
/// What was found at the open would survive a power loss.
const SETTLED: u32 = 4;
/// The log directory is not where it was opened.
const GONE: u32 = 16;
/// A process has joined the log since it was recovered.
const JOINED: u32 = 32;
/// [`LogState::wal_header`] is there.
const HAS_WAL_HEADER: u32 = 8;

/// Bytes of the header of a `-wal` file.
const WAL_HEADER_SIZE: usize = 32;
/// Bytes of the options that are kept. (In a model an atomic takes much memory, and no process is told them.)
const OPTIONS_BYTES: usize = if cfg!(all(test, shuttle)) { 8 } else { 2048 };

/// See the module.
#[derive(Default)]
#[repr(C)]
pub struct LogState {
    tail: Lines<Tail>,
    rest: Lines<Rest>,
    options: Lines<Options>,
}

/// Where the next frame goes: changed by the process that is in [`super::Section::Transaction`], which may die at any step. So there are two
/// copies, and the number of changes says which of them counts.
#[derive(Default)]
#[repr(C)]
struct Tail {
    changes: AtomicU64,
    /// Nobody appends any more to a segment that begins before this frame.
    complete_before: AtomicU64,
    copies: [TailCopy; 2],
}

#[derive(Default)]
#[repr(C)]
struct TailCopy {
    /// First frame of the current segment; 0: there is none.
    start: AtomicU64,
    /// Checksum of the head of the current segment.
    seed: AtomicU32,
    /// Checksum of the last published frame, or of what stands for it.
    crc: AtomicU32,
}

#[derive(Default)]
#[repr(C)]
struct Rest {
    flags: AtomicU32,
    /// Regions of the wal-index that have been made.
    regions: AtomicU32,
    /// How often names in the log directory changed that commits rely on, and how much of that is durable.
    names_changed: AtomicU64,
    names_durable: AtomicU64,
    /// The state of the metadata that was written last, and fsynced.
    meta_sequence: AtomicU64,
    /// An fsync proves nothing for the frames up to this one, which recovery found.
    doubtful_to: AtomicU64,
    wal_header: [AtomicU64; WAL_HEADER_SIZE / 8],
    /// What tells the base file from others.
    base: [AtomicU64; 2],
    /// Who ships the log: its slot, plus one; 0: nobody.
    shipper: AtomicU32,
}

#[repr(C)]
struct Options {
    len: AtomicU64,
    text: [AtomicU64; OPTIONS_BYTES / 8],
}

impl Default for Options {
    fn default() -> Options {
        Options { len: AtomicU64::new(0), text: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

#[cfg(not(all(test, shuttle)))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Tail, complete_before) == 8 && offset_of!(Tail, copies) == 16);
    assert!(
        offset_of!(TailCopy, seed) == 8 && offset_of!(TailCopy, crc) == 12 && size_of::<TailCopy>() == 16
    );
    assert!(offset_of!(LogState, rest) == 128 && offset_of!(LogState, options) == 256);
    assert!(offset_of!(Rest, names_changed) == 8 && offset_of!(Rest, names_durable) == 16);
    assert!(offset_of!(Rest, meta_sequence) == 24 && offset_of!(Rest, doubtful_to) == 32);
    assert!(offset_of!(Rest, wal_header) == 40 && offset_of!(Rest, base) == 72);
    assert!(offset_of!(Rest, shipper) == 88);
};

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailState {
    /// First frame of the current segment; `None`: there is none.
    pub start: Option<u64>,
    /// Checksum of the head of the current segment.
    pub seed: u32,
    /// Checksum of the last published frame, or of what stands for it.
    pub crc: u32,
}

impl LogState {
    /// Where the next frame goes.
    pub fn tail(&self) -> TailState {
        loop {
            let changes = self.tail.changes.load(Ordering::Acquire);
            let copy = &self.tail.copies[(changes & 1) as usize];
            let start = copy.start.load(Ordering::Acquire);
            let found = TailState {
                start: (start > 0).then_some(start),
                seed: copy.seed.load(Ordering::Acquire),
                crc: copy.crc.load(Ordering::Acquire),
            };
            // The copy is written again only after the next change.
            if self.tail.changes.load(Ordering::Acquire) == changes {
                return found;
            }
            hint::spin_loop();
        }
    }

    /// See [`LogState::tail`]. By the process that is in [`super::Section::Transaction`].
    pub fn set_tail(&self, tail: TailState) {
        let changes = self.tail.changes.load(Ordering::Acquire) + 1;
        let copy = &self.tail.copies[(changes & 1) as usize];
        copy.crc.store(tail.crc, Ordering::Release);
        copy.seed.store(tail.seed, Ordering::Release);
        copy.start.store(tail.start.unwrap_or(0), Ordering::Release);
        self.tail.changes.store(changes, Ordering::Release);
    }

    /// First frame of the current segment; `None`: there is none.
    pub fn current_start(&self) -> Option<u64> {
        self.tail().start
    }

    /// Nobody appends any more to a segment that begins before this frame. While another segment is being begun, the one before it may still go on.
    pub fn complete_before(&self) -> u64 {
        self.tail.complete_before.load(Ordering::Acquire)
    }

    /// See [`LogState::complete_before`]. By the process that is in [`super::Section::Transaction`].
    pub fn set_complete_before(&self, frame_no: u64) {
        self.tail.complete_before.store(frame_no, Ordering::Release);
    }

    fn has(&self, flag: u32) -> bool {
        self.rest.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u32) {
        self.rest.flags.fetch_or(flag, Ordering::AcqRel);
    }

    /// Whether no commit is accepted any more.
    pub fn is_poisoned(&self) -> bool {
        self.has(POISONED)
    }

    /// Accept no commit any more, from any process.
    pub fn poison(&self) {
        self.set(POISONED);
    }

    /// Whether the database has left WAL mode.
    pub fn has_left(&self) -> bool {
        self.has(LEFT)
    }

    /// The database has left WAL mode.
    pub fn leave(&self) {
        self.set(LEFT);
    }

    /// Whether what was found at the open would survive a power loss.
    pub fn is_settled(&self) -> bool {
        self.has(SETTLED)
    }

    /// The database could not leave WAL mode.
    pub fn stay(&self) {
        self.rest.flags.fetch_and(!LEFT, Ordering::AcqRel);
    }

    /// Whether the log directory is not where it was opened.
    pub fn is_gone(&self) -> bool {
        self.has(GONE)
    }

    /// The log directory is not where it was opened.
    pub fn set_gone(&self) {
        self.set(GONE);
    }

    /// Whether a process has joined the log since it was recovered.
    pub(super) fn was_joined(&self) -> bool {
        self.has(JOINED)
    }

    /// A process joins the log.
    pub(super) fn join(&self) {
        self.set(JOINED);
    }

    /// What was found at the open would survive a power loss.
    pub fn settle(&self) {
        self.set(SETTLED);
    }

    /// A process died that may have written what would not survive a power loss.
    pub fn unsettle(&self) {
        self.rest.flags.fetch_and(!SETTLED, Ordering::AcqRel);
    }

    /// How many regions of the wal-index have been made.
    pub fn regions(&self) -> usize {
        self.rest.regions.load(Ordering::Acquire) as usize
    }

    /// One more region has been made.
    pub(super) fn made_region(&self, index: usize) {
        self.rest.regions.fetch_max(index as u32 + 1, Ordering::AcqRel);
    }

    /// A name that commits rely on has changed.
    pub fn change_names(&self) {
        self.rest.names_changed.fetch_add(1, Ordering::AcqRel);
    }

    /// How often names have changed.
    pub fn names_changed(&self) -> u64 {
        self.rest.names_changed.load(Ordering::Acquire)
    }

    /// How many of the changes of names are durable.
    pub fn names_durable(&self) -> u64 {
        self.rest.names_durable.load(Ordering::Acquire)
    }

    /// So many changes of names are durable.
    pub fn names_are_durable(&self, changes: u64) {
        self.rest.names_durable.fetch_max(changes, Ordering::AcqRel);
    }

    /// The state of the metadata that was written last, and fsynced.
    pub fn meta_sequence(&self) -> u64 {
        self.rest.meta_sequence.load(Ordering::Acquire)
    }

    /// See [`LogState::meta_sequence`]. By the process that is in [`super::Section::Metadata`].
    pub fn set_meta_sequence(&self, sequence: u64) {
        self.rest.meta_sequence.store(sequence, Ordering::Release);
    }

    /// An fsync proves nothing for the frames up to this one.
    pub fn doubtful_to(&self) -> u64 {
        self.rest.doubtful_to.load(Ordering::Acquire)
    }

    /// See [`LogState::doubtful_to`]. By the process that recovers.
    pub fn doubt(&self, to: u64) {
        self.rest.doubtful_to.store(to, Ordering::Release);
    }

    /// The header that SQLite wrote at the start of the generation; `None`: the `-wal` file is empty.
    pub fn wal_header(&self) -> Option<[u8; WAL_HEADER_SIZE]> {
        if !self.has(HAS_WAL_HEADER) {
            return None;
        }
        let mut header = [[0; 8]; WAL_HEADER_SIZE / 8];
        for (bytes, word) in header.iter_mut().zip(&self.rest.wal_header) {
            *bytes = word.load(Ordering::Acquire).to_le_bytes();
        }
        header.as_flattened().try_into().ok()
    }

    /// See [`LogState::wal_header`]. By the holder of the write lock, or of the database file's EXCLUSIVE lock.
    pub fn set_wal_header(&self, header: Option<[u8; WAL_HEADER_SIZE]>) {
        self.rest.flags.fetch_and(!HAS_WAL_HEADER, Ordering::AcqRel);
        let Some(header) = header else { return };
        for (word, bytes) in self.rest.wal_header.iter().zip(header.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Release);
        }
        self.set(HAS_WAL_HEADER);
    }

    /// What tells the base file from others: device and inode.
    pub fn base(&self) -> (u64, u64) {
        let [device, inode] = &self.rest.base;
        (device.load(Ordering::Acquire), inode.load(Ordering::Acquire))
    }

    /// See [`LogState::base`]. By the process that recovers.
    pub fn set_base(&self, (device, inode): (u64, u64)) {
        self.rest.base[0].store(device, Ordering::Release);
        self.rest.base[1].store(inode, Ordering::Release);
    }

    pub(super) fn shipper(&self) -> &AtomicU32 {
        &self.rest.shipper
    }

    /// The options of the database, as text.
    pub fn options(&self) -> String {
        let text = &self.options;
        let bytes: Vec<u8> =
            text.text.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        let len = (text.len.load(Ordering::Acquire) as usize).min(bytes.len());
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    /// See [`LogState::options`]. By the process that recovers. False: there is no room for them.
    pub fn set_options(&self, options: &str) -> bool {
        if options.len() > OPTIONS_BYTES {
            return false;
        }
        for (word, part) in self.options.text.iter().zip(options.as_bytes().chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        self.options.len.store(options.len() as u64, Ordering::Release);
        true
    }
}
