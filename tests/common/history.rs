//! A history of a real SQLite database, commit by commit, and bundles made of it: what a restore must bring back is known
//! to the byte.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use vwal::format::bundle::{Commit, Content, Summary};
use vwal::storage::bundles::{BundleWriter, Written};
use vwal::storage::{Put, Storage};
use vwal::{Level, LogId, PageSize};

use crate::random::Random;

/// One commit.
pub struct State {
    pub commit: Commit,
    /// The database file, byte for byte.
    pub image: Vec<u8>,
    /// Pages that it wrote, and their frames.
    pub frames: Vec<(u32, u64)>,
}

/// See the module.
pub struct History {
    pub log_id: LogId,
    pub page_size: PageSize,
    pub states: Vec<State>,
}

impl History {
    /// `count` commits of all kinds, by a clock that jumps. The first state has `base` frames before it.
    pub fn new(seed: u64, count: usize, base: u64) -> History {
        let mut random = Random::new(seed);
        let page_size = PageSize::new(*random.pick(&[512, 1024, 4096])).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("truth.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            &format!(
                "PRAGMA page_size={}; PRAGMA auto_vacuum={}; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;
             CREATE TABLE t(id INTEGER PRIMARY KEY, body); CREATE INDEX i ON t(body);
             INSERT INTO t(body) SELECT hex(randomblob(40)) FROM generate_series_of_ten;",
                page_size.get(),
                random.below(2)
            )
            .replace(
                "generate_series_of_ten",
                "(WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<60) SELECT i FROM n)",
            ),
        )
        .unwrap();
        let log_id = LogId(uuid::Uuid::from_u128(u128::from(seed) << 8 | 1));
        let mut history = History { log_id, page_size, states: Vec::new() };
        let mut clock_us = 1_700_000_000_000_000;
        let mut frame_no = base;
        history.record(&db, &path, &mut frame_no, clock_us);
        while history.states.len() < count {
            let sql = match random.below(12) {
                0 => "DELETE FROM t WHERE id % 3 = 1".to_owned(),
                1 => "VACUUM".to_owned(),
                2 => "DELETE FROM t".to_owned(),
                3..=5 => "UPDATE t SET body = hex(randomblob(60)) WHERE id % 7 = 2".to_owned(),
                _ => format!(
                    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<{})
                     INSERT INTO t(body) SELECT hex(randomblob({})) FROM n",
                    1 + random.below(60),
                    1 + random.below(200)
                ),
            };
            db.execute_batch(&sql).unwrap();
            clock_us += random.below(1_000_000);
            if random.below(8) == 0 {
                clock_us -= random.below(20_000_000);
            }
            history.record(&db, &path, &mut frame_no, clock_us);
        }
        history
    }

    fn record(&mut self, db: &Connection, path: &Path, frame_no: &mut u64, commit_us: u64) {
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let image = fs::read(path).unwrap();
        let size = self.page_size.bytes();
        let before: &[u8] = self.states.last().map_or(&[], |state| &state.image);
        let is_new = |page: usize| image.chunks(size).nth(page) != before.chunks(size).nth(page);
        let changed: Vec<u32> =
            (0..image.len() / size).filter(|&page| is_new(page)).map(|page| page as u32 + 1).collect();
        if changed.is_empty() {
            return;
        }
        let frames = changed
            .into_iter()
            .map(|page_no| {
                *frame_no += 1;
                (page_no, *frame_no)
            })
            .collect();
        let db_size_pages = (image.len() / size) as u32;
        let commit = Commit { frame_no: *frame_no, commit_us, db_size_pages };
        self.states.push(State { commit, image, frames });
    }

    pub fn page(&self, at: usize, page_no: u32) -> &[u8] {
        let size = self.page_size.bytes();
        &self.states[at].image[(page_no as usize - 1) * size..page_no as usize * size]
    }

    /// The last state at or before a time: the one with the highest frame.
    pub fn at_time(&self, time_us: u64) -> Option<&State> {
        self.states.iter().rev().find(|state| state.commit.commit_us <= time_us)
    }

    /// The first frame of commit `at`.
    pub fn start(&self, at: usize) -> u64 {
        if at == 0 { 0 } else { self.states[at - 1].commit.frame_no + 1 }
    }

    /// Write a bundle of the commits `from..=to`. A full image is one of `to`; a snapshot begins at 0.
    pub async fn put(
        &self,
        storage: &Arc<dyn Storage>,
        level: Level,
        content: Content,
        from: usize,
        to: usize,
        object_len: usize,
    ) -> Written {
        let end = self.states[to].commit;
        let start_frame_no = if level == Level::SNAPSHOT { 0 } else { self.start(from) };
        let summary = Summary {
            log_id: self.log_id,
            level,
            content,
            start_frame_no,
            end_frame_no: end.frame_no,
            db_size_pages: end.db_size_pages,
            nonce: 0x1234_5678 ^ start_frame_no << 20 ^ end.frame_no << 8 ^ u64::from(level.code()),
        };
        let mut writer = BundleWriter::new(storage, summary, self.page_size).object_len_target(object_len);
        let mut images: Vec<(u32, u64, usize)> = match content {
            Content::FullImage => {
                (1..=end.db_size_pages).map(|page_no| (page_no, end.frame_no, to)).collect()
            }
            _ => (from..=to)
                .flat_map(|at| self.states[at].frames.iter().map(move |&(page, frame)| (page, frame, at)))
                .collect(),
        };
        images.sort_unstable();
        for (number, &(page_no, frame_no, at)) in images.iter().enumerate() {
            let is_last = images.get(number + 1).is_none_or(|next| next.0 != page_no);
            if content == Content::EveryFrame || (is_last && page_no <= end.db_size_pages) {
                writer.push_image(page_no, frame_no, self.page(at, page_no)).await.unwrap();
            }
        }
        let commits = if content == Content::FullImage { to..=to } else { from..=to };
        for at in commits {
            writer.push_commit(self.states[at].commit).await.unwrap();
        }
        let written = writer.finish().await.unwrap();
        assert_eq!(written.put, Put::Created);
        written
    }

    /// A store as shipping, compaction and snapshots leave it: the base, bundles of one to three commits, merges of `fan`,
    /// snapshots now and then. Returns the commits at which bundles of level 0 end.
    pub async fn ship(
        &self,
        storage: &Arc<dyn Storage>,
        seed: u64,
        fan: usize,
        object_len: usize,
    ) -> Vec<usize> {
        let mut random = Random::new(seed);
        self.put(storage, Level::ZERO, Content::FullImage, 0, 0, object_len).await;
        let mut ranges = Vec::new();
        let mut from = 1;
        while from < self.states.len() {
            let to = (from + random.below(3) as usize).min(self.states.len() - 1);
            self.put(storage, Level::ZERO, Content::EveryFrame, from, to, object_len).await;
            if random.below(9) == 0 {
                self.put(storage, Level::SNAPSHOT, Content::FullImage, 0, to, object_len).await;
            }
            ranges.push((from, to));
            from = to + 1;
        }
        let ends = ranges.iter().map(|&(_, to)| to).collect();
        for number in 1..=3u8 {
            let level = Level::from_code(number).unwrap();
            ranges = ranges.chunks_exact(fan).map(|group| (group[0].0, group[fan - 1].1)).collect();
            for &(from, to) in &ranges {
                self.put(storage, level, Content::LastImages, from, to, object_len).await;
            }
        }
        ends
    }
}

/// Run asynchronous work.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
