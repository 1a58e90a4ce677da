use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::bundle::{Commit, Content, Summary};
use crate::storage::Storage;
use crate::storage::bundles::{BundleWriter, list};
use crate::testing::storage::{TestStorage, block_on, noise};
use crate::types::{Level, LogId};

const PAGE: usize = 512;

fn page_size() -> PageSize {
    PageSize::new(PAGE as u32).unwrap()
}

fn log_id() -> LogId {
    LogId(uuid::Uuid::from_u128(5))
}

fn image(page_no: u32, frame_no: u64) -> Vec<u8> {
    let mut image = noise(u64::from(page_no) << 32 | frame_no, PAGE / 2);
    image.resize(PAGE, b'x');
    image
}

/// Write the frames `start..` (their pages) as one bundle.
async fn write(
    storage: &Arc<dyn Storage>,
    level: Level,
    content: Content,
    start: u64,
    images: &BTreeMap<(u32, u64), ()>,
    end: u64,
    target: usize,
) {
    let summary = Summary {
        log_id: log_id(),
        level,
        content,
        start_frame_no: start,
        end_frame_no: end,
        db_size_pages: 1000,
        nonce: start ^ end << 20,
    };
    let mut writer = BundleWriter::new(storage, summary, page_size()).object_len_target(target);
    for &(page_no, frame_no) in images.keys() {
        writer.push_image(page_no, frame_no, &image(page_no, frame_no)).await.unwrap();
    }
    writer.push_commit(Commit { frame_no: end, commit_us: end, db_size_pages: 1000 }).await.unwrap();
    writer.finish().await.unwrap();
}

async fn bundles(storage: &Arc<dyn Storage>) -> Vec<Bundle> {
    let mut bundles = Vec::new();
    for level in Level::merged().chain([Level::SNAPSHOT]) {
        for head in list(&**storage, log_id(), level, 0, 1000).await.unwrap() {
            bundles.push(Bundle::open(storage, &head).await.unwrap());
        }
    }
    bundles
}

type Pages = Vec<(u32, u64, Vec<u8>)>;

async fn merged(bundles: Vec<Bundle>, options: &MergeOptions) -> Result<Pages> {
    let mut merge = Merge::new(bundles, options).await?;
    let mut pages = Pages::new();
    while let Some(run) = merge.next_run().await? {
        assert!(!run.pages.is_empty() && run.images.len() == run.pages.len() * PAGE);
        let pieces: Vec<u8> = run.contiguous().flat_map(|(_, images)| images.to_vec()).collect();
        assert_eq!(pieces, run.images);
        for (page_no, images) in run.contiguous() {
            for (page_no, image) in (page_no..).zip(images.chunks(PAGE)) {
                assert!(run.iter().any(|(page, _, other)| page == page_no && other == image));
            }
        }
        pages.extend(run.iter().map(|(page_no, frame_no, image)| (page_no, frame_no, image.to_vec())));
    }
    Ok(pages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_merge_is_the_newest_image_of_each_page(
        frames in prop::collection::vec(1u32..300, 10..1500),
        cuts in prop::collection::btree_set(1usize..1500, 0..12),
        covered in 0usize..12,
        up_to in 0u64..1600,
        first_page_no in prop_oneof![Just(1u32), 1u32..300],
        last_page_no in prop_oneof![Just(u32::MAX), 1u32..300],
        target in prop_oneof![Just(1usize << 20), Just(40_000), Just(5_000)],
        budget in prop_oneof![Just(0usize), Just(100_000), Just(16 << 20)],
    ) {
        block_on(async {
            let storage: Arc<dyn Storage> = TestStorage::new();
            let numbered: Vec<(u32, u64)> = frames.iter().copied().zip(1u64..).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < frames.len()).collect();
            cuts.push(frames.len());
            let mut start = 0;
            for (at, &cut) in cuts.iter().enumerate() {
                let images = numbered[start..cut].iter().map(|&image| (image, ())).collect();
                write(&storage, Level::ZERO, Content::EveryFrame, start as u64 + 1, &images, cut as u64, target).await;
                // Some ranges are covered again, by a bundle of last images from the beginning.
                if at == covered && cut as u64 <= up_to {
                    let last: BTreeMap<u32, u64> = numbered[..cut].iter().copied().collect();
                    let images = last.into_iter().map(|image| (image, ())).collect();
                    let level = Level::ZERO.above().unwrap();
                    write(&storage, level, Content::LastImages, 1, &images, cut as u64, target).await;
                }
                start = cut;
            }
            let options = MergeOptions { up_to_frame_no: up_to, first_page_no, last_page_no, budget };
            let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
            for &(page_no, frame_no) in &numbered {
                if frame_no <= up_to && (first_page_no..=last_page_no).contains(&page_no) {
                    expected.insert(page_no, frame_no);
                }
            }
            let expected: Pages =
                expected.into_iter().map(|(page, frame)| (page, frame, image(page, frame))).collect();
            assert!(merged(bundles(&storage).await, &options).await.unwrap() == expected);
        });
    }
}

#[test]
fn a_full_image_and_what_follows_it() {
    block_on(async {
        let storage: Arc<dyn Storage> = TestStorage::new();
        let full = (1..=5000).map(|page_no| ((page_no, 10), ())).collect();
        write(&storage, Level::SNAPSHOT, Content::FullImage, 0, &full, 10, 200_000).await;
        let changes = [(3, 11), (3, 12), (4999, 13), (5001, 14)].map(|image| (image, ())).into();
        write(&storage, Level::ZERO, Content::EveryFrame, 11, &changes, 14, 200_000).await;
        let pages = merged(bundles(&storage).await, &MergeOptions::default()).await.unwrap();
        let expected = |page_no| match page_no {
            3 => 12,
            4999 => 13,
            5001 => 14,
            _ => 10,
        };
        assert_eq!(pages.len(), 5001);
        for (page_no, (page, frame_no, bytes)) in (1..).zip(pages) {
            assert_eq!((page, frame_no), (page_no, expected(page_no)));
            assert!(bytes == image(page_no, frame_no));
        }
    });
}

#[test]
fn a_part_that_is_gone_or_damaged_is_an_error_and_never_a_page() {
    block_on(async {
        let test = TestStorage::new();
        let storage: Arc<dyn Storage> = Arc::clone(&test) as _;
        let full = (1..=3000).map(|page_no| ((page_no, 10), ())).collect();
        write(&storage, Level::SNAPSHOT, Content::FullImage, 0, &full, 10, 100_000).await;
        let parts: Vec<String> = test.keys().into_iter().filter(|key| key.ends_with(".part")).collect();
        assert!(parts.len() > 5);
        for part in &parts {
            let whole = test.object(part).unwrap();
            for at in (0..whole.len()).step_by(whole.len() / 40) {
                let mut bad = whole.to_vec();
                bad[at] ^= 0x10;
                test.plant(part, bad);
                let error = merged(bundles(&storage).await, &MergeOptions::default()).await;
                // The front of an object is read only with small ones.
                if at >= 16 {
                    assert!(matches!(error, Err(Error::DamagedObject { .. })), "byte {at} of {part}");
                }
            }
            test.plant(part, whole.clone());
        }
        storage.delete(&parts[2..3]).await.unwrap();
        let error = merged(bundles(&storage).await, &MergeOptions::default()).await;
        assert!(matches!(error, Err(Error::Storage { .. })));
    });
}

#[test]
fn page_sizes_do_not_mix() {
    block_on(async {
        let storage: Arc<dyn Storage> = TestStorage::new();
        write(&storage, Level::ZERO, Content::EveryFrame, 1, &[((1, 1), ())].into(), 1, 1000).await;
        let summary = Summary {
            log_id: log_id(),
            level: Level::ZERO,
            content: Content::EveryFrame,
            start_frame_no: 2,
            end_frame_no: 2,
            db_size_pages: 1,
            nonce: 1,
        };
        let mut writer = BundleWriter::new(&storage, summary, PageSize::new(1024).unwrap());
        writer.push_image(1, 2, &[1; 1024]).await.unwrap();
        writer.finish().await.unwrap();
        let error = merged(bundles(&storage).await, &MergeOptions::default()).await.unwrap_err();
        assert!(matches!(error, Error::DamagedObject { .. }), "{error}");
        assert!(matches!(merged(Vec::new(), &MergeOptions::default()).await, Err(Error::Usage(_))));
    });
}
