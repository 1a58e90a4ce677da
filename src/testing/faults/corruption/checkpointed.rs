//! Damage to the part of a log that the base file has: nothing is lost by it, whatever it is.

use super::Sweep;
use super::log::{Outcome, judge};
use super::wholes::{Whole, one_segment, with_segments};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::segment_header::SEGMENT_HEAD_SIZE;
use crate::testing::faults::campaign::Campaign;
use crate::testing::io::{Image, splitmix};

/// Every commit is there.
fn all_there(whole: &Whole, damaged: &Image) -> Result<(), String> {
    match judge(whole, damaged, whole.last, |_| ())? {
        Outcome::Commit(_) => Ok(()),
        other => Err(format!("{other:?}, and nothing that is needed is damaged")),
    }
}

/// Frames of the only segment that the base file has.
fn in_base(whole: &Whole) -> usize {
    let count = whole.checkpointed() as usize;
    assert!(count > 10 && count + 10 < whole.segments[0].frames, "{count} of {}", whole.segments[0].frames);
    count
}

#[test]
fn every_bit_of_a_frame_that_is_checkpointed() {
    let mut campaign = Campaign::all("corruption", "bits of checkpointed frames");
    let step = campaign.scale(41, 3, 1);
    let mut sweep = Sweep::default();
    for full in [false, true] {
        let whole = one_segment(full);
        let segment = &whole.segments[0];
        let last = in_base(&whole) - 1;
        for at in 0..=last {
            for (number, offset) in segment.frame(at).enumerate() {
                // The header of the checkpointed frame is where the chain is taken up.
                let every = at == last && number < FRAME_HEADER_SIZE;
                for bit in (0..8).filter(|bit| every || (8 * (number + at) + bit).is_multiple_of(step)) {
                    let damaged = whole.with(&segment.path, |bytes| bytes[offset] ^= 1 << bit);
                    let what = || format!("full: {full}, frame {}, byte {number}, bit {bit}", at + 1);
                    sweep.case(what, || all_there(&whole, &damaged));
                }
            }
        }
    }
    campaign.count(sweep.held());
}

#[test]
fn many_bytes_of_the_frames_that_are_checkpointed() {
    let wholes = [one_segment(false), one_segment(true)];
    let campaign = Campaign::new("corruption", "random damage of checkpointed frames", 300, 4000);
    campaign.run(1, |seed| {
        let mut state = seed;
        let mut below = |bound: usize| (splitmix(&mut state) % bound as u64) as usize;
        let full = below(2) == 1;
        let whole = &wholes[usize::from(full)];
        let segment = &whole.segments[0];
        let last = segment.frame(in_base(whole) - 1);
        let mut touched = false;
        let damaged = whole.with(&segment.path, |bytes| {
            for _ in 0..1 + below(4) {
                let start = SEGMENT_HEAD_SIZE + below(last.end - SEGMENT_HEAD_SIZE);
                let end = (start + 1 + below(5000)).min(last.end);
                touched |= end > last.start;
                match below(3) {
                    0 => bytes[start..end].fill(0),
                    1 => bytes[start..end].reverse(),
                    _ => (start..end).for_each(|at| bytes[at] = below(256) as u8),
                }
            }
        });
        let outcome = match judge(whole, &damaged, whole.last, |_| ()) {
            // Where the checkpointed frame is gone, nothing but what later frames say ties them to it.
            Ok(Outcome::Refused) if touched && !full => Ok(()),
            Ok(Outcome::Commit(_)) => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(wrong) => Err(wrong),
        };
        outcome.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        1
    });
}

/// Frames of the next transaction that was written at the place of frame `c + 1`, and rolled back, do not count, though the frame
/// that they followed is damaged too.
#[test]
fn a_frame_that_does_not_follow_the_checkpointed_one_is_not_taken_up() {
    let whole = one_segment(false);
    let segment = &whole.segments[0];
    let count = in_base(&whole);
    // The header of the frame, and a bit of its page: neither checksum is left.
    let gone = whole.with(&segment.path, |bytes| {
        let frame = segment.frame(count - 1);
        bytes[frame.start + 20..frame.start + FRAME_HEADER_SIZE + 1].fill(0xA5);
    });
    assert_eq!(judge(&whole, &gone, whole.last, |_| ()), Ok(Outcome::Refused));
    // The same where later frames say that it had been fsynced.
    let whole = one_segment(true);
    let gone = whole.with(&segment.path, |bytes| {
        let frame = segment.frame(count - 1);
        bytes[frame.start + 20..frame.start + FRAME_HEADER_SIZE + 1].fill(0xA5);
    });
    assert_eq!(judge(&whole, &gone, whole.last, |_| ()), Ok(Outcome::Commit(whole.last)));
}

#[test]
fn the_head_of_a_segment_that_has_frames_which_are_needed() {
    for full in [false, true] {
        let whole = one_segment(full);
        for damage in
            [|bytes: &mut Vec<u8>| bytes[30] ^= 1, |bytes: &mut Vec<u8>| bytes[..SEGMENT_HEAD_SIZE].fill(0)]
        {
            let damaged = whole.with(&whole.segments[0].path, damage);
            assert_eq!(judge(&whole, &damaged, whole.last, |_| ()), Ok(Outcome::Refused), "full: {full}");
        }
    }
}

#[test]
fn segments_of_which_nothing_is_needed() {
    let whole = with_segments();
    let checkpointed = whole.checkpointed();
    let mut tried = 0;
    for (at, segment) in whole.segments.iter().enumerate() {
        if whole.segments.get(at + 1).is_none_or(|next| next.first_frame_no > checkpointed + 1) {
            break;
        }
        tried += 1;
        let mut cases = vec![
            whole.with(&segment.path, Vec::clear),
            whole.with(&segment.path, |bytes| bytes[..SEGMENT_HEAD_SIZE].fill(0)),
            whole.with(&segment.path, |bytes| bytes[4] ^= 1),
            whole.with(&segment.path, |bytes| bytes.truncate(SEGMENT_HEAD_SIZE + 100)),
            whole.with(&segment.path, |bytes| bytes[SEGMENT_HEAD_SIZE..].fill(0xA5)),
        ];
        let mut missing = whole.image.clone();
        missing.names.remove(&segment.path);
        cases.push(missing);
        for (number, damaged) in cases.into_iter().enumerate() {
            all_there(&whole, &damaged)
                .unwrap_or_else(|wrong| panic!("{}, case {number}: {wrong}", segment.path.display()));
        }
    }
    assert!(tried > 1, "{tried} segments, checkpointed up to frame {checkpointed}");
}

/// After frames were stepped over the log goes on as ever: it is written to, killed and opened again.
#[test]
fn a_log_that_stepped_over_frames_goes_on() {
    for full in [false, true] {
        let whole = one_segment(full);
        let segment = &whole.segments[0];
        for at in [0, in_base(&whole) / 2, in_base(&whole) - 1] {
            let offset = segment.frame(at).start + FRAME_HEADER_SIZE + 7;
            let damaged = whole.with(&segment.path, |bytes| bytes[offset] ^= 1);
            let rig = crate::testing::faults::rig::Rig::from(damaged);
            let mut history = whole.history.clone();
            let mut rig = rig.with("vwal_swap", "frames>=7");
            for round in 0..3 {
                let (db, k) = rig.open_and_check(&history).expect("it opens");
                assert_eq!(k, whole.last + round);
                // By the copy of the segment, which takes over what was stepped over.
                let k = k + 1;
                let pages: Vec<u32> = vec![2, 3];
                history.insert(k, history[&(k - 1)].after(k, &pages, 4));
                db.commit(k, &pages, 4, true).expect("a commit");
                db.log().writer().seal_segments().expect("a seal");
                drop(db);
                rig = rig.crash_hard();
            }
            let (db, _) = rig.open_and_check(&history).expect("it opens");
            db.pass().expect("a pass");
            db.truncate().expect("everything is drained");
            drop(db);
            let (_, k) = rig.open_and_check(&history).expect("it opens");
            assert_eq!(k, whole.last + 3);
        }
    }
}
