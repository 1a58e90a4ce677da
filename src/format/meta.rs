//! The metadata slots: what must be known about a log before its segments can be read.
//!
//! The file `meta` has two slots of 4096 bytes. A new state goes into the slot that does not hold the current one, so
//! a torn write costs nothing: the valid slot with the higher sequence number counts.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::footer::Footer;
use super::{Problem, crc32};
use crate::types::{CommitId, LogId, PageSize, Parent};

const MAGIC: u64 = u64::from_be_bytes(*b"VWALMETA");
const VERSION: u32 = 3;
/// A log of this version had no footer before its first pass ended, and a pass cut the footer off.
const VERSION_WITHOUT_FOOTER: u32 = 2;

/// Bytes of one slot; a sector multiple, so that one slot's write cannot tear the other.
pub const META_SLOT_SIZE: usize = 4096;
const RECORD_SIZE: usize = 124;
const FLAG_FOOTER: u32 = 1;
/// So many places of storage are remembered.
pub const PLACES: usize = 8;
const PLACES_SIZE: usize = PLACES * size_of::<RawPlace>() + 4;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: U64,
    version: U32,
    page_size: U32,
    sequence: U64,
    log_id: [u8; 16],
    checkpointed_frame_no: U64,
    intent_frame_no: U64,
    db_size_pages: U32,
    change_counter: U32,
    version_valid_for: U32,
    flags: U32,
    commit_us: U64,
    parent_log_id: [u8; 16],
    parent_frame_no: U64,
    stored_frame_no: U64,
    stored_us: U64,
    crc: U32,
}

/// What a place of storage has, after the record.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawPlace {
    place: U32,
    stored_frame_no: U64,
    stored_us: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawPlaces {
    places: [RawPlace; PLACES],
    crc: U32,
}

const _: () = {
    assert!(size_of::<RawPlaces>() == PLACES_SIZE);
    assert!(size_of::<Raw>() == RECORD_SIZE);
    assert!(std::mem::offset_of!(Raw, sequence) == 16);
    assert!(std::mem::offset_of!(Raw, log_id) == 24);
    assert!(std::mem::offset_of!(Raw, intent_frame_no) == 48);
    assert!(std::mem::offset_of!(Raw, commit_us) == 72);
    assert!(std::mem::offset_of!(Raw, stored_frame_no) == 104);
    assert!(std::mem::offset_of!(Raw, crc) == 120);
};

/// What a place of storage was last known to have of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredIn {
    /// A number that is made of the URL of a directory; 0: none.
    pub place: u32,
    /// It had everything up to this commit.
    pub commit: CommitId,
}

/// The state of a log between checkpoint passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// +1 with each state; the higher one counts.
    pub sequence: u64,
    /// The log.
    pub log_id: LogId,
    /// Page size of the database.
    pub page_size: PageSize,
    /// The base file holds every frame up to this one.
    pub checkpointed_frame_no: u64,
    /// A pass that brings the base file to this frame has begun; equal to `checkpointed_frame_no` when none is
    /// under way. While it is, pages of the base file may be of either state.
    pub intent_frame_no: u64,
    /// Pages of the base file at `checkpointed_frame_no`.
    pub db_size_pages: u32,
    /// File change counter of the base file at `checkpointed_frame_no`.
    pub change_counter: u32,
    /// Version-valid-for number of the base file at `checkpointed_frame_no`.
    pub version_valid_for: u32,
    /// The base file has a footer that says the same; while a pass is under way it may be torn, or of either state. False
    /// only for a log of an earlier version of vwal, until a pass has been completed.
    pub has_footer: bool,
    /// When `checkpointed_frame_no` was committed, microseconds since 1970; when the log began, if that is 0.
    pub commit_us: u64,
    /// The log that this one continues, if it does.
    pub parent: Option<Parent>,
    /// Storage had everything up to this commit when this was last written with storage; frame 0: never.
    pub stored: CommitId,
    /// The places of storage that have something of this log, the one that was used last first.
    pub places: [StoredIn; PLACES],
}

impl Meta {
    /// Byte offset of the slot that this state goes into.
    pub fn slot_offset(&self) -> u64 {
        (self.sequence % 2) * META_SLOT_SIZE as u64
    }

    /// The commit that the base file is at.
    pub fn checkpointed_commit(&self) -> CommitId {
        CommitId { frame_no: self.checkpointed_frame_no, commit_us: self.commit_us }
    }

    /// Whether a checkpoint pass was under way.
    pub fn has_intent(&self) -> bool {
        self.intent_frame_no != self.checkpointed_frame_no
    }

    /// The footer of a base file that is at `checkpointed_frame_no`.
    pub fn footer(&self) -> Footer {
        Footer {
            frame_no: self.checkpointed_frame_no,
            log_id: self.log_id,
            page_size: self.page_size,
            db_size_pages: self.db_size_pages,
            change_counter: self.change_counter,
            version_valid_for: self.version_valid_for,
            commit_us: self.commit_us,
            parent: self.parent,
        }
    }

    /// What a place was last known to have.
    pub fn stored_in(&self, place: u32) -> Option<StoredIn> {
        self.places.into_iter().find(|known| place != 0 && known.place == place)
    }

    /// Every commit that some place was last known to have.
    pub fn shipped(&self) -> [CommitId; PLACES + 1] {
        let mut commits = [self.stored; PLACES + 1];
        for (commit, known) in commits.iter_mut().zip(&self.places) {
            *commit = known.commit;
        }
        commits
    }

    /// The same state, with `stored` noted. With a place it takes the first row, and a place that was not used for long gives way.
    #[must_use]
    pub fn with_stored(mut self, stored: StoredIn) -> Meta {
        self.stored = stored.commit;
        if stored.place != 0 {
            let known = self.places.iter().position(|known| known.place == stored.place);
            self.places[..=known.unwrap_or(PLACES - 1)].rotate_right(1);
            self.places[0] = stored;
        }
        self
    }

    /// The bytes of the slot.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Raw {
            magic: MAGIC.into(),
            version: VERSION.into(),
            page_size: self.page_size.get().into(),
            sequence: self.sequence.into(),
            log_id: self.log_id.to_bytes(),
            checkpointed_frame_no: self.checkpointed_frame_no.into(),
            intent_frame_no: self.intent_frame_no.into(),
            db_size_pages: self.db_size_pages.into(),
            change_counter: self.change_counter.into(),
            version_valid_for: self.version_valid_for.into(),
            flags: u32::from(self.has_footer).into(),
            commit_us: self.commit_us.into(),
            parent_log_id: self.parent.map_or([0; 16], |parent| parent.log_id.to_bytes()),
            parent_frame_no: self.parent.map_or(0, |parent| parent.frame_no).into(),
            stored_frame_no: self.stored.frame_no.into(),
            stored_us: self.stored.commit_us.into(),
            crc: 0.into(),
        };
        raw.crc = crc32(0, &[&raw.as_bytes()[..RECORD_SIZE - 4]]).into();
        let mut slot = vec![0; META_SLOT_SIZE];
        slot[..RECORD_SIZE].copy_from_slice(raw.as_bytes());
        let mut places = RawPlaces {
            places: self.places.map(|known| RawPlace {
                place: known.place.into(),
                stored_frame_no: known.commit.frame_no.into(),
                stored_us: known.commit.commit_us.into(),
            }),
            crc: 0.into(),
        };
        places.crc = crc32(raw.crc.get(), &[places.places.as_bytes()]).into();
        slot[RECORD_SIZE..RECORD_SIZE + PLACES_SIZE].copy_from_slice(places.as_bytes());
        slot
    }

    /// Check and read one slot. `Ok(None)`: the slot was never written.
    pub fn decode(slot: &[u8]) -> Result<Option<Meta>, Problem> {
        const EXPECTED: usize = RECORD_SIZE + PLACES_SIZE;
        let Some((record, places)) = slot.get(..EXPECTED).map(|bytes| bytes.split_at(RECORD_SIZE)) else {
            return if slot.iter().all(|&byte| byte == 0) {
                Ok(None)
            } else {
                Err(format!("the slot is cut short: {} bytes, expected {EXPECTED}", slot.len()))
            };
        };
        if record.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let raw = Raw::ref_from_bytes(record).map_err(|error| error.to_string())?;
        if raw.magic.get() != MAGIC {
            return Err("this is not a vwal metadata slot (wrong magic)".into());
        }
        if raw.version.get() != VERSION && raw.version.get() != VERSION_WITHOUT_FOOTER {
            return Err(format!(
                "metadata version {}, this vwal reads versions {VERSION_WITHOUT_FOOTER} and {VERSION}",
                raw.version
            ));
        }
        let crc = crc32(0, &[&record[..RECORD_SIZE - 4]]);
        if raw.crc.get() != crc {
            return Err(format!("metadata checksum {:08x}, expected {crc:08x}", raw.crc));
        }
        let in_old_pass = raw.version.get() == VERSION_WITHOUT_FOOTER
            && raw.intent_frame_no.get() != raw.checkpointed_frame_no.get();
        let meta = Meta {
            sequence: raw.sequence.get(),
            log_id: LogId::from_bytes(raw.log_id),
            page_size: PageSize::new(raw.page_size.get())
                .ok_or_else(|| format!("metadata with page size {}", raw.page_size))?,
            checkpointed_frame_no: raw.checkpointed_frame_no.get(),
            intent_frame_no: raw.intent_frame_no.get(),
            db_size_pages: raw.db_size_pages.get(),
            change_counter: raw.change_counter.get(),
            version_valid_for: raw.version_valid_for.get(),
            has_footer: raw.flags.get() & FLAG_FOOTER != 0 && !in_old_pass,
            commit_us: raw.commit_us.get(),
            parent: (raw.parent_log_id != [0; 16]).then(|| Parent {
                log_id: LogId::from_bytes(raw.parent_log_id),
                frame_no: raw.parent_frame_no.get(),
            }),
            stored: CommitId { frame_no: raw.stored_frame_no.get(), commit_us: raw.stored_us.get() },
            places: decode_places(places, crc)?,
        };
        if meta.intent_frame_no < meta.checkpointed_frame_no || meta.intent_frame_no > 1 << 62 {
            return Err(format!(
                "a checkpoint to frame {} is noted, but frame {} is already checkpointed",
                meta.intent_frame_no, meta.checkpointed_frame_no
            ));
        }
        Ok(Some(meta))
    }
}

/// The table of places. An earlier version of vwal left zeros there.
fn decode_places(bytes: &[u8], record_crc: u32) -> Result<[StoredIn; PLACES], Problem> {
    if bytes.iter().all(|&byte| byte == 0) {
        return Ok([StoredIn::default(); PLACES]);
    }
    let raw = RawPlaces::ref_from_bytes(bytes).map_err(|error| error.to_string())?;
    let crc = crc32(record_crc, &[raw.places.as_bytes()]);
    if raw.crc.get() != crc {
        return Err(format!("checksum {:08x} of the places in the metadata, expected {crc:08x}", raw.crc));
    }
    Ok(raw.places.map(|known| StoredIn {
        place: known.place.get(),
        commit: CommitId { frame_no: known.stored_frame_no.get(), commit_us: known.stored_us.get() },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Meta {
        Meta {
            sequence: 9,
            log_id: LogId(uuid::Uuid::from_u128(77)),
            page_size: PageSize::new(65536).unwrap(),
            checkpointed_frame_no: 100,
            intent_frame_no: 120,
            db_size_pages: 7,
            change_counter: 1,
            version_valid_for: 1,
            has_footer: true,
            commit_us: 1_700_000_000_000_000,
            parent: Some(Parent { log_id: LogId(uuid::Uuid::from_u128(76)), frame_no: 90 }),
            stored: CommitId::default(),
            places: [StoredIn::default(); PLACES],
        }
        .with_stored(StoredIn {
            place: 3,
            commit: CommitId { frame_no: 95, commit_us: 1_600_000_000_000_000 },
        })
    }

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let slot = sample().encode();
        assert_eq!(slot.len(), META_SLOT_SIZE);
        assert_eq!(Meta::decode(&slot), Ok(Some(sample())));
        for at in 0..RECORD_SIZE + PLACES_SIZE {
            assert!(Meta::decode(&slot[..at]).is_err() || at == 0);
            for bit in 0..8 {
                let mut bad = slot.clone();
                bad[at] ^= 1 << bit;
                assert!(Meta::decode(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_pass_of_the_version_before_promises_no_footer() {
        let slot_of = |meta: Meta| {
            let mut slot = meta.encode();
            slot[8..12].copy_from_slice(&VERSION_WITHOUT_FOOTER.to_be_bytes());
            let crc = crc32(0, &[&slot[..RECORD_SIZE - 4]]);
            slot[RECORD_SIZE - 4..RECORD_SIZE].copy_from_slice(&crc.to_be_bytes());
            slot[RECORD_SIZE..].fill(0);
            slot
        };
        let places = [StoredIn::default(); PLACES];
        assert_eq!(
            Meta::decode(&slot_of(sample())),
            Ok(Some(Meta { has_footer: false, places, ..sample() }))
        );
        let at_rest = Meta { intent_frame_no: sample().checkpointed_frame_no, places, ..sample() };
        assert_eq!(Meta::decode(&slot_of(at_rest)), Ok(Some(at_rest)));
    }

    #[test]
    fn each_place_is_remembered_until_many_others_were_used() {
        let at =
            |place| StoredIn { place, commit: CommitId { frame_no: 10 * u64::from(place), commit_us: 5 } };
        let mut meta = sample();
        for place in [1, 2, 1] {
            meta = meta.with_stored(at(place));
        }
        assert_eq!(meta.places.map(|known| known.place), [1, 2, 3, 0, 0, 0, 0, 0]);
        assert_eq!(meta.stored_in(2), Some(at(2)));
        let elsewhere =
            meta.with_stored(StoredIn { place: 0, commit: CommitId { frame_no: 99, commit_us: 6 } });
        assert_eq!((elsewhere.places, elsewhere.stored.frame_no), (meta.places, 99));
        assert_eq!(elsewhere.stored_in(0), None);
        for place in 4..=10 {
            meta = meta.with_stored(at(place));
        }
        assert_eq!(meta.places.map(|known| known.place), [10, 9, 8, 7, 6, 5, 4, 1]);
    }

    #[test]
    fn a_slot_of_a_version_without_places_is_read() {
        let mut slot = sample().encode();
        slot[RECORD_SIZE..].fill(0);
        assert_eq!(Meta::decode(&slot), Ok(Some(Meta { places: [StoredIn::default(); PLACES], ..sample() })));
    }

    #[test]
    fn a_zeroed_slot_was_never_written() {
        assert_eq!(Meta::decode(&[0; META_SLOT_SIZE]), Ok(None));
        assert_eq!(Meta::decode(&[]), Ok(None));
    }
}
