use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::format::bundle::{Commit, Content, Summary};
use crate::options::Retention;
use crate::ship::compact::Compactor;
use crate::storage::Storage;
use crate::storage::bundles::{self, BundleWriter};
use crate::testing::storage::{TestStorage, block_on};
use crate::types::{Level, LogId, PageSize};

const HOUR: u64 = 3_600_000_000;

fn id(n: u128) -> LogId {
    LogId(uuid::Uuid::from_u128(n))
}

async fn write(
    storage: &Arc<dyn Storage>,
    log_id: LogId,
    level: Level,
    content: Content,
    start: u64,
    end: u64,
    us: u64,
) {
    let summary = Summary {
        log_id,
        level,
        content,
        start_frame_no: start,
        end_frame_no: end,
        db_size_pages: 600,
        nonce: end,
    };
    let mut writer =
        BundleWriter::new(storage, summary, PageSize::new(512).unwrap()).object_len_target(20_000);
    if content == Content::FullImage {
        for page_no in 1..=600u32 {
            let image: Vec<u8> = (0..512u32)
                .map(|n| (n.wrapping_mul(page_no.wrapping_mul(2_654_435_761)) >> 13) as u8)
                .collect();
            writer.push_image(page_no, end, &image).await.unwrap();
        }
    }
    if !matches!(content, Content::Terminator { .. }) {
        writer.push_commit(Commit { frame_no: end, commit_us: us, db_size_pages: 600 }).await.unwrap();
    }
    writer.finish().await.unwrap();
}

/// A base snapshot, and then a bundle and a tick of both clocks per hour.
async fn history(test: &TestStorage, storage: &Arc<dyn Storage>, log_id: LogId, from_hour: u64, hours: u64) {
    test.clock_us.store(from_hour * HOUR, Ordering::Relaxed);
    write(storage, log_id, Level::ZERO, Content::FullImage, 0, 10, from_hour * HOUR).await;
    let mut compactor = Compactor::new(storage, log_id);
    for hour in 1..=hours {
        let us = (from_hour + hour) * HOUR;
        test.clock_us.store(us, Ordering::Relaxed);
        write(storage, log_id, Level::ZERO, Content::EveryFrame, 10 + hour, 10 + hour, us).await;
        while compactor.step(us).await.unwrap().is_some() {}
        compactor.forget();
    }
}

#[test]
fn what_is_planned_goes_with_its_parts_and_orphans_go_too() {
    block_on(async {
        let test = TestStorage::new();
        let storage: Arc<dyn Storage> = Arc::clone(&test) as _;
        history(&test, &storage, id(1), 0, 100).await;
        write(&storage, id(1), Level::SNAPSHOT, Content::FullImage, 0, 110, 100 * HOUR).await;
        let parts = async || bundles::parts(&*storage, id(1)).await.unwrap().len();
        let before = parts().await;
        assert!(before > 10);

        // Days later: everything is old, but for a last bundle, and what crashes left behind.
        test.clock_us.store(300 * HOUR, Ordering::Relaxed);
        write(&storage, id(1), Level::ZERO, Content::EveryFrame, 111, 111, 300 * HOUR).await;
        let base_parts: Vec<String> = bundles::parts(&*storage, id(1))
            .await
            .unwrap()
            .iter()
            .filter(|part| part.level == Level::ZERO)
            .map(|part| part.key.clone())
            .collect();
        let stray = base_parts[0].replace("000a/", "00ff/");
        assert_ne!(stray, base_parts[0]);
        test.clock_us.store(200 * HOUR, Ordering::Relaxed);
        test.plant(&stray, "an old one");
        let fresh = stray.replace("00ff/", "00fe/");
        test.clock_us.store(299 * HOUR, Ordering::Relaxed);
        test.plant(&fresh, "a fresh one");
        test.plant("01920000-0000-7000-8000-000000000001/parts/readme.txt", "not ours");

        let retention: Retention = "0:24h,1:48h,2:7d,3:7d,snapshot:7d/1".parse().unwrap();
        let plans = survey(&storage, &retention).await.unwrap();
        let plan = plans.iter().find(|plan| plan.log_id == id(1)).unwrap();
        assert_eq!(plan.orphans, std::slice::from_ref(&stray));
        assert_eq!(plan.keep_from_frame_no, Some(110));
        let mut heard = Vec::new();
        let count = expire(&storage, plan, |head| heard.push(head.frame_no)).await.unwrap();
        assert!(count > 100 && heard.len() as u64 == count && heard.is_sorted(), "{heard:?}");
        let left = bundles::list(&*storage, id(1), Level::ZERO, 0, 1000).await.unwrap();
        assert_eq!(left.iter().map(|head| head.frame_no).collect::<Vec<u64>>(), [111]);
        assert!(base_parts.iter().all(|key| test.object(key).is_none()));
        assert!(test.object(&stray).is_none() && test.object(&fresh).is_some());
        let again = survey(&storage, &retention).await.unwrap();
        assert!(again.iter().all(|plan| plan.delete.is_empty() && plan.orphans.is_empty()), "{again:?}");
    });
}

#[test]
fn a_survey_opens_about_as_many_bundles_as_go() {
    block_on(async {
        let test = TestStorage::new();
        let storage: Arc<dyn Storage> = Arc::clone(&test) as _;
        history(&test, &storage, id(1), 0, 300).await;
        test.requests();
        let retention: Retention = "0:48h,1:30d,2:30d,3:30d,snapshot:30d/2".parse().unwrap();
        let plans = survey(&storage, &retention).await.unwrap();
        let gone = plans[0].delete.len() as u64;
        assert!(gone > 200, "{gone}");
        let gets = test.requests().gets;
        assert!(gets < gone + 60, "{gets} reads for {gone} bundles");
        expire(&storage, &plans[0], |_| ()).await.unwrap();
        test.requests();
        survey(&storage, &retention).await.unwrap();
        let gets = test.requests().gets;
        assert!(gets < 60, "{gets} reads when nothing is due");
    });
}

#[test]
fn a_replaced_log_goes_and_a_damaged_bundle_stays_and_is_told() {
    block_on(async {
        let test = TestStorage::new();
        let storage: Arc<dyn Storage> = Arc::clone(&test) as _;
        history(&test, &storage, id(1), 0, 40).await;
        let content = Content::Terminator { successor: id(2) };
        write(&storage, id(1), Level::ZERO, content, 51, 50, 0).await;
        history(&test, &storage, id(2), 41, 100).await;
        let keep = |hours: u64| Retention::keep(Duration::from_secs(hours * 3600));
        let plan_of = async |log_id, hours| {
            let plans = survey(&storage, &keep(hours)).await.unwrap();
            plans.into_iter().find(|plan| plan.log_id == log_id).unwrap()
        };
        // The newest commit is of hour 141; the second log began at hour 41.
        assert!(plan_of(id(1), 101).await.delete.iter().all(|expired| expired.reason == Reason::Merged));
        let plan = plan_of(id(1), 99).await;
        assert!(plan.delete.iter().all(|expired| expired.reason == Reason::Replaced));
        expire(&storage, &plan, |_| ()).await.unwrap();
        assert_eq!(bundles::logs(&*storage).await.unwrap(), [id(2)]);

        let heads = bundles::list(&*storage, id(2), Level::ZERO, 0, 1000).await.unwrap();
        let damaged = heads[heads.len() - 5];
        test.clock_us.store(45 * HOUR, Ordering::Relaxed);
        test.plant(&damaged.key(), vec![7; damaged.size as usize]);
        let plan = plan_of(id(2), 10).await;
        assert_eq!(
            plan.unreadable.iter().map(|head| head.frame_no).collect::<Vec<u64>>(),
            [damaged.frame_no]
        );
        assert!(plan.delete.iter().all(|expired| expired.head.frame_no != damaged.frame_no));
    });
}

#[test]
fn what_fences_another_primary_off_stays_for_an_hour_whatever_the_rule() {
    const MINUTE: u64 = HOUR / 60;
    block_on(async {
        let test = TestStorage::new();
        let storage: Arc<dyn Storage> = Arc::clone(&test) as _;
        let log_id = id(1);
        write(&storage, log_id, Level::ZERO, Content::FullImage, 0, 10, 0).await;
        let mut compactor = Compactor::new(&storage, log_id);
        for minute in 1..=100 {
            let us = minute * MINUTE;
            test.clock_us.store(us, Ordering::Relaxed);
            write(&storage, log_id, Level::ZERO, Content::EveryFrame, 10 + minute, 10 + minute, us).await;
            while compactor.step(us).await.unwrap().is_some() {}
            compactor.forget();
        }
        // All but the last few have been merged.
        let plans = survey(&storage, &Retention::keep(Duration::ZERO)).await.unwrap();
        let gone: Vec<u64> = plans[0].delete.iter().map(|expired| expired.head.frame_no).collect();
        // The head at frame 50 was put an hour ago to the second.
        assert_eq!(gone, (11..50).collect::<Vec<u64>>());
    });
}
