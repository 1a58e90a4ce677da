//! Small types that every layer uses.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::error::Error;

/// The identity of one lineage of frame numbers: a UUID (version 7, so that ids sort by the time they were made).
///
/// A log keeps its id for as long as its frame numbers continue each other. A base file that something else wrote to
/// starts a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub Uuid);

impl LogId {
    /// The 16 bytes of the UUID, as they are stored.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// An id from its stored bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        LogId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for LogId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::try_parse(text)
            .map(LogId)
            .map_err(|_| Error::Usage(format!("'{text}' is not a log id (a UUID)")))
    }
}

/// A commit of a log: two copies of a database that went different ways may have one at the same frame, but not at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitId {
    /// Its last frame.
    pub frame_no: u64,
    /// When it was made, microseconds since 1970, by the clock of the machine that made it.
    pub commit_us: u64,
}

/// Where a log began: the log before it, and the frame of that one at which it ended for this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The log before.
    pub log_id: LogId,
    /// Its last frame that this database had.
    pub frame_no: u64,
}

/// A page size in bytes: a power of two from 512 to 65536 (<https://sqlite.org/fileformat2.html#pages>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageSize(u32);

impl PageSize {
    /// The page size of `bytes` bytes, if that is one SQLite allows.
    pub fn new(bytes: u32) -> Option<Self> {
        (bytes.is_power_of_two() && (512..=65536).contains(&bytes)).then_some(PageSize(bytes))
    }

    /// The page size in a database header: big-endian, and 1 stands for 65536
    /// (<https://sqlite.org/fileformat2.html#page_size>).
    pub fn from_header(field: [u8; 2]) -> Option<Self> {
        match u16::from_be_bytes(field) {
            1 => Self::new(65536),
            bytes => Self::new(u32::from(bytes)),
        }
    }

    /// Bytes, for use as a length.
    pub fn bytes(self) -> usize {
        self.0 as usize
    }

    /// Bytes, for use in a format.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The level of a bundle in storage: how many merges made it, or that it is a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// What the shipper writes: every frame.
    pub const ZERO: Level = Level(0);
    /// The highest level that merging makes.
    pub const TOP: Level = Level(3);
    /// A full image of the database.
    pub const SNAPSHOT: Level = Level(255);

    /// The levels of merges, from 0 up.
    pub fn merged() -> impl DoubleEndedIterator<Item = Level> {
        (0..=Level::TOP.0).map(Level)
    }

    /// The level that merging bundles of this one makes; `None`: they are not merged.
    pub fn above(self) -> Option<Level> {
        (self < Level::TOP).then_some(Level(self.0 + 1))
    }

    /// As it is stored.
    pub fn code(self) -> u8 {
        self.0
    }

    /// A level from its stored form.
    pub fn from_code(code: u8) -> Option<Level> {
        (code <= Level::TOP.0 || code == Level::SNAPSHOT.0).then_some(Level(code))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Level::SNAPSHOT { f.write_str("snapshot") } else { self.0.fmt(f) }
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let level = match text {
            "snapshot" => Some(Level::SNAPSHOT),
            _ => Level::merged().find(|level| level.to_string() == text),
        };
        level.ok_or_else(|| {
            Error::Usage(format!("'{text}' is no level: right are 0 to {} and snapshot", Level::TOP))
        })
    }
}

/// The state of one segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Frames are still appended to it.
    Current,
    /// It is complete and fsynced, or waiting for that fsync.
    Sealed,
}

impl SegmentState {
    /// The word that `vwal_segments` and the command line show.
    pub fn name(self) -> &'static str {
        match self {
            SegmentState::Current => "current",
            SegmentState::Sealed => "sealed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_those_of_sqlite() {
        let good: Vec<u32> = (0..=17).map(|bit| 1 << bit).filter(|&n| PageSize::new(n).is_some()).collect();
        assert_eq!(good, [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]);
        assert!(PageSize::new(1000).is_none());
        assert_eq!(PageSize::from_header([0, 1]).map(PageSize::get), Some(65536));
        assert_eq!(PageSize::from_header([0x10, 0]).map(PageSize::get), Some(4096));
        assert!(PageSize::from_header([0, 0]).is_none());
    }

    #[test]
    fn log_ids_round_trip_through_text() {
        let id = LogId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string().parse::<LogId>().unwrap(), id);
        assert!("not-a-uuid".parse::<LogId>().is_err());
    }
}
