use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::format::bundle::{Commit, Content, Summary};
use crate::storage::{Put, Storage};
use crate::testing::storage::{Requests, TestStorage, block_on, noise};
use crate::types::{Level, LogId, PageSize};

const PAGE: usize = 512;

fn page_size() -> PageSize {
    PageSize::new(PAGE as u32).unwrap()
}

fn log_id() -> LogId {
    LogId(uuid::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001))
}

/// An image that LZ4 cannot make much smaller.
fn image(page_no: u32, frame_no: u64) -> Vec<u8> {
    noise(u64::from(page_no) << 32 | frame_no, PAGE)
}

fn summary(level: Level, content: Content, start: u64, end: u64) -> Summary {
    Summary {
        log_id: log_id(),
        level,
        content,
        start_frame_no: start,
        end_frame_no: end,
        db_size_pages: 1000,
        nonce: start << 32 | end,
    }
}

fn commit(frame_no: u64, commit_us: u64) -> Commit {
    Commit { frame_no, commit_us, db_size_pages: 1000 }
}

/// A bundle of every frame in which frame `n` is of page `n % 1000 + 1`, and each is a commit at 10 µs times its number.
async fn write_frames(storage: &Arc<dyn Storage>, start: u64, end: u64, target: usize) -> Written {
    let mut images: Vec<(u32, u64)> = (start..=end).map(|frame| (frame as u32 % 1000 + 1, frame)).collect();
    images.sort_unstable();
    let summary = summary(Level::ZERO, Content::EveryFrame, start, end);
    let mut writer = BundleWriter::new(storage, summary, page_size()).object_len_target(target);
    for (page_no, frame_no) in images {
        writer.push_image(page_no, frame_no, &image(page_no, frame_no)).await.unwrap();
    }
    for frame_no in start..=end {
        writer.push_commit(commit(frame_no, frame_no * 10)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

/// A bundle of commits alone.
async fn write_commits(storage: &Arc<dyn Storage>, level: Level, content: Content, commits: &[(u64, u64)]) {
    let (start, end) = (commits[0].0, commits[commits.len() - 1].0);
    let start = if content == Content::FullImage { 0 } else { start };
    let mut writer = BundleWriter::new(storage, summary(level, content, start, end), page_size());
    let known = if content == Content::FullImage { &commits[commits.len() - 1..] } else { commits };
    for &(frame_no, commit_us) in known {
        writer.push_commit(commit(frame_no, commit_us)).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap().put, Put::Created);
}

async fn terminate(storage: &Arc<dyn Storage>, end: u64, successor: LogId) {
    let content = Content::Terminator { successor };
    let summary = summary(Level::ZERO, content, end + 1, end);
    assert_eq!(BundleWriter::new(storage, summary, page_size()).finish().await.unwrap().put, Put::Created);
}

fn storage() -> (Arc<TestStorage>, Arc<dyn Storage>) {
    let test = TestStorage::new();
    (Arc::clone(&test), test)
}

async fn only_head(storage: &Arc<dyn Storage>) -> Head {
    let heads = list(&**storage, log_id(), Level::ZERO, 0, 10).await.unwrap();
    assert_eq!(heads.len(), 1);
    heads[0]
}

async fn all_commits(bundle: &Bundle) -> Vec<Commit> {
    let mut cursor = bundle.commits();
    let mut commits = Vec::new();
    while let Some(commit) = cursor.next().await.unwrap() {
        commits.push(commit);
    }
    commits
}

#[test]
fn a_small_bundle_is_one_put_and_reading_it_is_one_get() {
    block_on(async {
        let (test, storage) = storage();
        let written = write_frames(&storage, 1, 50, OBJECT_LEN_TARGET).await;
        assert_eq!((written.put, written.object_count), (Put::Created, 1));
        assert_eq!(test.requests(), Requests { puts: 1, ..Requests::default() });

        let bundle = Bundle::open(&storage, &only_head(&storage).await).await.unwrap();
        assert_eq!(bundle.trailer(), &written.trailer);
        assert_eq!(bundle.stored_len(), written.stored_len);
        assert_eq!(bundle.fetch_page(7, 50).await.unwrap(), Some((6, image(7, 6))));
        assert_eq!(bundle.fetch_page(7, 5).await.unwrap(), None);
        assert_eq!(bundle.fetch_page(700, 50).await.unwrap(), None);
        let expected: Vec<Commit> = (1..=50).map(|frame| commit(frame, frame * 10)).collect();
        assert_eq!(all_commits(&bundle).await, expected);
        assert_eq!(test.requests(), Requests { gets: 1, lists: 1, ..Requests::default() });
    });
}

#[test]
fn a_large_bundle_has_parts_and_reads_the_same() {
    block_on(async {
        let (test, storage) = storage();
        // Frames of the same page meet block and part boundaries.
        let written = write_frames(&storage, 1, 5000, 100_000).await;
        assert!(written.object_count > 20, "{written:?}");
        assert_eq!(test.keys().len(), written.object_count as usize);
        assert_eq!(written.trailer.image_count, 5000);
        assert_eq!(written.trailer.commit_count, 5000);
        assert_eq!((written.trailer.min_commit_us, written.trailer.max_commit_us), (10, 50_000));
        assert_eq!(written.trailer.last_commit_us, 50_000);

        let bundle = Bundle::open(&storage, &only_head(&storage).await).await.unwrap();
        assert_eq!(bundle.stored_len(), written.stored_len);
        for page_no in [1u32, 2, 400, 401, 999, 1000] {
            for up_to in [1, 999, 1000, 2500, 4999, 5000] {
                let newest = (1..=up_to).rev().find(|frame| (frame % 1000) as u32 + 1 == page_no);
                let expected = newest.map(|frame| (frame, image(page_no, frame)));
                assert_eq!(bundle.fetch_page(page_no, up_to).await.unwrap(), expected, "{page_no} {up_to}");
            }
        }
        let expected: Vec<Commit> = (1..=5000).map(|frame| commit(frame, frame * 10)).collect();
        assert_eq!(all_commits(&bundle).await, expected);
        for frame_no in [1, 2, 2500, 5000] {
            assert_eq!(bundle.commit_at(frame_no).await.unwrap(), Some(commit(frame_no, frame_no * 10)));
        }
        assert_eq!(bundle.commit_at(5001).await.unwrap(), None);

        delete_bundle(&storage, bundle.head()).await.unwrap();
        assert_eq!(test.keys(), Vec::<String>::new());
        delete_bundle(&storage, bundle.head()).await.unwrap();
    });
}

#[test]
fn commits_alone_can_make_parts() {
    block_on(async {
        let (_, storage) = storage();
        let summary = summary(Level::ZERO, Content::EveryFrame, 1, 20_000);
        let mut writer = BundleWriter::new(&storage, summary, page_size()).object_len_target(20_000);
        writer.push_image(1, 1, &image(1, 1)).await.unwrap();
        // Times without any pattern take some bytes.
        let commits: Vec<Commit> =
            (1..=20_000u64).map(|n| commit(n, n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 10)).collect();
        for &commit in &commits {
            writer.push_commit(commit).await.unwrap();
        }
        let written = writer.finish().await.unwrap();
        assert!(written.object_count > 3, "{written:?}");
        assert_eq!(written.trailer.last_commit_us, commits[19_999].commit_us);
        let bundle = Bundle::open(&storage, &only_head(&storage).await).await.unwrap();
        assert_eq!(all_commits(&bundle).await, commits);
        assert_eq!(bundle.fetch_page(1, 1).await.unwrap(), Some((1, image(1, 1))));
    });
}

#[test]
fn the_second_writer_is_told_and_leaves_nothing_behind() {
    block_on(async {
        let (test, storage) = storage();
        write_frames(&storage, 1, 3000, 100_000).await;
        let keys = test.keys();
        // Another range from the same start, under a nonce of its own.
        assert_eq!(write_frames(&storage, 1, 3001, 100_000).await.put, Put::Taken);
        assert_eq!(test.keys(), keys);
        // The same again, as after a crash: the very same bytes are there.
        assert_eq!(write_frames(&storage, 1, 3000, 100_000).await.put, Put::Created);
        assert_eq!(test.keys(), keys);
    });
}

#[test]
fn a_writer_goes_on_after_an_error_and_cleans_up_when_it_gives_up() {
    block_on(async {
        let (test, storage) = storage();
        let summary = summary(Level::ZERO, Content::EveryFrame, 1, 3000);
        for gives_up in [false, true] {
            let mut writer = BundleWriter::new(&storage, summary, page_size()).object_len_target(60_000);
            let mut errors = 0;
            for page_no in 1..=3000u32 {
                if page_no % 100 == 0 {
                    test.failing_puts.store(1, Ordering::Relaxed);
                }
                while let Err(error) =
                    writer.push_image(page_no, u64::from(page_no), &image(page_no, 1)).await
                {
                    assert!(matches!(error, Error::Storage { .. }), "{error}");
                    errors += 1;
                }
            }
            assert!(errors > 3, "{errors} errors");
            test.failing_puts.store(0, Ordering::Relaxed);
            if gives_up {
                // Of another nonce, so that the parts of the first round stay.
                writer.abort().await.unwrap();
                continue;
            }
            writer.push_commit(commit(3000, 1)).await.unwrap();
            test.failing_puts.store(1, Ordering::Relaxed);
            assert!(writer.finish().await.is_err());
            assert_eq!(writer.finish().await.unwrap().put, Put::Created);
            let bundle = Bundle::open(&storage, &only_head(&storage).await).await.unwrap();
            for page_no in [1, 1500, 3000] {
                let found = bundle.fetch_page(page_no, 3000).await.unwrap();
                assert_eq!(found, Some((u64::from(page_no), image(page_no, 1))));
            }
            delete_bundle(&storage, bundle.head()).await.unwrap();
        }
        assert_eq!(test.keys(), Vec::<String>::new());
    });
}

#[test]
fn an_object_in_the_place_of_another_is_damage() {
    block_on(async {
        let (test, storage) = storage();
        write_frames(&storage, 1, 2000, 100_000).await;
        write_frames(&storage, 2001, 4000, 100_000).await;
        let keys = test.keys();
        let of = |words: [&str; 2]| -> Vec<String> {
            keys.iter().filter(|key| words.iter().all(|word| key.contains(word))).cloned().collect()
        };
        let heads = of(["/0/", ".bundle"]);
        let parts = of(["/parts/0-7ffffffffffffffe-", ".part"]);
        let others = of(["/parts/0-7ffffffffffff82e-", ".part"]);
        assert!(heads.len() == 2 && parts.len() > 3 && others.len() > 3, "{keys:?}");

        let read_all = async || -> Result<(), Error> {
            for head in list(&*storage, log_id(), Level::ZERO, 0, 10).await? {
                let bundle = Bundle::open(&storage, &head).await?;
                let mut cursor = bundle.commits();
                while cursor.next().await?.is_some() {}
                for page_no in (1..=1000).step_by(17) {
                    let found = bundle.fetch_page(page_no, 4000).await?;
                    assert!(found.is_none_or(|(frame_no, bytes)| bytes == image(page_no, frame_no)));
                }
            }
            Ok(())
        };
        read_all().await.unwrap();
        for (one, other) in [
            (&heads[0], &heads[1]),
            (&heads[0], &parts[0]),
            (&parts[0], &parts[1]),
            (&parts[0], &others[0]),
            (&parts[2], &heads[1]),
        ] {
            let before = test.object(one).unwrap();
            test.plant(one, test.object(other).unwrap());
            let error = read_all().await.expect_err(&format!("{other} in the place of {one}"));
            assert!(
                matches!(&error, Error::DamagedObject { object, .. } if object.ends_with(one.as_str())),
                "{error}"
            );
            for junk in [Vec::new(), vec![0; 100], vec![7; 1000]] {
                test.plant(one, junk);
                assert!(matches!(read_all().await, Err(Error::DamagedObject { .. })), "{one}");
            }
            test.plant(one, before);
        }
        read_all().await.unwrap();
    });
}

#[test]
fn listings_pass_over_what_is_not_ours() {
    block_on(async {
        let (test, storage) = storage();
        assert_eq!(logs(&*storage).await.unwrap(), []);
        for start in (1..500).step_by(10) {
            write_frames(&storage, start, start + 9, OBJECT_LEN_TARGET).await;
        }
        let prefix = format!("{}/0/", log_id());
        for junk in ["", "!", "0123.bundle", "7fffffffffffffff.bundle~", "zzz", "7fffffffffffff00.bundle/x"] {
            test.plant(&format!("{prefix}{junk}"), "junk");
        }
        for junk in ["readme.txt", "not-a-log/0/x", "01920000000070008000000000000001/0/x", "../x/y"] {
            test.plant(junk, "junk");
        }
        assert_eq!(logs(&*storage).await.unwrap(), [log_id()]);
        let starts = async |from, limit| -> Vec<u64> {
            let heads = list(&*storage, log_id(), Level::ZERO, from, limit).await.unwrap();
            heads.iter().map(|head| head.frame_no).collect()
        };
        assert_eq!(starts(475, 100).await, [491, 481, 471]);
        assert_eq!(starts(481, 100).await, [491, 481]);
        assert_eq!(starts(0, 2).await, [491, 481]);
        assert_eq!(starts(0, 1000).await, (0..50).rev().map(|n| n * 10 + 1).collect::<Vec<u64>>());
        let up_to = async |frame_no, limit| -> Vec<u64> {
            let heads = list_up_to(&*storage, log_id(), Level::ZERO, frame_no, limit).await.unwrap();
            heads.iter().map(|head| head.frame_no).collect()
        };
        assert_eq!(up_to(u64::MAX, 2).await, [491, 481]);
        assert_eq!(up_to(480, 2).await, [471, 461]);
        assert_eq!(up_to(481, 1).await, [481]);
        assert_eq!(up_to(0, 1).await, Vec::<u64>::new());
    });
}

#[test]
fn how_far_storage_has_come_takes_a_listing_of_each_level_and_one_read() {
    block_on(async {
        let (test, storage) = storage();
        assert_eq!(durable_frame_no(&storage, log_id()).await.unwrap(), None);
        for start in (1..50).step_by(10) {
            write_frames(&storage, start, start + 9, OBJECT_LEN_TARGET).await;
        }
        test.requests();
        let durable = durable_frame_no(&storage, log_id()).await.unwrap().unwrap();
        assert_eq!((durable.end_frame_no, durable.last_commit_us, durable.terminator), (50, Some(500), None));
        let lists = Level::merged().count() as u64;
        assert_eq!(test.requests(), Requests { lists, gets: 1, ..Requests::default() });

        let successor = LogId(uuid::Uuid::from_u128(9));
        terminate(&storage, 50, successor).await;
        let durable = durable_frame_no(&storage, log_id()).await.unwrap().unwrap();
        assert_eq!((durable.end_frame_no, durable.last_commit_us), (50, Some(500)));
        assert_eq!(durable.terminator, Some(successor));

        test.requests();
        let bundle = find_by_frame(&storage, log_id(), Level::ZERO, 25).await.unwrap().unwrap();
        assert_eq!((bundle.trailer().start_frame_no, bundle.trailer().end_frame_no), (21, 30));
        assert_eq!(test.requests(), Requests { lists: 1, gets: 1, ..Requests::default() });
        assert!(find_by_frame(&storage, log_id(), Level::ZERO, 51).await.unwrap().is_none());
        assert!(find_by_frame(&storage, log_id(), Level::ZERO, 0).await.unwrap().is_none());
        assert_eq!(commit_at(&storage, log_id(), 25).await.unwrap(), Some(commit(25, 250)));
        assert_eq!(commit_at(&storage, log_id(), 51).await.unwrap(), None);
    });
}

/// The bundles of level 0 were merged and deleted, or a stale listing does not show them.
#[test]
fn merged_levels_say_how_far_storage_has_come() {
    block_on(async {
        let (_, storage) = storage();
        let end = async || {
            let durable = durable_frame_no(&storage, log_id()).await.unwrap();
            durable.map(|durable| (durable.end_frame_no, durable.last_commit_us))
        };
        let level = Level::merged().nth(2).unwrap();
        let commits: Vec<(u64, u64)> = (1..=30).map(|frame_no| (frame_no, frame_no * 10)).collect();
        write_commits(&storage, level, Content::LastImages, &commits).await;
        assert_eq!(end().await, Some((30, Some(300))), "nothing is left of level 0");
        write_commits(&storage, Level::ZERO, Content::EveryFrame, &commits[10..20]).await;
        assert_eq!(end().await, Some((30, Some(300))), "an older bundle of level 0 says less");
        write_frames(&storage, 31, 40, OBJECT_LEN_TARGET).await;
        assert_eq!(end().await, Some((40, Some(400))), "a newer one says more");
        let successor = LogId(uuid::Uuid::from_u128(9));
        terminate(&storage, 40, successor).await;
        let durable = durable_frame_no(&storage, log_id()).await.unwrap().unwrap();
        assert_eq!((durable.end_frame_no, durable.terminator), (40, Some(successor)));
    });
}

/// Random histories with clocks that jump, in bundles of all levels, some of which are gone: the commit of a time is what
/// a search through all commits finds.
#[test]
fn the_commit_of_a_time_is_found_whatever_the_clock_did() {
    for seed in 1..150u64 {
        block_on(async {
            let (_, storage) = storage();
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = move |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 20) % below
            };
            let mut clock = 5_000u64;
            let mut frame_no = 0;
            let mut known: BTreeMap<u64, u64> = BTreeMap::new();
            let mut levels: Vec<Vec<Vec<(u64, u64)>>> = vec![Vec::new(); 4];
            for _ in 0..27 {
                // Frames of level 0: contiguous, one commit per frame.
                let commits: Vec<(u64, u64)> = (0..1 + random(5))
                    .map(|_| {
                        clock = if random(6) == 0 { random(10_000) } else { clock + random(50) };
                        frame_no += 1;
                        (frame_no, clock)
                    })
                    .collect();
                levels[0].push(commits);
            }
            for level in 1..4 {
                levels[level] = levels[level - 1].chunks(3).map(<[_]>::concat).collect();
            }
            for (level, bundles) in Level::merged().zip(&levels) {
                let from = random(4) as usize * bundles.len() / 4;
                for (at, commits) in bundles.iter().enumerate() {
                    // The newest ones are at level 0 alone; of the oldest, some levels have nothing any more.
                    let is_there =
                        if level == Level::ZERO { at >= from } else { at >= from && at + 2 < bundles.len() };
                    if is_there {
                        let content =
                            if level == Level::ZERO { Content::EveryFrame } else { Content::LastImages };
                        write_commits(&storage, level, content, commits).await;
                        known.extend(commits.iter().copied());
                    }
                }
            }
            for _ in 0..random(3) {
                let commits = &levels[0][random(27) as usize];
                let snapshots = list(&*storage, log_id(), Level::SNAPSHOT, 0, 100).await.unwrap();
                let end = commits[commits.len() - 1];
                if snapshots.iter().all(|head| head.frame_no != end.0) {
                    write_commits(&storage, Level::SNAPSHOT, Content::FullImage, commits).await;
                    known.insert(end.0, end.1);
                }
            }
            for _ in 0..60 {
                let time_us = random(11_000);
                let expected =
                    known.iter().rev().find(|(_, us)| **us <= time_us).map(|(&f, &us)| commit(f, us));
                let found = find_by_time(&storage, log_id(), time_us).await.unwrap();
                assert_eq!(found, expected, "seed {seed}, time {time_us}");
            }
        });
    }
}
