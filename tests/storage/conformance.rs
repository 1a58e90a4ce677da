//! What every backend must do, as one suite.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use vwal::storage::{ObjectInfo, Put, Storage, check, probe};
use vwal::{Error, StorageErrorKind};

/// More objects than S3 shows on one page of a listing.
const MANY: usize = 1_030;

/// Runs the suite on storage that is empty.
pub async fn suite(storage: Arc<dyn Storage>) {
    let storage = &*storage;
    nothing_there(storage).await;
    objects(storage).await;
    ranges(storage).await;
    never_overwritten(storage).await;
    listings(storage).await;
    many_objects(storage).await;
    probe(storage).await.expect("create-only writes work");
    probe(storage).await.expect("they do when the object of the probe is there, too");
    let report = check(storage).await;
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.steps.len(), 6);
}

async fn put(storage: &dyn Storage, key: &str, content: &[u8]) -> Put {
    let content = Bytes::copy_from_slice(content);
    storage.put_new(key, &[content]).await.unwrap_or_else(|error| panic!("{key}: {error}"))
}

async fn read(storage: &dyn Storage, key: &str, size: usize) -> Bytes {
    storage.get(key, 0..size as u64).await.unwrap_or_else(|error| panic!("{key}: {error}"))
}

async fn keys(storage: &dyn Storage, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let listed = storage.list(prefix, after, limit).await.unwrap_or_else(|error| panic!("{prefix}: {error}"));
    listed.into_iter().map(|info| info.key).collect()
}

async fn nothing_there(storage: &dyn Storage) {
    assert_eq!(keys(storage, "", None, 10).await, [""; 0]);
    assert_eq!(keys(storage, "none/", None, 10).await, [""; 0]);
    assert_eq!(storage.list_names("").await.expect("names"), [""; 0]);
    assert_eq!(storage.list_names("none/").await.expect("names"), [""; 0]);
    assert_eq!(storage.head("none/such").await.expect("an answer"), None);
    for range in [0..1, 0..0] {
        let error = storage.get("none/such", range).await.expect_err("there is nothing to read");
        assert!(matches!(error, Error::Storage { kind: StorageErrorKind::NotFound, .. }), "{error:?}");
        assert!(error.to_string().contains("none/such"), "{error}");
    }
    storage.delete(&[]).await.expect("nothing is deleted");
    storage.delete(&["none/such".to_owned()]).await.expect("what is not there may be deleted");
}

async fn objects(storage: &dyn Storage) {
    for size in [0, 1, 100, 65_537, 8 << 20] {
        let key = format!("objects/{size:08}");
        let content: Vec<u8> =
            (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        // In pieces, as the parts of a bundle are put.
        let pieces: Vec<Bytes> = content.chunks(50_000).map(Bytes::copy_from_slice).collect();
        assert_eq!(storage.put_new(&key, &pieces).await.expect("a put"), Put::Created);
        let info = storage.head(&key).await.expect("an answer").expect("it is there");
        assert_eq!((info.key.as_str(), info.size), (key.as_str(), u64::from(size)));
        assert!(info.modified_us > 1_577_836_800_000_000, "written after 2020, not at {}", info.modified_us);
        assert_eq!(read(storage, &key, content.len()).await, content, "{size} bytes");
    }
}

async fn ranges(storage: &dyn Storage) {
    let content: Vec<u8> = (0..=255).collect();
    assert_eq!(put(storage, "ranges/object", &content).await, Put::Created);
    for (start, end) in [(0, 256), (0, 1), (255, 256), (100, 200), (7, 7), (256, 256)] {
        let found = storage.get("ranges/object", start..end).await.expect("a range");
        assert_eq!(found, content[start as usize..end as usize], "{start}..{end}");
    }
    for (start, end) in [(0, 257), (255, 300), (256, 257), (1000, 2000), (0, u64::MAX), (257, 257)] {
        let error = storage.get("ranges/object", start..end).await.expect_err("it is not that long");
        assert!(matches!(error, Error::DamagedObject { offset: Some(256), .. }), "{start}..{end}: {error:?}");
    }
}

async fn never_overwritten(storage: &dyn Storage) {
    let key = "0/taken";
    assert_eq!(put(storage, key, b"the first").await, Put::Created);
    // The same again is what a retry of a lost answer looks like.
    assert_eq!(put(storage, key, b"the first").await, Put::Created);
    for other in [&b"the other"[..], b"", b"the first and more", b"the firs"] {
        assert_eq!(put(storage, key, other).await, Put::Taken, "{other:?}");
        assert_eq!(read(storage, key, 9).await, &b"the first"[..]);
    }
    let contents: Vec<Bytes> =
        (0..16).map(|writer| Bytes::from(format!("writer number {writer:03}"))).collect();
    let puts = contents.iter().map(|content| storage.put_new("0/contested", std::slice::from_ref(content)));
    let results = join_all(puts).await;
    let winners: Vec<&Bytes> = contents
        .iter()
        .zip(&results)
        .filter(|(_, result)| *result.as_ref().expect("a put") == Put::Created)
        .map(|(content, _)| content)
        .collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(read(storage, "0/contested", 17).await, *winners[0]);
    // A key that was deleted is free again.
    storage.delete(&[key.to_owned()]).await.expect("it is deleted");
    assert_eq!(storage.head(key).await.expect("an answer"), None);
    assert_eq!(put(storage, key, b"another").await, Put::Created);
}

async fn listings(storage: &dyn Storage) {
    let all = [
        "tree/0/a",
        "tree/0/b",
        "tree/0/c",
        "tree/1/a",
        "tree/parts/0-a/00000.part",
        "tree/parts/0-a/00001.part",
    ];
    // Not in the order in which they will be listed.
    for at in [3, 0, 5, 2, 4, 1] {
        assert_eq!(put(storage, all[at], all[at].as_bytes()).await, Put::Created);
    }
    assert_eq!(put(storage, "tree2/0/a", b"beside").await, Put::Created);
    assert_eq!(put(storage, "tree-/0/a", b"beside").await, Put::Created);
    assert_eq!(keys(storage, "tree/", None, 100).await, all);
    assert_eq!(keys(storage, "tree/0/", None, 100).await, &all[..3]);
    assert_eq!(keys(storage, "tree/parts/", None, 100).await, &all[4..]);
    for limit in 0..=7 {
        assert_eq!(keys(storage, "tree/", None, limit).await, &all[..limit.min(6)]);
    }
    for (at, after) in all.iter().enumerate() {
        assert_eq!(keys(storage, "tree/", Some(after), 100).await, &all[at + 1..]);
        assert_eq!(keys(storage, "tree/", Some(after), 1).await, &all[at + 1..(at + 2).min(6)]);
    }
    // `after` need not be there, and need not lie below the prefix.
    assert_eq!(keys(storage, "tree/", Some("tree/0/bb"), 2).await, &all[2..4]);
    assert_eq!(keys(storage, "tree/0/", Some("a"), 100).await, &all[..3]);
    assert_eq!(keys(storage, "tree/0/", Some("z"), 100).await, [""; 0]);
    let listed: Vec<ObjectInfo> = storage.list("tree/0/", None, 1).await.expect("a list");
    assert_eq!(
        Some(&listed[0]),
        storage.head("tree/0/a").await.expect("an answer").map(rounded(&listed[0])).as_ref()
    );
    assert_eq!(storage.list_names("tree/").await.expect("names"), ["0", "1", "parts"]);
    assert_eq!(storage.list_names("tree/parts/").await.expect("names"), ["0-a"]);
    assert_eq!(storage.list_names("tree/0/").await.expect("names"), [""; 0]);
    let names = storage.list_names("").await.expect("names");
    assert_eq!(names, ["0", "objects", "ranges", "tree", "tree-", "tree2"]);
    // A name may outlive its last object, but shows nothing.
    storage.delete(&[all[3].to_owned()]).await.expect("it is deleted");
    let mut names = storage.list_names("tree/").await.expect("names");
    names.retain(|name| name != "1");
    assert_eq!(names, ["0", "parts"]);
    assert_eq!(keys(storage, "tree/1/", None, 100).await, [""; 0]);
}

/// `Last-Modified` has whole seconds, a listing may have more.
fn rounded(listed: &ObjectInfo) -> impl Fn(ObjectInfo) -> ObjectInfo {
    move |mut head| {
        if head.modified_us.abs_diff(listed.modified_us) < 2_000_000 {
            head.modified_us = listed.modified_us;
        }
        head
    }
}

async fn many_objects(storage: &dyn Storage) {
    let all: Vec<String> = (0..MANY).map(|at| format!("many/{at:016x}.bundle")).collect();
    let puts = stream::iter(&all).map(|key| put(storage, key, key.as_bytes())).buffer_unordered(16);
    assert_eq!(puts.filter(|made| std::future::ready(*made == Put::Created)).count().await, MANY);
    assert_eq!(keys(storage, "many/", None, 10_000).await, all);
    assert_eq!(keys(storage, "many/", None, 3).await, &all[..3]);
    assert_eq!(keys(storage, "many/", Some(&all[MANY - 3]), 3).await, &all[MANY - 2..]);
    // In pages, as vwal reads it.
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = keys(storage, "many/", found.last().map(String::as_str), 400).await;
        let last = page.len() < 400;
        found.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(found, all);
    storage.delete(&all).await.expect("they are deleted");
    assert_eq!(keys(storage, "many/", None, 10).await, [""; 0]);
    storage.delete(&all).await.expect("again is no error");
}
