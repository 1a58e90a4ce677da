//! The fields of SQLite's database header that vwal reads (<https://sqlite.org/fileformat2.html#the_database_header>).

use crate::types::PageSize;

/// Bytes of the header.
pub const DATABASE_HEADER_SIZE: usize = 100;

/// What the first 100 bytes of a database say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseHeader {
    /// Page size.
    pub page_size: PageSize,
    /// Whether the file is in WAL mode (read version 2, offset 19).
    pub is_wal: bool,
    /// File change counter, offset 24.
    pub change_counter: u32,
    /// Size of the database in pages, offset 28.
    pub db_size_pages: u32,
    /// The change counter when the size was written, offset 92.
    pub version_valid_for: u32,
}

impl DatabaseHeader {
    /// Read the header; `None` when this is not the start of a database.
    pub fn parse(bytes: &[u8]) -> Option<DatabaseHeader> {
        let bytes = bytes.get(..DATABASE_HEADER_SIZE)?;
        if !bytes.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(DatabaseHeader {
            page_size: PageSize::from_header([bytes[16], bytes[17]])?,
            is_wal: bytes[19] == 2,
            change_counter: word(24),
            db_size_pages: word(28),
            version_valid_for: word(92),
        })
    }
}
