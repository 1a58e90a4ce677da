//! Objects in storage.

use std::path::PathBuf;
use std::sync::Arc;

use super::Sweep;
use crate::error::Result;
use crate::format::bundle::{self, Commit, FRONT_SIZE, Summary, TRAILER_SIZE};
use crate::restore::{Restore, Target};
use crate::storage::Storage;
use crate::storage::bundles::BundleWriter;
use crate::testing::faults::campaign::Campaign;
use crate::testing::faults::rig::{Content, History, PAGE, check_bytes, page};
use crate::testing::storage::{TestStorage, block_on};
use crate::types::{Level, LogId, PageSize};

/// Objects small enough that every byte can be tried, and what they hold.
pub struct Store {
    pub objects: Vec<(String, Vec<u8>)>,
    pub history: History,
    /// Where commit `k` ends.
    pub ends: Vec<u64>,
    frames: Vec<Vec<(u32, u64)>>,
    page: fn(u32, u32) -> Vec<u8>,
}

impl Store {
    /// `count` commits, none of them in storage yet.
    pub fn new(count: u32) -> Store {
        let mut history = History::from([(0, Content::first())]);
        let (mut ends, mut frames) = (vec![2], vec![vec![(1, 1), (2, 2)]]);
        for k in 1..=count {
            let size = 2 + k.min(9) / 2;
            let mut pages: Vec<u32> =
                (1..=size).filter(|page| *page <= 2 || (page + k).is_multiple_of(3)).collect();
            let before = history[&(k - 1)].pages.len() as u32;
            pages.extend((before + 1..=size).filter(|page| !(page + k).is_multiple_of(3)));
            history.insert(k, history[&(k - 1)].after(k, &pages, size));
            let start = ends[k as usize - 1] + 1;
            frames.push(pages.iter().copied().zip(start..).collect());
            ends.push(start + pages.len() as u64 - 1);
        }
        Store { objects: Vec::new(), history, ends, frames, page }
    }

    fn commit(&self, k: u32) -> Commit {
        Commit {
            frame_no: self.ends[k as usize],
            commit_us: 1_700_000_000_000_000 + u64::from(k),
            db_size_pages: self.history[&k].pages.len() as u32,
        }
    }

    /// A bundle of the commits `from..=to`; a full image is of `to` alone.
    pub fn put(
        &self,
        test: &Arc<TestStorage>,
        level: Level,
        content: bundle::Content,
        (from, to): (u32, u32),
        object_len: usize,
    ) {
        let is_image = content == bundle::Content::FullImage;
        let end = self.commit(to);
        let summary = Summary {
            log_id: LogId::from_bytes([7; 16]),
            level,
            content,
            start_frame_no: if is_image { 0 } else { self.ends[from as usize - 1] + 1 },
            end_frame_no: end.frame_no,
            db_size_pages: end.db_size_pages,
            nonce: end.frame_no << 8 | u64::from(level.code()),
        };
        let mut images: Vec<(u32, u64, u32)> = match is_image {
            true => {
                let pages = &self.history[&to].pages;
                (1..).zip(pages).map(|(page_no, &k)| (page_no, end.frame_no, k)).collect()
            }
            false => (from..=to)
                .flat_map(|k| self.frames[k as usize].iter().map(move |&(page, frame)| (page, frame, k)))
                .collect(),
        };
        images.sort_unstable();
        if content == bundle::Content::LastImages {
            // Of each page the highest frame.
            images.reverse();
            images.dedup_by_key(|image| image.0);
            images.reverse();
        }
        let storage: Arc<dyn Storage> = Arc::clone(test) as _;
        block_on(async {
            let page_size = PageSize::new(PAGE as u32).expect("a page size");
            let mut writer = BundleWriter::new(&storage, summary, page_size).object_len_target(object_len);
            for (page_no, frame_no, k) in images {
                writer.push_image(page_no, frame_no, &(self.page)(page_no, k)).await.expect("an image");
            }
            for k in if is_image { to..=to } else { from..=to } {
                writer.push_commit(self.commit(k)).await.expect("a commit");
            }
            writer.finish().await.expect("a bundle");
        });
    }

    pub fn take(&mut self, test: &TestStorage) {
        let object = |key: String| {
            let bytes = test.object(&key).expect("it is there").to_vec();
            (key, bytes)
        };
        self.objects = test.keys().into_iter().map(object).collect();
    }

    /// The objects, with some of them changed.
    pub fn with<'a>(&self, changed: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Arc<TestStorage> {
        let test = TestStorage::new();
        for (key, bytes) in &self.objects {
            test.plant(key, bytes.clone());
        }
        for (key, bytes) in changed {
            test.plant(key, bytes);
        }
        test
    }
}

/// A base, a bundle of each commit, a merge of some, and a snapshot in parts.
fn store() -> Store {
    let mut store = Store::new(6);
    let test = TestStorage::new();
    let every = bundle::Content::EveryFrame;
    store.put(&test, Level::ZERO, bundle::Content::FullImage, (0, 0), 1 << 20);
    (1..=6).for_each(|k| store.put(&test, Level::ZERO, every, (k, k), 1 << 20));
    let one = Level::from_code(1).expect("a level");
    store.put(&test, one, bundle::Content::LastImages, (1, 3), 1 << 20);
    store.put(&test, Level::SNAPSHOT, bundle::Content::FullImage, (4, 4), 300);
    store.take(&test);
    assert!(store.objects.iter().any(|(key, _)| key.contains("/parts/")), "a bundle in parts");
    store
}

/// Where files are written that nobody needs to be durable.
pub fn quick_dir() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a temporary directory")
}

/// Restore, and say which commit came of it: the wanted one, or an error that says where.
pub fn restored(
    test: &Arc<TestStorage>,
    store: &Store,
    target: Target,
    path: &std::path::Path,
) -> Result<Result<u32, String>> {
    let storage: Arc<dyn Storage> = Arc::clone(test) as _;
    let restore = Restore::new(&"memory://unused".parse().expect("a URL")).target(target);
    let commit = block_on(restore.run_from(&storage, path, &mut |_| ()))?.resolved.commit;
    let bytes = std::fs::read(path).expect("a file");
    std::fs::remove_file(path).expect("it goes");
    let found = check_bytes(&bytes[..commit.db_size_pages as usize * PAGE], &store.history);
    Ok(found.and_then(|k| match store.ends[k as usize] == commit.frame_no {
        true => Ok(k),
        false => Err(format!("commit {k} is called frame {}", commit.frame_no)),
    }))
}

/// Both the newest state and one that needs other objects.
fn judge(test: &Arc<TestStorage>, store: &Store, dir: &std::path::Path) -> std::result::Result<bool, String> {
    let last = store.ends.len() as u32 - 1;
    let mut is_whole = true;
    for (target, wanted) in [(Target::Latest, last), (Target::Frame(store.ends[3]), 3)] {
        let path = dir.join("restored.db");
        match restored(test, store, target, &path) {
            Ok(found) => match found? {
                k if k == wanted => {}
                k => return Err(format!("commit {k} instead of {wanted}")),
            },
            Err(error) if !error.to_string().contains("memory://test") => {
                return Err(format!("an error that names no object: {error}"));
            }
            Err(_) if path.exists() => return Err("an error, and a file".into()),
            Err(_) => is_whole = false,
        }
        // What an error leaves for the next one is of another store here.
        let _ = std::fs::remove_dir_all(dir.join(".restored.db.vwal-restore"));
    }
    Ok(is_whole)
}

/// Bytes that are not compressed pages.
fn structures(bytes: &[u8]) -> Vec<usize> {
    let trailer = bytes.len() - TRAILER_SIZE;
    let pages_len = u64::from_be_bytes(bytes[trailer + 96..trailer + 104].try_into().expect("eight bytes"));
    (0..FRONT_SIZE).chain(FRONT_SIZE + pages_len as usize..bytes.len()).collect()
}

#[test]
fn every_bit_of_every_object() {
    let store = store();
    let mut campaign = Campaign::all("corruption", "bits of objects");
    let step = campaign.scale(13, 1, 1);
    let dir = quick_dir();
    let mut sweep = Sweep::default();
    let (mut whole, mut refused) = (0, 0);
    assert_eq!(judge(&store.with([]), &store, dir.path()), Ok(true));
    for (key, bytes) in &store.objects {
        let structures = structures(bytes);
        assert!(structures.len() > TRAILER_SIZE, "{key}");
        for offset in 0..bytes.len() {
            let is_structure = structures.binary_search(&offset).is_ok();
            let bits = (0..8).filter(|bit| is_structure || offset % 8 == *bit);
            for bit in
                bits.filter(|bit| (offset + bit).is_multiple_of(step) || (!is_structure && offset % 64 == 0))
            {
                let mut damaged = bytes.clone();
                damaged[offset] ^= 1 << bit;
                let test = store.with([(key.as_str(), damaged)]);
                sweep.case(
                    || format!("{key}, byte {offset}, bit {bit}"),
                    || {
                        match judge(&test, &store, dir.path())? {
                            true => whole += 1,
                            false => refused += 1,
                        }
                        Ok(())
                    },
                );
            }
        }
    }
    println!("gone round {whole}, refused {refused}");
    assert!(whole > 0 && refused > 0, "{whole}, {refused}");
    campaign.count(sweep.held());
}

#[test]
fn every_length_of_every_object() {
    let store = store();
    let mut campaign = Campaign::all("corruption", "lengths of objects");
    let step = campaign.scale(13, 1, 1);
    let dir = quick_dir();
    let mut sweep = Sweep::default();
    for (key, bytes) in &store.objects {
        for length in (0..bytes.len()).step_by(step) {
            let test = store.with([(key.as_str(), bytes[..length].to_vec())]);
            sweep.case(|| format!("{key} of {length} bytes"), || judge(&test, &store, dir.path()).map(drop));
        }
    }
    campaign.count(sweep.held());
}

#[test]
fn objects_and_their_sections_that_have_changed_places() {
    let store = store();
    let mut campaign = Campaign::all("corruption", "swapped objects");
    let step = campaign.scale(13, 1, 1);
    let dir = quick_dir();
    let mut sweep = Sweep::default();
    for (at, (key, bytes)) in store.objects.iter().enumerate() {
        for (other, other_bytes) in &store.objects[at + 1..] {
            let test = store.with([(key.as_str(), other_bytes.clone()), (other.as_str(), bytes.clone())]);
            sweep.case(|| format!("{key} and {other}"), || judge(&test, &store, dir.path()).map(drop));
        }
        const PIECE: usize = 16;
        let pieces = bytes.len() / PIECE;
        let pairs = (0..pieces).flat_map(|one| (one + 1..pieces).map(move |two| (one, two)));
        for (one, two) in pairs.step_by(step) {
            let mut damaged = bytes.clone();
            let (head, tail) = damaged.split_at_mut(two * PIECE);
            head[one * PIECE..][..PIECE].swap_with_slice(&mut tail[..PIECE]);
            if damaged == *bytes {
                continue;
            }
            let test = store.with([(key.as_str(), damaged)]);
            let what = || format!("{key}, pieces {one} and {two}");
            sweep.case(what, || judge(&test, &store, dir.path()).map(drop));
        }
    }
    campaign.count(sweep.held());
}

#[test]
fn objects_that_are_damaged_at_random() {
    use crate::testing::io::splitmix;
    let store = store();
    let dir = quick_dir();
    Campaign::new("corruption", "random damage of objects", 300, 4000).run(1, |seed| {
        let mut state = seed;
        let mut below = |bound: usize| (splitmix(&mut state) % bound as u64) as usize;
        let mut changed: Vec<(&str, Vec<u8>)> = Vec::new();
        for _ in 0..1 + below(3) {
            let (key, bytes) = &store.objects[below(store.objects.len())];
            let mut bytes = bytes.clone();
            for _ in 0..1 + below(4) {
                let (at, length) = (below(bytes.len()), 1 + below(80));
                let end = (at + length).min(bytes.len());
                match below(4) {
                    0 => bytes[at..end].fill(0),
                    1 => bytes.truncate(at.max(1)),
                    2 => bytes.extend(std::iter::repeat_n(0xA7, length)),
                    _ => (at..end).for_each(|at| bytes[at] = below(256) as u8),
                }
            }
            changed.push((key, bytes));
        }
        let test = store.with(changed);
        judge(&test, &store, dir.path()).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        1
    });
}

/// A bundle with a wrong page and right checksums passes for what it says it is, and only the oracle can tell: it does.
#[test]
fn the_oracle_notices_a_wrong_page_with_right_checksums() {
    let store = store();
    let dir = quick_dir();
    let newest = |page: fn(u32, u32) -> Vec<u8>| {
        let test = TestStorage::new();
        let store = Store { page, ..Store::new(6) };
        store.put(&test, Level::ZERO, bundle::Content::EveryFrame, (6, 6), 1 << 20);
        let key = test.keys().remove(0);
        let bytes = test.object(&key).expect("a bundle").to_vec();
        (key, bytes)
    };
    let (key, bytes) = newest(page);
    assert_eq!(judge(&store.with([(key.as_str(), bytes)]), &store, dir.path()), Ok(true));
    let (key, bytes) = newest(|page_no, k| {
        let mut bytes = page(page_no, k);
        bytes[100] ^= 1;
        bytes
    });
    let wrong = judge(&store.with([(key.as_str(), bytes)]), &store, dir.path()).expect_err("a wrong page");
    assert!(wrong.contains("is not the one that commit 6 leaves"), "{wrong}");
}
