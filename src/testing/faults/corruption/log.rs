//! The files of a log.

use std::path::Path;

use super::Sweep;
use super::agreement::Said;
use super::wholes::{Whole, all};
use crate::format::crc32;
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::meta::META_SLOT_SIZE;
use crate::format::segment_header::{SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEAD_SIZE, SEGMENT_HEADER_SIZE};
use crate::testing::faults::campaign::Campaign;
use crate::testing::faults::rig::{BASE, DIR, PAGE, Rig, check_bytes};
use crate::testing::io::{Image, Op, splitmix};

/// What came of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The open was refused.
    Refused,
    /// It opened, and some page cannot be read.
    Unreadable,
    /// It opened, and is this commit.
    Commit(u32),
}

/// Open damaged files. `least`: the promises allow this commit and later ones. `view` gets what is read.
pub(super) fn judge(
    whole: &Whole,
    damaged: &Image,
    least: u32,
    view: impl Fn(&mut Vec<u8>),
) -> Result<Outcome, String> {
    let said = Said::of(damaged)?;
    let named = |error: String| match error.contains(BASE) {
        true => Ok(()),
        false => Err(format!("an error that names no file: {error}")),
    };
    let rig = Rig::from(damaged.clone());
    let db = match rig.open() {
        Ok(db) => db,
        Err(error) => {
            named(error.to_string())?;
            // The lock file is opened before anything is known.
            let lock = Path::new(DIR).join("lock");
            let is_change = |op: &Op| !matches!(op, Op::Create { path, .. } if *path == lock);
            if let Some(record) = rig.io.trace().iter().find(|record| is_change(&record.op)) {
                return Err(format!("the open was refused ({error}), but did {:?}", record.op));
            }
            said.is_refused(&error)?;
            return Ok(Outcome::Refused);
        }
    };
    said.is_open(&db)?;
    let outcome = match db.view() {
        Err(error) => {
            named(error.to_string())?;
            said.is_unreadable()?;
            Outcome::Unreadable
        }
        Ok(mut bytes) => {
            view(&mut bytes);
            let k = check_bytes(&bytes, &whole.history)?;
            if k < least {
                return Err(format!("commit {k} is there, {least} was shown to be durable"));
            }
            Outcome::Commit(k)
        }
    };
    // What a pass makes of it is the same.
    let passed = db.pass();
    drop(db);
    let again = Rig::from(rig.io.live());
    let found = again.open().and_then(|db| db.view());
    match (outcome, passed, found) {
        (Outcome::Commit(k), Ok(_), Ok(mut bytes)) => {
            view(&mut bytes);
            match check_bytes(&bytes, &whole.history)? {
                after if after == k => Ok(outcome),
                after => Err(format!("commit {k} became {after} by a pass")),
            }
        }
        (Outcome::Commit(_), Err(error), _) | (Outcome::Commit(_), _, Err(error)) => {
            // Something is damaged that no reader needs.
            named(error.to_string()).map(|()| outcome)
        }
        (_, _, Ok(bytes)) => {
            Err(format!("unreadable pages became {:?}", check_bytes(&bytes, &whole.history)))
        }
        (_, _, Err(error)) => named(error.to_string()).map(|()| outcome),
    }
}

/// With the damage of a file undone, after an attempt at a pass, everything is there again. (An open that is refused changes
/// nothing, so there is nothing to try; a tail that was cut off is gone for good.)
fn undone(whole: &Whole, damaged: &Image, path: &Path) -> Result<(), String> {
    let rig = Rig::from(damaged.clone());
    let db = rig.open().map_err(|error| error.to_string())?;
    drop(db.pass());
    drop(db);
    let mut image = rig.io.live();
    if image.read(path).is_none() {
        return Err(format!("{} is gone", path.display()));
    }
    image.put(path, whole.bytes(path).to_vec());
    match Rig::from(image).open_and_check(&whole.history)?.1 {
        k if k == whole.last => Ok(()),
        k => Err(format!("with the damage undone commit {k} is there")),
    }
}

/// The least commit that has to be there when bytes of a file are damaged: the last one, but for the segment in which it is.
/// There the damage may have hit what showed that its commit was durable.
fn least(whole: &Whole, path: &Path) -> u32 {
    whole.last - u32::from(whole.newest(path).is_some())
}

/// SQLite's header in the base file is not vwal's: where page 1 is not in the log, it is seen as it is.
fn as_it_was<'a>(whole: &'a Whole, damaged: &'a Image, path: &Path) -> impl Fn(&mut Vec<u8>) + 'a {
    let is_base = path == Path::new(BASE);
    move |bytes| {
        let found = damaged.read(Path::new(BASE)).expect("a base file");
        if is_base && bytes.get(..PAGE) == found.get(..PAGE) {
            bytes[..PAGE].copy_from_slice(&whole.bytes(Path::new(BASE))[..PAGE]);
        }
    }
}

#[test]
fn every_bit_of_every_header_footer_and_index() {
    let mut campaign = Campaign::all("corruption", "bits of a log");
    let step = campaign.scale(31, 1, 1);
    let mut sweep = Sweep::default();
    let mut outcomes = [0u64; 3];
    for (at, whole) in all().into_iter().enumerate() {
        for path in whole.files() {
            // The segments of the others are the same, in another state of the log.
            let step =
                if at > 0 && path.extension().is_some_and(|end| end == "seg") { 7 * step } else { step };
            for (number, offset) in whole.structures(&path).into_iter().enumerate() {
                for bit in (0..8).filter(|bit| (8 * number + bit).is_multiple_of(step)) {
                    let bits = 1 << bit;
                    let damaged = whole.with(&path, |bytes| bytes[offset] ^= bits);
                    let what = || format!("{}, {}, byte {offset}, bit {bit}", whole.name, path.display());
                    sweep.case(what, || {
                        let view = as_it_was(&whole, &damaged, &path);
                        let outcome = judge(&whole, &damaged, least(&whole, &path), view)?;
                        outcomes[match outcome {
                            Outcome::Refused => 0,
                            Outcome::Unreadable => 1,
                            Outcome::Commit(_) => 2,
                        }] += 1;
                        if outcome == Outcome::Unreadable { undone(&whole, &damaged, &path) } else { Ok(()) }
                    });
                }
            }
        }
    }
    println!("refused, unreadable, there: {outcomes:?}");
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    campaign.count(sweep.held());
}

#[test]
fn every_byte_of_every_page_in_a_frame() {
    let mut campaign = Campaign::all("corruption", "pages of a log");
    let step = campaign.scale(31, 1, 1);
    let mut sweep = Sweep::default();
    let whole = &all()[0];
    for segment in &whole.segments {
        for offset in segment.pages().step_by(step) {
            let bits = 1 << (offset % 8);
            let damaged = whole.with(&segment.path, |bytes| bytes[offset] ^= bits);
            let what = || format!("{}, byte {offset}", segment.path.display());
            sweep.case(what, || match judge(whole, &damaged, least(whole, &segment.path), |_| ())? {
                Outcome::Unreadable => undone(whole, &damaged, &segment.path),
                _ => Ok(()),
            });
        }
    }
    campaign.count(sweep.held());
}

#[test]
fn every_length_of_every_file() {
    let mut campaign = Campaign::all("corruption", "lengths of a log");
    let step = campaign.scale(31, 1, 1);
    let mut sweep = Sweep::default();
    for (at, whole) in all().into_iter().enumerate() {
        for path in whole.files() {
            if path == Path::new(BASE) && whole.segments.iter().all(|segment| segment.frames == 0) {
                // A database file beside a log that holds nothing is SQLite's to judge, by the size in its header.
                continue;
            }
            // Nothing behind it tells what was in the last one.
            let least = whole.newest(&path).map_or(whole.last, |newest| newest.commit_before);
            // Where there are zeros up to the next block, one length is as good as another.
            let bytes = whole.bytes(&path);
            let is_other = |length: &usize| bytes[*length] != 0 || (*length > 0 && bytes[length - 1] != 0);
            let lengths = (0..bytes.len()).filter(|length| is_other(length) || length.is_multiple_of(512));
            // The segments of the others are the same, in another state of the log.
            let step =
                if at > 0 && path.extension().is_some_and(|end| end == "seg") { 7 * step } else { step };
            for length in lengths.step_by(step) {
                let damaged = whole.with(&path, |bytes| bytes.truncate(length));
                let what = || format!("{}, {} of {length} bytes", whole.name, path.display());
                sweep.case(what, || judge(&whole, &damaged, least, |_| ()).map(drop));
            }
        }
    }
    campaign.count(sweep.held());
}

/// Two ranges of equal length, in one file or two, exchanged.
fn swapped(image: &Image, one: (&Path, usize), two: (&Path, usize), length: usize) -> Image {
    let mut image = image.clone();
    let read = |image: &Image, (path, at): (&Path, usize)| {
        image.read(path).expect("a file")[at..at + length].to_vec()
    };
    let (first, second) = (read(&image, one), read(&image, two));
    for ((path, at), bytes) in [(one, second), (two, first)] {
        let mut whole = image.read(path).expect("a file").to_vec();
        whole[at..at + length].copy_from_slice(&bytes);
        image.put(path, whole);
    }
    image
}

#[test]
fn sections_that_have_changed_places() {
    let mut campaign = Campaign::all("corruption", "swapped sections of a log");
    let step = campaign.scale(31, 1, 1);
    let mut sweep = Sweep::default();
    for whole in all() {
        let mut pairs = Vec::new();
        let meta = Whole::meta();
        pairs.push(((meta.as_path(), 0), (meta.as_path(), META_SLOT_SIZE), META_SLOT_SIZE));
        let mut frames = Vec::new();
        for (at, one) in whole.segments.iter().enumerate() {
            frames.extend((0..one.frames).map(|frame| (one.path.as_path(), one.frame(frame).start)));
            for two in &whole.segments[at + 1..] {
                for (offset, length) in
                    [(0, SEGMENT_HEAD_SIZE), (0, SEGMENT_HEADER_SIZE), (SEAL_OFFSET, SEAL_SIZE)]
                {
                    pairs.push(((one.path.as_path(), offset), (two.path.as_path(), offset), length));
                }
                let length = whole.bytes(&one.path).len().min(whole.bytes(&two.path).len());
                pairs.push(((one.path.as_path(), 0), (two.path.as_path(), 0), length));
            }
        }
        for (at, &one) in frames.iter().enumerate() {
            for &two in &frames[at + 1..] {
                pairs.push((one, two, FRAME_HEADER_SIZE + PAGE));
                pairs.push(((one.0, one.1 + FRAME_HEADER_SIZE), (two.0, two.1 + FRAME_HEADER_SIZE), PAGE));
            }
        }
        for (number, (one, two, length)) in pairs.into_iter().enumerate() {
            if !number.is_multiple_of(step) {
                continue;
            }
            let damaged = swapped(&whole.image, one, two, length);
            let what = || format!("{}, {length} bytes at {one:?} and {two:?}", whole.name);
            let before = |path: &Path| {
                whole
                    .segments
                    .iter()
                    .find(|segment| segment.path == path)
                    .map_or(0, |segment| segment.commit_before)
            };
            let least = match whole.newest(one.0).is_some() || whole.newest(two.0).is_some() {
                false => whole.last,
                // Both the last commit and what showed that the one before it was durable may be hit.
                true if length < SEGMENT_HEAD_SIZE => whole.last - 2,
                // All of it, and of the one before it.
                true => before(one.0).min(before(two.0)).max(
                    whole.segments.iter().rev().map(|segment| segment.commit_before).nth(2).unwrap_or(0),
                ),
            };
            sweep.case(what, || judge(&whole, &damaged, least, |_| ()).map(drop));
        }
    }
    campaign.count(sweep.held());
}

#[test]
fn damage_of_many_bytes_at_random() {
    let wholes = all();
    let campaign = Campaign::new("corruption", "random damage of a log", 300, 4000);
    campaign.run(1, |seed| {
        let mut state = seed;
        let mut below = |bound: usize| (splitmix(&mut state) % bound as u64) as usize;
        let whole = &wholes[below(wholes.len())];
        // The pages of the base file are SQLite's, and have no checksum.
        let files: Vec<_> = whole.files().into_iter().skip(1).collect();
        let mut damaged = whole.image.clone();
        for _ in 0..1 + below(4) {
            let path = &files[below(files.len())];
            let mut bytes = damaged.read(path).expect("a file").to_vec();
            if bytes.is_empty() {
                continue;
            }
            let (at, length) = (below(bytes.len()), 1 + below(700));
            let end = (at + length).min(bytes.len());
            match below(6) {
                0 => bytes.truncate(at),
                1 => bytes[at..end].fill(0),
                2 => bytes.extend(std::iter::repeat_n(0xA7, length)),
                3 => {
                    let from = below(bytes.len() - (end - at) + 1);
                    bytes.copy_within(from..from + (end - at), at);
                }
                _ => (at..end).for_each(|at| bytes[at] = below(256) as u8),
            }
            damaged.put(path, bytes);
        }
        judge(whole, &damaged, 0, |_| ())
            .unwrap_or_else(|wrong| panic!("seed {seed}, {}: {wrong}", whole.name));
        1
    });
}

/// A page with a flipped bit whose checksum was made right again passes for a page of the commit, and only the oracle can
/// tell: it does.
#[test]
fn the_oracle_notices_a_wrong_page_with_a_right_checksum() {
    let whole = &all()[0];
    let segment = whole.segments.iter().rfind(|segment| segment.frames > 0).expect("frames");
    let last = segment.frame(segment.frames - 1);
    let forge = |with_checksum: bool| {
        whole.with(&segment.path, |bytes| {
            let seed = u32::from_be_bytes(bytes[60..64].try_into().expect("four bytes"));
            let frame = &mut bytes[last.clone()];
            frame[FRAME_HEADER_SIZE + 100] ^= 1;
            if with_checksum {
                let crc = crc32(seed, &[&frame[..FRAME_HEADER_SIZE - 4], &frame[FRAME_HEADER_SIZE..]]);
                frame[FRAME_HEADER_SIZE - 4..FRAME_HEADER_SIZE].copy_from_slice(&crc.to_be_bytes());
            }
        })
    };
    assert_eq!(judge(whole, &forge(false), whole.last - 1, |_| ()), Ok(Outcome::Commit(whole.last - 1)));
    let wrong = judge(whole, &forge(true), whole.last - 1, |_| ()).expect_err("a wrong page");
    assert!(wrong.contains("is not the one that commit"), "{wrong}");
    // And one that is missing.
    let cut = whole.with(&segment.path, |bytes| bytes[last.start..].fill(0));
    let wrong = judge(whole, &cut, whole.last, |_| ()).expect_err("a commit is missing");
    assert!(wrong.contains("was shown to be durable"), "{wrong}");
}
