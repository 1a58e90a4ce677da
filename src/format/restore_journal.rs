//! The journal of a restore: how far it has come, so that one that was interrupted goes on.
//!
//! Two slots are written in turns, as in the metadata of a log, so that one of them is always whole. Behind them stands
//! what is being restored, as text; a journal that says anything else belongs to another restore.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Problem, crc32};

const MAGIC: u64 = u64::from_be_bytes(*b"VWALREST");
const VERSION: u32 = 1;

/// Bytes of a slot.
pub const RESTORE_SLOT_SIZE: usize = 40;
/// Where the text begins.
pub const RESTORE_TEXT_OFFSET: u64 = 2 * RESTORE_SLOT_SIZE as u64;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: U64,
    version: U32,
    group: U32,
    sequence: U64,
    done_page_no: U32,
    text_crc: U32,
    reserved: U32,
    crc: U32,
}

const _: () = {
    assert!(size_of::<Raw>() == RESTORE_SLOT_SIZE);
    assert!(std::mem::offset_of!(Raw, sequence) == 16);
    assert!(std::mem::offset_of!(Raw, crc) == 36);
};

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Counts the slots that were written; its lowest bit chooses the slot.
    pub sequence: u64,
    /// Bundles are merged in groups. All before this one (the first is 0) are done.
    pub group: u32,
    /// All pages of the group up to this one are in the file, and were fsynced.
    pub done_page_no: u32,
}

impl Progress {
    /// Offset of the slot that this one is written to.
    pub fn offset(&self) -> u64 {
        (self.sequence & 1) * RESTORE_SLOT_SIZE as u64
    }

    /// The bytes of the slot. `text`: what stands behind the slots.
    pub fn encode(&self, text: &str) -> [u8; RESTORE_SLOT_SIZE] {
        let mut raw = Raw {
            magic: MAGIC.into(),
            version: VERSION.into(),
            group: self.group.into(),
            sequence: self.sequence.into(),
            done_page_no: self.done_page_no.into(),
            text_crc: crc32(0, &[text.as_bytes()]).into(),
            reserved: 0.into(),
            crc: 0.into(),
        };
        raw.crc = crc32(0, &[&raw.as_bytes()[..RESTORE_SLOT_SIZE - 4]]).into();
        let mut bytes = [0; RESTORE_SLOT_SIZE];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Check and read a slot.
    pub fn decode(bytes: &[u8], text: &str) -> Result<Progress, Problem> {
        let raw = Raw::ref_from_bytes(bytes)
            .map_err(|_| format!("a slot has {} bytes, expected {RESTORE_SLOT_SIZE}", bytes.len()))?;
        let crc = crc32(0, &[&bytes[..RESTORE_SLOT_SIZE - 4]]);
        if raw.magic.get() != MAGIC || raw.version.get() != VERSION || raw.crc.get() != crc {
            return Err("this is no slot of the journal of a restore".into());
        }
        if raw.text_crc.get() != crc32(0, &[text.as_bytes()]) {
            return Err("the slot is of another restore".into());
        }
        Ok(Progress {
            sequence: raw.sequence.get(),
            group: raw.group.get(),
            done_page_no: raw.done_page_no.get(),
        })
    }

    /// The state that counts, of a whole journal: the newer of the slots. `None`: it is not a journal of this restore.
    pub fn of_journal(bytes: &[u8], text: &str) -> Option<Progress> {
        let (slots, rest) = bytes.split_at_checked(2 * RESTORE_SLOT_SIZE)?;
        if rest != text.as_bytes() {
            return None;
        }
        let whole = slots.chunks(RESTORE_SLOT_SIZE).filter_map(|slot| Progress::decode(slot, text).ok());
        whole.max_by_key(|progress| progress.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_whole_slot_of_the_same_restore_counts() {
        let text = "frame 7 of a log";
        let journal = |slots: [Option<Progress>; 2], text: &str| {
            let mut bytes = vec![0; 2 * RESTORE_SLOT_SIZE];
            for progress in slots.into_iter().flatten() {
                let at = progress.offset() as usize;
                bytes[at..at + RESTORE_SLOT_SIZE].copy_from_slice(&progress.encode(text));
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes
        };
        let old = Progress { sequence: 4, group: 0, done_page_no: 100 };
        let new = Progress { sequence: 5, group: 1, done_page_no: 20 };
        let bytes = journal([Some(old), Some(new)], text);
        assert_eq!(Progress::of_journal(&bytes, text), Some(new));
        assert_eq!(Progress::of_journal(&bytes, "frame 8 of a log"), None);
        assert_eq!(Progress::of_journal(&journal([None, None], text), text), None);
        for at in 0..bytes.len() {
            assert_eq!(Progress::of_journal(&bytes[..at], text), None);
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let expected = match at {
                    0..RESTORE_SLOT_SIZE => Some(new),
                    _ if at < 2 * RESTORE_SLOT_SIZE => Some(old),
                    _ => None,
                };
                assert_eq!(Progress::of_journal(&bad, text), expected, "byte {at} bit {bit}");
            }
        }
    }
}
