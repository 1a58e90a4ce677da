use std::collections::BTreeMap;

use super::*;
use crate::format::bundle::Commit;
use crate::testing::storage::{Requests, TestStorage, block_on};
use crate::types::PageSize;

const PAGE: usize = 512;
const PAGES: u32 = 40;

fn log_id() -> LogId {
    LogId(uuid::Uuid::from_u128(5))
}

fn image(page_no: u32, frame_no: u64) -> Vec<u8> {
    let mut image = vec![b'.'; PAGE];
    image[..12].copy_from_slice(&[&page_no.to_be_bytes()[..], &frame_no.to_be_bytes()[..]].concat());
    image
}

/// Frame `n` is of page `n * 7 % 40 + 1`; each is a commit, whose time jumps.
fn page_of(frame_no: u64) -> u32 {
    (frame_no * 7 % u64::from(PAGES)) as u32 + 1
}

fn commit(frame_no: u64) -> Commit {
    let commit_us = if frame_no % 10 == 3 { 5 } else { 1000 + frame_no };
    Commit { frame_no, commit_us, db_size_pages: PAGES }
}

async fn write(storage: &Arc<dyn Storage>, content: Content, start: u64, end: u64) -> Head {
    let summary = Summary {
        log_id: log_id(),
        level: Level::ZERO,
        content,
        start_frame_no: start,
        end_frame_no: end,
        db_size_pages: PAGES,
        nonce: end,
    };
    let mut writer = BundleWriter::new(storage, summary, PageSize::new(PAGE as u32).unwrap());
    let mut images: Vec<(u32, u64)> = match content {
        Content::EveryFrame => (start..=end).map(|frame_no| (page_of(frame_no), frame_no)).collect(),
        _ => (1..=PAGES).map(|page_no| (page_no, end)).collect(),
    };
    images.sort_unstable();
    for (page_no, frame_no) in images {
        writer.push_image(page_no, frame_no, &image(page_no, frame_no)).await.unwrap();
    }
    let first = if content == Content::EveryFrame { start } else { end };
    for frame_no in first..=end {
        writer.push_commit(commit(frame_no)).await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    assert_eq!(written.put, Put::Created);
    let head = bundles::list_up_to(&**storage, log_id(), Level::ZERO, start, 1).await.unwrap()[0];
    assert_eq!(head.size, written.trailer.object_size());
    head
}

async fn compact_all(compactor: &mut Compactor) -> Vec<(u8, u64, u64, usize)> {
    let mut jobs = Vec::new();
    for nonce in 1.. {
        let Some(merged) = compactor.step(nonce).await.unwrap() else { break };
        assert_eq!(merged.written.put, Put::Created);
        let MergeJob { level, start_frame_no, end_frame_no, bundle_count } = merged.job;
        jobs.push((level.code(), start_frame_no, end_frame_no, bundle_count));
    }
    jobs
}

async fn check_level(storage: &Arc<dyn Storage>, level: Level) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    for head in bundles::list(&**storage, log_id(), level, 0, 9000).await.unwrap().iter().rev() {
        let bundle = Bundle::open(storage, head).await.unwrap();
        let trailer = *bundle.trailer();
        ranges.push((trailer.start_frame_no, trailer.end_frame_no));
        if trailer.content == Content::FullImage {
            continue;
        }
        let mut commits = bundle.commits();
        for frame_no in trailer.start_frame_no..=trailer.end_frame_no {
            assert_eq!(commits.next().await.unwrap(), Some(commit(frame_no)));
        }
        assert_eq!(commits.next().await.unwrap(), None);
        let mut newest = BTreeMap::new();
        for frame_no in trailer.start_frame_no..=trailer.end_frame_no {
            newest.insert(page_of(frame_no), frame_no);
        }
        let mut merge = Merge::new(vec![bundle], &MergeOptions::default()).await.unwrap();
        let mut found = BTreeMap::new();
        while let Some(run) = merge.next_run().await.unwrap() {
            for (page_no, frame_no, bytes) in run.iter() {
                assert_eq!(bytes, image(page_no, frame_no));
                found.insert(page_no, frame_no);
            }
        }
        assert_eq!(found, newest, "level {level} at {}", head.frame_no);
    }
    ranges
}

fn storage() -> (Arc<TestStorage>, Arc<dyn Storage>) {
    let test = TestStorage::new();
    (Arc::clone(&test), test)
}

#[test]
fn levels_grow_and_keep_every_page_and_every_commit() {
    block_on(async {
        let (_, storage) = storage();
        write(&storage, Content::FullImage, 0, 10).await;
        let mut compactor = Compactor::new(&storage, log_id());
        let mut jobs = Vec::new();
        let mut frame_no = 11;
        // Enough for one bundle of level 2, some of level 1, and a rest.
        for at in 0..32 * 32 + 70 {
            let head = write(&storage, Content::EveryFrame, frame_no, frame_no + at % 3).await;
            let bundle = Bundle::open(&storage, &head).await.unwrap();
            compactor.note(head, bundle.trailer());
            frame_no += at % 3 + 1;
            if at % 100 == 0 {
                jobs.extend(compact_all(&mut compactor).await);
            }
        }
        jobs.extend(compact_all(&mut compactor).await);
        assert_eq!(jobs.iter().filter(|job| job.0 == 1).count(), 34);
        assert_eq!(jobs.iter().filter(|job| job.0 == 2).count(), 1);
        assert!(jobs.iter().all(|job| job.3 == MERGE_COUNT));
        for level in Level::merged() {
            let ranges = check_level(&storage, level).await;
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "level {level}: {ranges:?}");
            if !ranges.is_empty() {
                assert_eq!(ranges[0].0, if level == Level::ZERO { 0 } else { 11 });
            }
        }
        // Somebody who starts from a listing finds nothing left to do.
        assert_eq!(Compactor::new(&storage, log_id()).step(1).await.unwrap().map(|merged| merged.job), None);
    });
}

#[test]
fn nothing_is_merged_across_a_full_image_and_what_is_before_it_is_merged() {
    block_on(async {
        let (_, storage) = storage();
        for start in 1..=5 {
            write(&storage, Content::EveryFrame, start, start).await;
        }
        write(&storage, Content::FullImage, 6, 20).await;
        for start in 21..=60 {
            write(&storage, Content::EveryFrame, start, start).await;
        }
        let mut compactor = Compactor::new(&storage, log_id());
        // At level 1 the image is a gap; nothing of level 2 is due before there is more behind it.
        assert_eq!(compact_all(&mut compactor).await, [(1, 1, 5, 5), (1, 21, 52, 32), (2, 1, 5, 1)]);
        assert_eq!(compact_all(&mut Compactor::new(&storage, log_id())).await, []);
        assert_eq!(check_level(&storage, Level::ZERO.above().unwrap()).await, [(1, 5), (21, 52)]);
    });
}

#[test]
fn a_missing_bundle_in_the_middle_is_no_part_of_a_merge() {
    block_on(async {
        let (_, storage) = storage();
        for start in (1..=10).chain(12..=50) {
            write(&storage, Content::EveryFrame, start, start).await;
        }
        let mut compactor = Compactor::new(&storage, log_id());
        let jobs = compact_all(&mut compactor).await;
        assert_eq!(jobs[..2], [(1, 1, 10, 10), (1, 12, 43, 32)]);
    });
}

#[test]
fn of_two_compactors_one_gives_way() {
    block_on(async {
        let (test, storage) = storage();
        for start in 1..=70 {
            write(&storage, Content::EveryFrame, start, start).await;
        }
        let (mut one, mut other) = (Compactor::new(&storage, log_id()), Compactor::new(&storage, log_id()));
        one.due().await.unwrap();
        other.due().await.unwrap();
        assert_eq!(one.step(1).await.unwrap().unwrap().written.put, Put::Created);
        let keys = test.keys();
        assert_eq!(other.step(2).await.unwrap().unwrap().written.put, Put::Taken);
        assert_eq!(test.keys(), keys);
        // It has seen what the first one made, and goes on behind it.
        let next = other.step(3).await.unwrap().unwrap();
        assert_eq!((next.job.start_frame_no, next.written.put), (33, Put::Created));
        // The first one is behind now; and what it would merge is gone.
        for head in bundles::list(&*storage, log_id(), Level::ZERO, 0, 1000).await.unwrap() {
            if head.frame_no <= 64 {
                bundles::delete_bundle(&storage, &head).await.unwrap();
            }
        }
        assert_eq!(one.step(4).await.unwrap().map(|merged| merged.job), None);
    });
}

#[test]
fn few_bundles_cost_few_requests() {
    block_on(async {
        let (test, storage) = storage();
        for start in 1..=20 {
            write(&storage, Content::EveryFrame, start, start).await;
        }
        test.requests();
        let mut compactor = Compactor::new(&storage, log_id());
        for _ in 0..10 {
            assert_eq!(compactor.due().await.unwrap(), None);
        }
        assert_eq!(test.requests(), Requests { lists: 4, gets: 1, ..Requests::default() });
    });
}

#[test]
fn what_is_told_of_after_it_was_merged_is_not_merged_again() {
    block_on(async {
        let storage: Arc<dyn Storage> = Arc::new(TestStorage::default());
        let mut heads = Vec::new();
        for n in 0..32u64 {
            heads.push(write(&storage, Content::EveryFrame, 3 * n + 1, 3 * n + 3).await);
        }
        let mut compactor = Compactor::new(&storage, log_id());
        // Listed, and merged; then the shipper says that it has written the last one, and goes on.
        assert_eq!(compact_all(&mut compactor).await, [(1, 1, 96, 32)]);
        for n in 32..63u64 {
            heads.push(write(&storage, Content::EveryFrame, 3 * n + 1, 3 * n + 3).await);
        }
        for head in &heads[31..] {
            let bundle = Bundle::open(&storage, head).await.unwrap();
            compactor.note(*head, bundle.trailer());
        }
        assert_eq!(compact_all(&mut compactor).await, [], "31 bundles are behind the merge");
    });
}
