//! A small log made by hand from the format alone.

use std::fs;

use super::*;

/// A database of two pages, checkpointed up to frame 4, and a log of three segments: 3 to 6 and 7 to 8, sealed, and 9 to
/// 11 with one more frame that is not committed.
pub(super) struct Log {
    _temporary: tempfile::TempDir,
    pub(super) path: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) meta: Meta,
}

pub(super) fn segment(
    meta: &Meta,
    start: u64,
    previous_crc: u32,
    commits: &[u64],
    end: u64,
    sealed: bool,
) -> (Vec<u8>, u32) {
    let header = SegmentHeader {
        log_id: meta.log_id,
        page_size: meta.page_size,
        start_frame_no: start,
        created_us: 1,
        salt: start * 7,
        previous_crc,
    };
    let mut bytes = header.encode_head();
    let mut chain = header.crc();
    let mut last_committed = chain;
    let mut marks = Vec::new();
    for frame_no in start..=end {
        let mut frame = vec![frame_no as u8; FRAME];
        frame[..4].copy_from_slice(&1u32.to_be_bytes());
        let commit = commits.contains(&frame_no);
        let db_size_pages = if commit { 2 } else { 0 };
        frame[4..8].copy_from_slice(&u32::to_be_bytes(db_size_pages));
        marks.push(FrameMark { page_no: 1, db_size_pages });
        let stamp = FrameStamp {
            frame_no,
            commit_us: u64::from(commit),
            synced_frame_no: start - 1,
            previous_crc: chain,
            seed: header.crc(),
        };
        chain = stamp.apply(&mut frame);
        if commit {
            last_committed = chain;
        }
        bytes.extend_from_slice(&frame);
    }
    if sealed {
        let index = encode_index(&marks);
        let seal = Seal {
            end_frame_no: end,
            sealed_us: 2,
            last_crc: chain,
            index_crc: index_crc(&index, header.crc()),
        };
        bytes.resize(index_offset(bytes.len() as u64) as usize, 0);
        bytes.extend_from_slice(&index);
        bytes[SEAL_OFFSET..SEAL_OFFSET + seal.encode(&header).len()].copy_from_slice(&seal.encode(&header));
    } else {
        // What a preallocated file has after its frames.
        bytes.extend_from_slice(&[0; 3 * FRAME]);
    }
    (bytes, last_committed)
}

impl Log {
    pub(super) fn new() -> Log {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("app.db");
        let dir = temporary.path().join("app.db-wal");
        fs::create_dir(&dir).unwrap();
        let meta = Meta {
            sequence: 6,
            log_id: LogId(uuid::Uuid::from_u128(77)),
            page_size: PageSize::new(PAGE as u32).unwrap(),
            checkpointed_frame_no: 4,
            intent_frame_no: 4,
            db_size_pages: 2,
            change_counter: 9,
            version_valid_for: 9,
            has_footer: true,
            commit_us: 0,
            parent: None,
            stored: Default::default(),
            places: Default::default(),
        };
        let mut base = vec![0; 2 * PAGE];
        base[..16].copy_from_slice(b"SQLite format 3\0");
        base[16..20].copy_from_slice(&[2, 0, 2, 2]);
        base[24..28].copy_from_slice(&9u32.to_be_bytes());
        base[28..32].copy_from_slice(&2u32.to_be_bytes());
        base[92..96].copy_from_slice(&9u32.to_be_bytes());
        let footer = Footer {
            frame_no: 4,
            log_id: meta.log_id,
            page_size: meta.page_size,
            db_size_pages: 2,
            change_counter: 9,
            version_valid_for: 9,
            commit_us: 0,
            parent: None,
        };
        base.extend_from_slice(&footer.encode());
        fs::write(&path, base).unwrap();
        let mut slots = vec![0; 2 * META_SLOT_SIZE];
        for meta in [Meta { sequence: 5, ..meta }, meta] {
            let at = meta.slot_offset() as usize;
            slots[at..at + META_SLOT_SIZE].copy_from_slice(&meta.encode());
        }
        fs::write(dir.join(META_NAME), slots).unwrap();
        let mut crc = 0;
        for (start, commits, end, sealed) in
            [(3, [4, 6], 6, true), (7, [7, 8], 8, true), (9, [9, 11], 12, false)]
        {
            let (bytes, last) = segment(&meta, start, crc, &commits, end, sealed);
            fs::write(dir.join(segment_name(start)), bytes).unwrap();
            crc = last;
        }
        Log { _temporary: temporary, path, dir, meta }
    }

    pub(super) fn segment(&self, start: u64) -> PathBuf {
        self.dir.join(segment_name(start))
    }

    pub(super) fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// The only finding: its file, its offset and its words.
    pub(super) fn finding(&self) -> (PathBuf, Option<u64>, String) {
        let found = inspect(&self.path, Depth::Frames).unwrap();
        assert_eq!(found.findings.len(), 1, "{:?} {:?}", found.findings, found.notes);
        let finding = &found.findings[0];
        (finding.path.clone(), finding.offset, finding.message.clone())
    }
}
