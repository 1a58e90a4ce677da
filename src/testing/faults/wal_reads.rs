//! The `-wal` file as `wal.c` reads it: random transactions, and every read that some version of SQLite since 3.34 makes,
//! compared with the bytes that a real file would have.
//!
//! | read | who |
//! |---|---|
//! | the header; its checksum alone | recovery; the renewal of checksums, from frame 1 on |
//! | a page | readers, checkpoints |
//! | a whole frame | recovery; the renewal of checksums |
//! | the checksum of a frame | the renewal; before 3.50 also of one that is rolled back |
//!
//! A real file keeps what was written once. Here a read finds the end of the file beyond what the writer has begun, and zeros in a
//! frame that was cut off by a commit: no version of SQLite makes anything of those bytes.

use super::campaign::Campaign;
use super::rig::{Db, FRAME, PAGE, Rig, WAL_HEADER};
use crate::sync::atomic::Ordering;
use crate::testing::io::splitmix;
use crate::wal::LockKind;

/// Offset and length, in a frame.
const READS: [(u64, usize); 5] = [(16, 8), (0, 24), (24, PAGE), (0, FRAME as usize), (24, 100)];

/// What a real file would hold, and what `wal.c` knows about it.
struct Model {
    random: u64,
    db: Db,
    file: Vec<u8>,
    published: u64,
    /// The last frame of the open transaction, as `wal.c` counts; after `ROLLBACK TO` less than what was written.
    last: u64,
    reached: u64,
    /// The transaction has its commit mark.
    committed: bool,
}

impl Model {
    fn below(&mut self, limit: u64) -> u64 {
        splitmix(&mut self.random) % limit
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let byte = self.below(256) as u8;
        (0..len).map(|at| byte.wrapping_add(at as u8)).collect()
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset as usize + bytes.len();
        self.file.resize(self.file.len().max(end), 0);
        self.file[offset as usize..end].copy_from_slice(bytes);
        self.db.writer.write_wal(bytes, offset).unwrap();
    }

    fn restart(&mut self) {
        self.file.clear();
        self.db.index.max_frame.store(0, Ordering::SeqCst);
        (self.published, self.last, self.reached) = (0, 0, 0);
    }

    /// Before frame 1, so it comes again when the transaction was rolled back to its beginning.
    fn write_header(&mut self) {
        let mut header = self.bytes(WAL_HEADER as usize);
        header[8..12].copy_from_slice(&(PAGE as u32).to_be_bytes());
        self.write(0, &header);
    }

    fn append(&mut self, size: u32) {
        if self.last == 0 {
            self.write_header();
        }
        self.last += 1;
        self.reached = self.reached.max(self.last);
        let mut header = self.bytes(24);
        header[..4].copy_from_slice(&(1 + self.below(9) as u32).to_be_bytes());
        header[4..8].copy_from_slice(&size.to_be_bytes());
        let page = self.bytes(PAGE);
        self.write(start(self.last), &header);
        self.write(start(self.last) + 24, &page);
    }

    /// The headers of the last frames are renewed, as at a commit over frames that were overwritten.
    fn renew(&mut self) {
        let from = self.published + 1 + self.below(self.last - self.published);
        for frame in from..=self.last {
            let mut whole = vec![0; FRAME as usize];
            assert_eq!(self.db.writer.read_wal(&mut whole, start(frame)).unwrap(), whole.len());
            let checksums = self.bytes(16);
            whole[8..24].copy_from_slice(&checksums);
            self.write(start(frame), &whole[..24]);
        }
    }

    fn transaction(&mut self, steps: u64) {
        assert!(self.db.writer.lock(0, 1, LockKind::Exclusive));
        if self.below(6) == 0 {
            self.restart();
            self.append(0);
        }
        for _ in 0..1 + self.below(steps) {
            match self.below(12) {
                0 => self.last = self.published + self.below(self.last - self.published + 1),
                1..4 if self.last > self.published => {
                    let frame = self.published + 1 + self.below(self.last - self.published);
                    let page = self.bytes(PAGE);
                    self.write(start(frame) + 24, &page);
                }
                _ => self.append(0),
            }
            self.check_a_read();
        }
        if self.below(4) > 0 {
            self.append(9);
            self.committed = true;
            (0..8).for_each(|_| self.check_a_read());
            if self.below(2) == 0 {
                self.renew();
            }
            (0..8).for_each(|_| self.check_a_read());
            self.published = self.last;
            self.db.index.max_frame.store(self.last as u32, Ordering::SeqCst);
        }
        self.db.writer.unlock(0, 1, LockKind::Exclusive);
        (self.last, self.reached, self.committed) = (self.published, self.published, false);
        (0..8).for_each(|_| self.check_a_read());
    }

    /// A read by the writer, near the end most of the time.
    fn check_a_read(&mut self) {
        let (at, len) = READS[self.below(READS.len() as u64) as usize];
        let near = self.below(6).min(self.reached);
        let frame =
            if self.below(2) == 0 { self.reached + 2 - near } else { 1 + self.below(self.reached + 2) };
        let offset = if self.below(20) == 0 && self.published > 0 { 24 } else { start(frame) + at };
        let mut found = vec![0xee; len];
        let got = self.db.writer.read_wal(&mut found[..if offset == 24 { 8 } else { len }], offset).unwrap();
        if offset == 24 {
            assert_eq!((got, &found[..8]), (8, &self.file[24..32]), "the checksum of the header");
        } else if frame > self.reached {
            assert_eq!(got, 0, "frame {frame} is beyond the end");
        } else {
            assert_eq!(got, len, "frame {frame} of {}, cut at {}", self.reached, self.last);
            if !self.committed || frame <= self.last {
                assert_eq!(found, self.file[offset as usize..offset as usize + len], "frame {frame}");
            }
        }
    }
}

fn start(frame: u64) -> u64 {
    WAL_HEADER + (frame - 1) * FRAME
}

#[test]
fn the_wal_file_reads_like_a_real_one() {
    Campaign::new("differential", "reads of the -wal file", 200, 2_000).run(2, |seed| {
        let db = Rig::new().open().unwrap();
        let mut model =
            Model { random: seed, db, file: vec![], published: 0, last: 0, reached: 0, committed: false };
        for at in 0..12 {
            // One is larger than what the tail keeps in memory.
            model.transaction(if at == 7 { 4_000 } else { 40 });
        }
        12
    });
}
