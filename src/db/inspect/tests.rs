//! A small log, whole and then damaged in one place after the other.

mod made;

use std::fs;
use std::io::Write as _;

use super::*;
use crate::format::footer::FOOTER_SIZE;
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::frame::FrameStamp;
use crate::format::segment_header::{
    SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEAD_SIZE, SEGMENT_HEADER_SIZE, Seal, SegmentHeader,
};
use crate::format::segment_index::{FrameMark, encode_index, index_crc, index_offset, index_size};
use crate::segment::segment_name;
use made::{Log, segment};

const PAGE: usize = 512;
const FRAME: usize = FRAME_HEADER_SIZE + PAGE;

#[test]
fn a_whole_log_has_no_findings_at_either_depth() {
    let log = Log::new();
    for depth in [Depth::Heads, Depth::Frames] {
        let found = inspect(&log.path, depth).unwrap();
        assert_eq!(found.findings, []);
        assert_eq!((found.log_id(), found.frame_no()), (Some(log.meta.log_id), Some(11)));
        assert_eq!(found.db_size_pages(), Some(2));
        assert_eq!(found.footer.map(|footer| footer.frame_no), Some(4));
        assert!(found.holder.is_none() && found.is_wal);
        let segments: Vec<_> = found
            .segments
            .iter()
            .map(|segment| {
                (segment.start_frame_no, segment.end_frame_no, segment.state.name(), segment.uncommitted)
            })
            .collect();
        assert_eq!(segments, [(3, 6, "sealed", 0), (7, 8, "sealed", 0), (9, 11, "current", 1)]);
        assert_eq!(found.segments[0].bytes, (SEGMENT_HEAD_SIZE + 4 * FRAME) as u64);
        assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
        assert!(
            found.notes[0].contains("1 frames of a transaction that is never committed"),
            "{:?}",
            found.notes
        );
    }
}

#[test]
fn nothing_is_changed_by_looking() {
    let log = Log::new();
    let all = || {
        let mut files: Vec<_> = fs::read_dir(&log.dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.push(log.path.clone());
        files.sort();
        files
            .into_iter()
            .map(|path| (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap(), path))
            .collect::<Vec<_>>()
    };
    let before = all();
    inspect(&log.path, Depth::Frames).unwrap();
    assert_eq!(all(), before);
}

#[test]
fn a_flipped_bit_anywhere_that_counts_is_found_in_its_file() {
    let log = Log::new();
    // Not the uncommitted frame nor what is behind it, and not bytes of the heads and slots that mean nothing.
    let sealed = |frames: usize| {
        let end = SEGMENT_HEAD_SIZE + frames * FRAME;
        let index = index_offset(end as u64) as usize;
        let seal = SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE;
        let index = index..index + index_size(frames as u64) as usize;
        (vec![0..64, SEGMENT_HEAD_SIZE..end, index], seal)
    };
    let ((mut first, seal), (second, _)) = (sealed(4), sealed(2));
    // Behind the one of the second segment nothing is sealed: a crash could have torn it.
    first.push(seal);
    let files = [
        (log.segment(3), first),
        (log.segment(7), second),
        (log.dir.join(META_NAME), vec![0..76, META_SLOT_SIZE..META_SLOT_SIZE + 76]),
        (log.path.clone(), vec![2 * PAGE..2 * PAGE + 18, 2 * PAGE + 18..2 * PAGE + FOOTER_SIZE]),
    ];
    for (path, ranges) in files {
        let good = fs::read(&path).unwrap();
        for at in ranges.into_iter().flatten() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            let found = inspect(&log.path, Depth::Frames).unwrap();
            assert!(!found.findings.is_empty(), "byte {at} of {}", path.display());
            assert!(found.findings.iter().any(|finding| finding.path == path), "{:?}", found.findings);
        }
        fs::write(&path, good).unwrap();
    }
    assert_eq!(inspect(&log.path, Depth::Frames).unwrap().findings, []);
}

#[test]
fn a_seal_that_a_crash_may_have_torn_is_a_note() {
    let log = Log::new();
    log.change(&log.segment(7), |bytes| bytes[SEAL_OFFSET + 9] ^= 4);
    for depth in [Depth::Heads, Depth::Frames] {
        let found = inspect(&log.path, depth).unwrap();
        assert_eq!((found.findings.len(), found.frame_no()), (0, Some(11)), "{:?}", found.findings);
        assert!(found.notes.iter().any(|note| note.contains("the seal has checksum")), "{:?}", found.notes);
    }
}

/// A power loss may keep the head of the newest segment from the disk; nothing in it was durable then.
#[test]
fn a_newest_segment_without_its_head_is_no_finding_unless_it_was_fsynced() {
    for depth in [Depth::Heads, Depth::Frames] {
        let log = Log::new();
        log.change(&log.segment(9), |bytes| bytes[..SEGMENT_HEAD_SIZE].fill(0));
        let found = inspect(&log.path, depth).unwrap();
        assert_eq!((&found.findings[..], found.frame_no()), (&[][..], Some(8)), "{:?}", found.notes);
        assert!(
            found.notes.iter().any(|note| note.contains("no frames that are needed")),
            "{:?}",
            found.notes
        );

        let log = Log::new();
        log.change(&log.segment(7), |bytes| bytes[..SEGMENT_HEADER_SIZE].fill(0));
        let found = inspect(&log.path, depth).unwrap();
        assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
        assert!(found.findings[0].message.contains("its seal shows"), "{}", found.findings[0]);
    }
}

/// What is damaged and in the database file is a finding, and nothing else is the worse for it.
#[test]
fn a_bad_frame_that_is_checkpointed_is_a_finding_that_loses_nothing() {
    let log = Log::new();
    let (mut bytes, _) = segment(&log.meta, 3, 0, &[4, 6], 6, false);
    bytes[SEGMENT_HEAD_SIZE + 80] ^= 4;
    let good = fs::read(log.segment(3)).unwrap();
    fs::write(log.segment(3), bytes).unwrap();
    for depth in [Depth::Heads, Depth::Frames] {
        let found = inspect(&log.path, depth).unwrap();
        assert_eq!((found.findings.len(), found.frame_no()), (1, Some(11)), "{:?}", found.findings);
        let finding = &found.findings[0];
        assert_eq!((&finding.path, finding.offset), (&log.segment(3), Some(SEGMENT_HEAD_SIZE as u64)));
        assert!(finding.message.contains("frame 3 has checksum"), "{finding}");
        assert!(
            finding.message.contains("the database file has this frame, so nothing is missing"),
            "{finding}"
        );
    }
    // The commits of the log are shown, but for the one that is in it.
    let shown = || -> Vec<(u64, Option<u64>)> {
        let commits = commits(&log.path).unwrap();
        commits.iter().map(|logged| (logged.commit.frame_no, logged.frames)).collect()
    };
    assert_eq!(shown(), [(6, Some(2)), (7, Some(1)), (8, Some(1)), (9, Some(1)), (11, Some(2))]);
    fs::write(log.segment(3), good).unwrap();
    assert_eq!(shown()[0], (4, Some(2)));
}

#[test]
fn no_truncation_of_any_file_makes_it_panic() {
    let log = Log::new();
    for path in [log.segment(3), log.segment(9), log.dir.join(META_NAME), log.path.clone()] {
        let good = fs::read(&path).unwrap();
        for len in 0..good.len() {
            // Every length near a boundary, and some between.
            if len % 61 == 0 || len % PAGE < 3 || len % FRAME < 3 || len % META_SLOT_SIZE < 80 {
                fs::write(&path, &good[..len]).unwrap();
                let found = inspect(&log.path, Depth::Frames).unwrap();
                let sealed = path == log.segment(3);
                // A sealed segment must be whole; a file that holds nothing at all is one that was never begun, but then
                // the frames that it had are missing.
                assert!(!sealed || !found.findings.is_empty(), "cut to {len}: {:?}", found.notes);
            }
        }
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn damage_in_a_sealed_segment_names_file_and_offset() {
    let log = Log::new();
    let at = SEGMENT_HEAD_SIZE + 2 * FRAME;
    log.change(&log.segment(3), |bytes| bytes[at + 100] ^= 4);
    let (path, offset, message) = log.finding();
    assert_eq!((path, offset), (log.segment(3), Some(at as u64)));
    assert!(message.contains("frame 5 has checksum") && message.contains("sealed"), "{message}");
    // The heads say nothing of it.
    assert_eq!(inspect(&log.path, Depth::Heads).unwrap().findings, []);
}

#[test]
fn a_damaged_index_is_found_at_either_depth() {
    let log = Log::new();
    let at = index_offset((SEGMENT_HEAD_SIZE + 4 * FRAME) as u64);
    log.change(&log.segment(3), |bytes| bytes[at as usize + 9] ^= 4);
    for depth in [Depth::Heads, Depth::Frames] {
        let found = inspect(&log.path, depth).unwrap();
        let [finding] = &found.findings[..] else { panic!("{:?}", found.findings) };
        assert_eq!((&finding.path, finding.offset), (&log.segment(3), Some(at)));
        assert!(finding.message.contains("the index has checksum"), "{finding}");
        assert_eq!(found.segments[0].end_frame_no, 6, "the frames tell what it should say");
    }
    // An index whose checksum is right, and which says something else than the frames.
    let log = Log::new();
    log.change(&log.segment(3), |bytes| {
        let end = at as usize + index_size(4) as usize;
        bytes[end - 5] = 9;
        let header = SegmentHeader::decode(bytes).unwrap();
        let seal = Seal::decode(bytes, &header).unwrap().unwrap();
        let seal = Seal { index_crc: index_crc(&bytes[at as usize..end], header.crc()), ..seal };
        bytes[SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE].copy_from_slice(&seal.encode(&header));
    });
    assert!(log.finding().2.contains("not that of its frames"));
}

#[test]
fn a_torn_tail_is_what_a_crash_leaves() {
    let log = Log::new();
    log.change(&log.segment(9), |bytes| bytes[SEGMENT_HEAD_SIZE + FRAME + 80] ^= 4);
    let found = inspect(&log.path, Depth::Frames).unwrap();
    assert_eq!((found.findings, found.segments[2].end_frame_no), (vec![], 9));
}

#[test]
fn a_missing_segment_is_found_wherever_it_was() {
    let log = Log::new();
    fs::remove_file(log.segment(7)).unwrap();
    let (path, _, message) = log.finding();
    assert_eq!(path, log.segment(9));
    assert!(
        message.contains("starts at frame 9 and does not continue") && message.contains("frame 6"),
        "{message}"
    );
    let log = Log::new();
    fs::remove_file(log.segment(3)).unwrap();
    let (path, _, message) = log.finding();
    assert_eq!(path, log.segment(7));
    assert!(message.contains("the frames up to 4") && message.contains("missing"), "{message}");
}

#[test]
fn a_segment_of_another_log_or_under_another_name_is_found() {
    let log = Log::new();
    let other = Meta { log_id: LogId(uuid::Uuid::from_u128(78)), ..log.meta };
    fs::write(log.segment(7), segment(&other, 7, 0, &[8], 8, true).0).unwrap();
    let (path, offset, message) = log.finding();
    assert_eq!((path, offset), (log.segment(7), Some(0)));
    assert!(
        message.contains("belongs to log") && message.contains(&log.meta.log_id.to_string()),
        "{message}"
    );

    let log = Log::new();
    fs::write(log.segment(7), segment(&log.meta, 7, 0, &[8], 8, true).0).unwrap();
    // One of this log, but after other frames: it continues neither the one before it nor the one behind.
    let found = inspect(&log.path, Depth::Frames).unwrap();
    let paths: Vec<&Path> = found.findings.iter().map(|finding| finding.path.as_path()).collect();
    assert_eq!(paths, [log.segment(7), log.segment(9)]);

    let log = Log::new();
    fs::copy(log.segment(3), log.segment(12)).unwrap();
    let found = inspect(&log.path, Depth::Frames).unwrap();
    assert_eq!(found.findings, []);
    assert!(found.notes.iter().any(|note| note.contains("no frames that are needed")), "{:?}", found.notes);
}

#[test]
fn a_tentative_commit_behind_the_start_of_the_next_segment_is_no_finding() {
    let log = Log::new();
    // Frame 7 was written, not published, and written again at the start of the next segment.
    let (bytes, _) = segment(&log.meta, 3, 0, &[4, 6, 7], 7, false);
    let at = SEGMENT_HEAD_SIZE + 4 * FRAME - FRAME + FRAME_HEADER_SIZE - 4;
    let crc = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    fs::write(log.segment(3), bytes).unwrap();
    let (second, last) = segment(&log.meta, 7, crc, &[7, 8], 8, true);
    fs::write(log.segment(7), second).unwrap();
    fs::write(log.segment(9), segment(&log.meta, 9, last, &[9, 11], 11, false).0).unwrap();
    assert_eq!(inspect(&log.path, Depth::Frames).unwrap().findings, []);
}

#[test]
fn a_base_file_that_something_else_changed_is_found() {
    let log = Log::new();
    log.change(&log.path, |bytes| bytes[27] = 10);
    let (path, _, message) = log.finding();
    assert_eq!(path, log.path);
    assert!(message.contains("frames 5 to 11 are only in the log"), "{message}");
    // With everything in the base file nothing is lost by it.
    for start in [3, 7, 9] {
        fs::remove_file(log.segment(start)).unwrap();
    }
    let found = inspect(&log.path, Depth::Frames).unwrap();
    assert_eq!(found.findings, []);
    assert!(found.notes.iter().any(|note| note.contains("a new log begins")), "{:?}", found.notes);
}

#[test]
fn a_missing_or_foreign_footer_is_found_and_a_torn_one_is_not_while_a_pass_is_under_way() {
    let log = Log::new();
    log.change(&log.path, |bytes| bytes.truncate(2 * PAGE));
    assert!(log.finding().2.contains("its footer is gone"));
    let pass = Meta { sequence: 7, intent_frame_no: 8, ..log.meta };
    log.change(&log.dir.join(META_NAME), |bytes| {
        bytes[META_SLOT_SIZE..].copy_from_slice(&pass.encode());
    });
    assert!(log.finding().2.contains("its footer is gone"));
    // A pass may leave it torn.
    log.change(&log.path, |bytes| bytes.extend_from_slice(&[0; FOOTER_SIZE]));
    assert_eq!(inspect(&log.path, Depth::Frames).unwrap().findings, []);

    let log = Log::new();
    let footer = inspect(&log.path, Depth::Heads).unwrap().footer.unwrap();
    log.change(&log.path, |bytes| {
        bytes[2 * PAGE..].copy_from_slice(&Footer { frame_no: 3, ..footer }.encode())
    });
    let (path, _, message) = log.finding();
    assert_eq!(path, log.path);
    assert!(message.contains("its footer says frame 3") && message.contains("frame 4"), "{message}");

    // A log of the version before has none until its first checkpoint.
    let log = Log::new();
    let first = Meta { sequence: 7, checkpointed_frame_no: 4, has_footer: false, ..log.meta };
    log.change(&log.path, |bytes| bytes.truncate(2 * PAGE));
    log.change(&log.dir.join(META_NAME), |bytes| bytes[META_SLOT_SIZE..].copy_from_slice(&first.encode()));
    assert_eq!(inspect(&log.path, Depth::Frames).unwrap().findings, []);
}

#[test]
fn segments_without_metadata_are_found() {
    let log = Log::new();
    fs::remove_file(log.dir.join(META_NAME)).unwrap();
    assert!(log.finding().2.contains("no metadata"));
}

#[test]
fn an_ordinary_database_and_no_database_are_told_apart() {
    let log = Log::new();
    fs::remove_dir_all(&log.dir).unwrap();
    let found = inspect(&log.path, Depth::Frames).unwrap();
    assert!(found.log_dir.is_none() && found.findings.is_empty());
    assert!(found.notes[0].contains("up to frame 4"), "{:?}", found.notes);
    fs::write(
        &log.path,
        "certainly not a database, however long this text may become in the end: 100 bytes are needed",
    )
    .unwrap();
    assert!(log.finding().2.contains("not the start of an SQLite database"));
}

#[test]
fn the_holder_is_named_and_a_log_of_this_process_is_refused() {
    let log = Log::new();
    let mut lock = fs::File::create(log.dir.join(LOCK_NAME)).unwrap();
    lock.lock().unwrap();
    lock.write_all(b"4711\nshop\n").unwrap();
    let holder = inspect(&log.path, Depth::Heads).unwrap().holder.unwrap();
    assert_eq!(holder.to_string(), "process 4711 (shop)");
    lock.set_len(0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&lock, format!("{}\nme\n", std::process::id()).as_bytes(), 0)
        .unwrap();
    assert!(matches!(inspect(&log.path, Depth::Heads), Err(Error::Usage(_))));
}
