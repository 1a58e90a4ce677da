//! Layouts of everything vwal writes to disk.
//!
//! All integers are big-endian, as in SQLite's own files. Every structure has a magic, a version and a checksum
//! (CRC-32, the IEEE polynomial). Nothing here touches a file: the functions turn bytes into checked values and back,
//! and an error is a text for people; the caller knows the file and the offset.
//!
//! `docs/format.md` shows the same layouts as tables.

pub mod bundle;
pub mod database_header;
pub mod footer;
pub mod frame;
pub mod meta;
pub mod restore_journal;
pub mod segment_header;
pub mod segment_index;

/// CRC-32 of several byte strings, one after the other, continuing from `seed`.
pub fn crc32(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// A check that failed: what was found and what was expected.
pub type Problem = String;
