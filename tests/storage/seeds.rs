//! Faults by seed: whatever happens below, nothing is overwritten, and every answer is right or an error.
//!
//! A failure names its seed. To run that one again: `FAULTS_SEED=<seed> cargo test --test storage seeds`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use vwal::storage::{ObjectStorage, Put, RetryPolicy, Storage, probe};
use vwal::{Error, StorageErrorKind};

use crate::campaign::Campaign;
use crate::faulty::{Faults, FaultyStore, quick};
use crate::random::Random;
use crate::run;

const KEYS: [&str; 6] = ["0/a", "0/b", "0/c", "1/a", "parts/x/00000.part", "parts/x/00001.part"];

fn content(random: &mut Random) -> Bytes {
    // Few enough that the same bytes are often put twice, and lengths that are often the same.
    let fill = b'a' + random.below(3) as u8;
    Bytes::from(vec![fill; 1 + random.below(3) as usize * 20])
}

/// What is really there, past the faults.
async fn truth(inner: &InMemory) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    let listed: Vec<_> = futures::StreamExt::collect(inner.list(None)).await;
    for meta in listed {
        let path: Path = meta.expect("memory does not fail").location;
        let content = inner.get(&path).await.expect("it is there").bytes().await.expect("its bytes");
        objects.insert(path.to_string(), content);
    }
    objects
}

#[test]
fn every_answer_is_right() {
    let mut campaign = Campaign::new("storage", "answers", 200, 1000);
    while let Some(seed) = campaign.seed() {
        run(async {
            let mut random = Random::new(seed);
            let inner = Arc::new(InMemory::new());
            let faulty = FaultyStore::new(Arc::clone(&inner) as _, seed, Faults::ALL);
            // Two clients, one of which does not rely on the order of listings.
            let clients = [
                ObjectStorage::new(Arc::clone(&faulty) as _, "faulty://one", quick()).lists_in_order(),
                ObjectStorage::new(Arc::clone(&faulty) as _, "faulty://two", quick()),
            ];
            let mut model: BTreeMap<String, Bytes> = BTreeMap::new();
            for step in 0..60 {
                let client = random.pick(&clients);
                let key = (*random.pick(&KEYS)).to_owned();
                let at = format!("seed {seed}, step {step}, {key}");
                match random.below(10) {
                    0..4 => {
                        let content = content(&mut random);
                        let pieces: Vec<Bytes> = content.chunks(7).map(Bytes::copy_from_slice).collect();
                        let put = client.put_new(&key, &pieces).await;
                        let put = put.unwrap_or_else(|error| panic!("{at}: {error}"));
                        let there = model.entry(key).or_insert_with(|| content.clone());
                        assert_eq!(put, if *there == content { Put::Created } else { Put::Taken }, "{at}");
                    }
                    4..6 => {
                        let length = model.get(&key).map_or(1, Bytes::len) as u64;
                        let start = random.below(length);
                        let end = start + 1 + random.below(length - start);
                        match (client.get(&key, start..end).await, model.get(&key)) {
                            (Ok(found), Some(content)) => {
                                assert_eq!(found, content[start as usize..end as usize], "{at}");
                            }
                            (Err(Error::Storage { kind: StorageErrorKind::NotFound, .. }), None) => {}
                            (found, expected) => panic!("{at}: {found:?}, not {expected:?}"),
                        }
                    }
                    6 => {
                        let info = client.head(&key).await.unwrap_or_else(|error| panic!("{at}: {error}"));
                        let size = model.get(&key).map(|content| content.len() as u64);
                        assert_eq!(info.map(|info| info.size), size, "{at}");
                    }
                    7 | 8 => {
                        let prefix = *random.pick(&["", "0/", "parts/"]);
                        let after = (random.below(2) == 0).then_some(key.as_str());
                        let limit = 1 + random.below(7) as usize;
                        let listed = client.list(prefix, after, limit).await;
                        let listed = listed.unwrap_or_else(|error| panic!("{at}: {error}"));
                        let listed: Vec<(String, u64)> =
                            listed.into_iter().map(|info| (info.key, info.size)).collect();
                        let expected: Vec<(String, u64)> = model
                            .iter()
                            .filter(|(key, _)| key.starts_with(prefix))
                            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after))
                            .map(|(key, content)| (key.clone(), content.len() as u64))
                            .take(limit)
                            .collect();
                        assert_eq!(listed, expected, "{at}, {prefix:?} after {after:?}");
                    }
                    _ => {
                        // vwal deletes nothing that is still being written.
                        faulty.settle().await;
                        client
                            .delete(std::slice::from_ref(&key))
                            .await
                            .unwrap_or_else(|error| panic!("{at}: {error}"));
                        model.remove(&key);
                    }
                }
                assert_eq!(truth(&inner).await, model, "{at}");
            }
            faulty.settle().await;
            assert_eq!(truth(&inner).await, model, "seed {seed}, at the end");
        });
        campaign.count(1);
    }
}

#[test]
fn after_a_failed_put_the_same_bytes_may_be_put_again() {
    let mut failed = 0;
    let mut campaign = Campaign::new("storage", "unknown outcomes", 200, 1000);
    let mut kept = [9108].into_iter();
    while let Some(seed) = kept.next().or_else(|| campaign.seed()) {
        run(async {
            let inner = Arc::new(InMemory::new());
            let faults = Faults { before: 30, after: 30, late: 60, ..Faults::ALL };
            let faulty = FaultyStore::new(Arc::clone(&inner) as _, seed, faults);
            let once = RetryPolicy::once(Duration::from_secs(30));
            let storage = ObjectStorage::new(Arc::clone(&faulty) as _, "faulty://store", once);
            let mine = Bytes::from_static(b"mine");
            let theirs = Bytes::from_static(b"them");
            let mut other = None;
            for round in 0.. {
                // By chance a seed may let every attempt fail (9108 does for forty). The store recovers then, and with it
                // the property is checked for each seed.
                if round == 40 {
                    faulty.set_faults(Faults::NONE);
                }
                assert!(round <= 41, "seed {seed}: a store without faults still fails");
                // A second primary tries its luck in between.
                if round % 5 == 4 {
                    let put = storage.put_new("0/a", std::slice::from_ref(&theirs)).await;
                    if let Ok(put) = put {
                        assert!(other.is_none_or(|other| other == put), "seed {seed}: both or none");
                        other = Some(put);
                    }
                }
                match storage.put_new("0/a", std::slice::from_ref(&mine)).await {
                    Ok(put) => {
                        faulty.settle().await;
                        let there = &truth(&inner).await["0/a"];
                        assert_eq!(put == Put::Created, *there == mine, "seed {seed}");
                        // And so it stays, for both.
                        assert!(other.is_none_or(|other| other != put), "seed {seed}: {other:?} and {put:?}");
                        return;
                    }
                    Err(Error::Storage { kind: StorageErrorKind::Unavailable, .. }) => failed += 1,
                    Err(error) => panic!("seed {seed}: {error:?}"),
                }
            }
        });
        campaign.count(1);
    }
    assert!(
        campaign.cases() < 200 || failed > 100,
        "only {failed} attempts failed: the faults do not happen"
    );
}

#[test]
fn two_primaries_at_once() {
    let mut campaign = Campaign::new("storage", "two writers", 300, 1500);
    while let Some(seed) = campaign.seed() {
        run(async {
            let inner = Arc::new(InMemory::new());
            let faulty = FaultyStore::new(Arc::clone(&inner) as _, seed, Faults::ALL);
            let client = |name: &str| {
                ObjectStorage::new(Arc::clone(&faulty) as _, format!("faulty://{name}"), quick())
            };
            let (one, two) = (client("one"), client("two"));
            for key in KEYS {
                let contents = [Bytes::from(format!("{key} one")), Bytes::from(format!("{key} two"))];
                let (first, second) = futures::join!(
                    one.put_new(key, std::slice::from_ref(&contents[0])),
                    two.put_new(key, std::slice::from_ref(&contents[1])),
                );
                let puts = [first.expect("a put"), second.expect("a put")];
                faulty.settle().await;
                let winner = puts.iter().position(|put| *put == Put::Created);
                let winner = winner.unwrap_or_else(|| panic!("seed {seed}: {key} is nobody's"));
                assert_eq!(puts[1 - winner], Put::Taken, "seed {seed}: {key} is both's");
                assert_eq!(truth(&inner).await[key], contents[winner], "seed {seed}: {key}");
            }
        });
        campaign.count(1);
    }
}

#[test]
fn a_stale_listing_shows_no_more_than_there_is() {
    let mut missed = 0;
    let mut campaign = Campaign::new("storage", "stale lists", 100, 500);
    while let Some(seed) = campaign.seed() {
        run(async {
            let inner = Arc::new(InMemory::new());
            let faulty = FaultyStore::new(Arc::clone(&inner) as _, seed, Faults { stale: 50, ..Faults::ALL });
            let storage = ObjectStorage::new(Arc::clone(&faulty) as _, "faulty://store", quick());
            for (at, key) in KEYS.iter().enumerate() {
                storage.put_new(key, &[Bytes::from_static(b"x")]).await.expect("a put");
                let listed = storage.list("", None, 100).await.expect("a list");
                let listed: Vec<&str> = listed.iter().map(|info| info.key.as_str()).collect();
                assert!(
                    listed.is_sorted() && listed.iter().all(|key| KEYS[..=at].contains(key)),
                    "seed {seed}"
                );
                missed += at + 1 - listed.len();
            }
        });
        campaign.count(1);
    }
    assert!(campaign.cases() < 100 || missed > 0, "no listing was stale");
}

#[test]
fn the_probe_stands_faults() {
    let mut campaign = Campaign::new("storage", "the probe", 200, 1000);
    while let Some(seed) = campaign.seed() {
        run(async {
            let faulty = FaultyStore::new(Arc::new(InMemory::new()), seed, Faults::ALL);
            let storage = ObjectStorage::new(faulty, "faulty://store", quick());
            for _ in 0..2 {
                probe(&storage).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
        });
        campaign.count(1);
    }
}

#[test]
fn requests_are_counted_and_outages_are_outages() {
    run(async {
        let faulty = FaultyStore::new(Arc::new(InMemory::new()), 1, Faults::NONE);
        let once = RetryPolicy::once(Duration::from_secs(30));
        let storage = ObjectStorage::new(Arc::clone(&faulty) as _, "faulty://store", once);
        let content = [Bytes::from_static(b"content")];
        storage.put_new("0/a", &content).await.expect("a put");
        storage.get("0/a", 0..3).await.expect("a range");
        storage.head("0/a").await.expect("an answer");
        storage.list("0/", None, 5).await.expect("a list");
        storage.list_names("").await.expect("names");
        storage.delete(&["0/a".into(), "0/b".into()]).await.expect("a deletion");
        let counts = faulty.counts();
        assert_eq!((counts.put, counts.get, counts.head, counts.list, counts.delete), (1, 1, 1, 2, 1));
        faulty.set_down(true);
        let error = storage.put_new("0/a", &content).await.expect_err("it is down");
        assert!(matches!(error, Error::Storage { kind: StorageErrorKind::Unavailable, .. }), "{error:?}");
        faulty.set_down(false);
        assert_eq!(storage.put_new("0/a", &content).await.expect("it is back"), Put::Created);
    });
}

#[test]
fn a_client_that_panics_is_an_error() {
    run(async {
        let faulty = FaultyStore::new(Arc::new(InMemory::new()), 1, Faults::NONE);
        let storage = ObjectStorage::new(Arc::clone(&faulty) as _, "faulty://store", quick());
        faulty.set_panics(true);
        let content = [Bytes::from_static(b"content")];
        for error in [
            storage.put_new("0/a", &content).await.expect_err("it panics"),
            storage.get("0/a", 0..3).await.expect_err("it panics"),
            storage.head("0/a").await.expect_err("it panics"),
            storage.list("0/", None, 5).await.expect_err("it panics"),
            storage.list_names("").await.expect_err("it panics"),
            storage.delete(&["0/a".into()]).await.expect_err("it panics"),
        ] {
            assert!(matches!(error, Error::Storage { kind: StorageErrorKind::Other, .. }), "{error:?}");
        }
        faulty.set_panics(false);
        assert_eq!(storage.put_new("0/a", &content).await.expect("it works again"), Put::Created);
    });
}
