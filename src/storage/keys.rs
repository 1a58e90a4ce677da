//! Names of objects. They are made from parsed numbers and UUIDs only, and what does not parse is not vwal's.
//!
//! Below the root that the URL names:
//!
//! | key | object |
//! |---|---|
//! | `{log id}/{level}/{frame}.bundle` | a bundle (its head, when it has parts) |
//! | `{log id}/parts/{level}-{frame}-{nonce}/{part}.part` | a part of a large bundle |
//! | `put-if-absent` | the object that shows that the store keeps to create-only writes |
//!
//! `level` is 0 to 3 or `snapshot`. `frame` is the first frame of the bundle, or the last one of a snapshot, counted down
//! from 2^63 - 1 in 16 hexadecimal digits: a listing, which ascends, begins with the newest. `nonce` has 16 hexadecimal
//! digits, `part` five decimal ones.

use crate::storage::PROBE_KEY;
use crate::types::{Level, LogId};

const FRAMES_END: u64 = (1 << 63) - 1;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A bundle.
    Head {
        /// Its log.
        log_id: LogId,
        /// Its level.
        level: Level,
        /// Its first frame, or the last one of a snapshot.
        frame_no: u64,
    },
    /// A part of one.
    Part {
        /// Its log.
        log_id: LogId,
        /// Level of the bundle.
        level: Level,
        /// First frame of the bundle, or the last one of a snapshot.
        frame_no: u64,
        /// Nonce of the bundle.
        nonce: u64,
        /// Number of the part, from 1.
        part: u32,
    },
    /// [`PROBE_KEY`].
    Probe,
}

/// The prefix of everything of a log.
pub fn log_prefix(log_id: LogId) -> String {
    format!("{log_id}/")
}

/// The prefix of the bundles of a level.
pub fn level_prefix(log_id: LogId, level: Level) -> String {
    format!("{log_id}/{level}/")
}

/// The prefix of the parts of a log.
pub fn parts_prefix(log_id: LogId) -> String {
    format!("{log_id}/parts/")
}

/// The key of a bundle: `frame_no` is its first frame, or the last one of a snapshot.
pub fn head_key(log_id: LogId, level: Level, frame_no: u64) -> String {
    format!("{log_id}/{level}/{}.bundle", descending(frame_no))
}

/// The key of a part.
pub fn part_key(log_id: LogId, level: Level, frame_no: u64, nonce: u64, part: u32) -> String {
    format!("{log_id}/parts/{level}-{}-{nonce:016x}/{part:05}.part", descending(frame_no))
}

fn descending(frame_no: u64) -> String {
    format!("{:016x}", FRAMES_END.saturating_sub(frame_no))
}

impl Key {
    /// Read a key; `None`: it is not one of vwal's.
    pub fn parse(key: &str) -> Option<Key> {
        if key == PROBE_KEY {
            return Some(Key::Probe);
        }
        let mut words = key.split('/');
        let log_id: LogId = words.next()?.parse().ok()?;
        let parsed = match (words.next()?, words.next()?, words.next(), words.next()) {
            ("parts", bundle, Some(part), None) => {
                let mut fields = bundle.split('-');
                let level: Level = fields.next()?.parse().ok()?;
                let frame_no = FRAMES_END.checked_sub(hex(fields.next()?)?)?;
                let nonce = hex(fields.next()?)?;
                Key::Part { log_id, level, frame_no, nonce, part: decimal(part.strip_suffix(".part")?)? }
            }
            (level, head, None, None) => {
                let frame_no = FRAMES_END.checked_sub(hex(head.strip_suffix(".bundle")?)?)?;
                Key::Head { log_id, level: level.parse().ok()?, frame_no }
            }
            _ => return None,
        };
        // There is one way to write a key: capital letters, other forms of a UUID and the like are not ours.
        (parsed.to_string() == key).then_some(parsed)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Key::Head { log_id, level, frame_no } => f.write_str(&head_key(log_id, level, frame_no)),
            Key::Part { log_id, level, frame_no, nonce, part } => {
                f.write_str(&part_key(log_id, level, frame_no, nonce, part))
            }
            Key::Probe => f.write_str(PROBE_KEY),
        }
    }
}

fn hex(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok())?
}

fn decimal(text: &str) -> Option<u32> {
    (text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn keys_round_trip_and_the_newest_comes_first() {
        let log_id = LogId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));
        for level in Level::merged().chain([Level::SNAPSHOT]) {
            let frames = [0, 1, 2, 255, 256, 1 << 40, 1 << 62];
            let heads = frames.map(|frame_no| head_key(log_id, level, frame_no));
            assert!(heads.is_sorted_by(|older, newer| older > newer), "{heads:?}");
            for (frame_no, key) in frames.into_iter().zip(heads) {
                assert_eq!(Key::parse(&key), Some(Key::Head { log_id, level, frame_no }), "{key}");
                let key = part_key(log_id, level, frame_no, 77, 123_456);
                let part = Key::Part { log_id, level, frame_no, nonce: 77, part: 123_456 };
                assert_eq!(Key::parse(&key), Some(part), "{key}");
            }
        }
        assert_eq!(Key::parse(PROBE_KEY), Some(Key::Probe));
    }

    #[test]
    fn what_is_not_ours_is_not_a_key() {
        let id = "01920000-0000-7000-8000-000000000001";
        for key in [
            String::new(),
            "/".into(),
            "readme.txt".into(),
            id.to_owned(),
            format!("{id}/0/"),
            format!("{id}/0/7fffffffffffffff"),
            format!("{id}/0/7FFFFFFFFFFFFFFF.bundle"),
            format!("{id}/4/7fffffffffffffff.bundle"),
            format!("{id}/00/7fffffffffffffff.bundle"),
            format!("{id}/0/ffffffffffffffff.bundle"),
            format!("{id}/0/+fffffffffffffff.bundle"),
            format!("{id}/0/7fffffffffffffff.bundle/x"),
            format!("{id}/../{id}/0/7fffffffffffffff.bundle"),
            format!("{id}/parts/0-7fffffffffffffff-0000000000000001/1.part"),
            format!("{id}/parts/0-7fffffffffffffff-0000000000000001/00000000001.part"),
            format!("{id}/parts/0-7fffffffffffffff/00001.part"),
            "0192000000007000800000000000000 1/0/7fffffffffffffff.bundle".into(),
            "01920000000070008000000000000001/0/7fffffffffffffff.bundle".into(),
        ] {
            assert_eq!(Key::parse(&key), None, "{key}");
        }
    }
}
