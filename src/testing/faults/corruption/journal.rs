//! The journal of a restore that was interrupted: the next one goes on, or begins anew, or says what is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use super::Sweep;
use super::objects::{Store, quick_dir, restored};
use crate::format::bundle::Content;
use crate::format::restore_journal::RESTORE_TEXT_OFFSET;
use crate::restore::Target;
use crate::testing::faults::campaign::Campaign;
use crate::testing::storage::TestStorage;
use crate::types::Level;

/// More bundles than are merged at a time, so that the journal has something to say in between.
const COMMITS: u32 = 90;

fn store() -> Store {
    let mut store = Store::new(COMMITS);
    let test = TestStorage::new();
    store.put(&test, Level::ZERO, Content::FullImage, (0, 0), 1 << 20);
    (1..=COMMITS).for_each(|k| store.put(&test, Level::ZERO, Content::EveryFrame, (k, k), 1 << 20));
    store.take(&test);
    store
}

/// What an interrupted restore leaves: the directory, and which of its files is the journal.
fn interrupted(store: &Store, dir: &Path) -> (Vec<(String, Vec<u8>)>, usize) {
    // The newest bundle but one has a block that cannot be read.
    let (key, bytes) = &store.objects[1];
    let mut bytes = bytes.clone();
    bytes[20] ^= 1;
    let test = store.with([(key.as_str(), bytes)]);
    let error = restored(&test, store, Target::Latest, &dir.join("a.db")).expect_err("it is interrupted");
    assert!(error.to_string().contains("checksum"), "{error}");
    let files: Vec<(String, Vec<u8>)> = fs::read_dir(dir.join(".a.db.vwal-restore"))
        .expect("what is left")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a name of text");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect();
    let journal = files
        .iter()
        .position(|(_, bytes)| bytes.starts_with(b"VWALREST") || bytes.get(40..48) == Some(&b"VWALREST"[..]));
    (files, journal.expect("a journal"))
}

#[test]
fn every_bit_and_every_length_of_the_journal_of_a_restore() {
    let store = store();
    let test = store.with([]);
    let made = quick_dir();
    let (files, journal) = interrupted(&store, made.path());
    let mut campaign = Campaign::all("corruption", "journal of a restore");
    let step = campaign.scale(13, 1, 1);
    let mut sweep = Sweep::default();
    let dir = quick_dir();
    let mut number = 0;
    let mut try_with = |bytes: Vec<u8>| -> Result<(), String> {
        number += 1;
        let place: PathBuf = dir.path().join(number.to_string());
        let left = place.join(".a.db.vwal-restore");
        fs::create_dir_all(&left).expect("a directory");
        for (at, (name, content)) in files.iter().enumerate() {
            let content = if at == journal { &bytes } else { content };
            fs::write(left.join(name), content).expect("a file");
        }
        let outcome = restored(&test, &store, Target::Latest, &place.join("a.db"));
        fs::remove_dir_all(&place).expect("it goes");
        match outcome {
            Ok(found) => match found? {
                COMMITS => Ok(()),
                k => Err(format!("commit {k}")),
            },
            Err(error) if error.to_string().contains("a.db") => Ok(()),
            Err(error) => Err(format!("an error that names no file: {error}")),
        }
    };
    let whole = files[journal].1.clone();
    assert!(whole.len() as u64 > RESTORE_TEXT_OFFSET, "{} bytes", whole.len());
    try_with(whole.clone()).expect("it goes on");
    for offset in 0..whole.len() {
        for bit in (0..8).filter(|bit| (offset + bit).is_multiple_of(step)) {
            let mut damaged = whole.clone();
            damaged[offset] ^= 1 << bit;
            sweep.case(|| format!("byte {offset}, bit {bit}"), || try_with(damaged));
        }
    }
    for length in (0..whole.len()).step_by(step) {
        sweep.case(|| format!("{length} bytes"), || try_with(whole[..length].to_vec()));
    }
    let mut slots = whole.clone();
    slots[..RESTORE_TEXT_OFFSET as usize].rotate_left(RESTORE_TEXT_OFFSET as usize / 2);
    sweep.case(|| "the slots have changed places".into(), || try_with(slots));
    campaign.count(sweep.held());
}
