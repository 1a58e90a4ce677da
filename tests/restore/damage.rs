//! Storage that is not as it was left: whatever is done to it, no wrong page is restored, and verifying finds it.

use std::fs;
use std::sync::Arc;

use vwal::restore::Target;
use vwal::restore::verify::{Depth, Verified, verify_in};

use crate::history::{History, block_on};
use crate::objects::Objects;
use crate::random::Random;
use crate::states::{assert_is, restore};

fn verify(objects: &Arc<Objects>, depth: Depth) -> Verified {
    block_on(verify_in(&objects.storage(), depth, &mut |_| ())).unwrap()
}

fn store(seed: u64, count: usize, object_len: usize) -> (History, Arc<Objects>) {
    let history = History::new(seed, count, 0);
    let objects = Objects::new();
    block_on(history.ship(&objects.storage(), seed, 3, object_len));
    (history, objects)
}

#[test]
fn a_store_that_is_whole_is_found_whole() {
    for (seed, object_len) in [(50, 1 << 20), (51, 5000), (52, 20_000)] {
        let (history, objects) = store(seed, 40, object_len);
        objects.all().insert("put-if-absent".into(), "probe".into());
        for depth in [Depth::Indexes, Depth::Data] {
            let verified = verify(&objects, depth);
            assert_eq!((&verified.findings[..], &verified.notes[..]), (&[][..], &[][..]));
            let log = &verified.logs[0];
            assert_eq!(log.restorable, history.states.len() as u64);
            assert_eq!(log.end_frame_no, Some(history.states.last().unwrap().commit.frame_no));
            assert_eq!(log.first_frame_no, Some(history.states[0].commit.frame_no));
            assert_eq!(verified.objects, objects.all().len() as u64);
        }
    }
}

#[test]
fn what_is_not_ours_and_what_was_left_behind_is_noted() {
    let (_, objects) = store(53, 20, 1 << 20);
    let log = objects.all().keys().next().unwrap().split('/').next().unwrap().to_owned();
    objects.all().insert("readme.txt".into(), "hello".into());
    objects.all().insert(format!("{log}/0/notes"), "hello".into());
    let part = format!("{log}/parts/1-7ffffffffffffff0-00000000000000aa/00001.part");
    objects.all().insert(part, "half".into());
    let verified = verify(&objects, Depth::Data);
    assert_eq!(verified.findings, []);
    let notes = verified.notes.join("\n");
    assert!(notes.contains("2 objects are not vwal's") && notes.contains("left behind"), "{notes}");
    assert!(verify(&Objects::new(), Depth::Data).notes[0].contains("no log"));
}

#[test]
fn a_missing_bundle_is_named_by_its_frames() {
    let (history, objects) = store(54, 30, 1 << 20);
    // Level 0 alone, so that nothing else has its frames.
    objects.all().retain(|key, _| key.contains("/0/"));
    let keys: Vec<String> = objects.all().keys().cloned().collect();
    let dir = tempfile::tempdir().unwrap();
    // Neither the newest nor the base: of those nobody can tell that they were there.
    for (number, key) in keys[1..keys.len() - 1].iter().enumerate() {
        let damaged = objects.copy();
        damaged.all().remove(key);
        let verified = verify(&damaged, Depth::Indexes);
        assert!(verified.findings.iter().any(|finding| finding.what.contains("in no bundle")), "{key}");
        let path = dir.path().join(format!("{number}.db"));
        let error = restore(&damaged.storage(), Target::Latest, &path).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("lacks frame"), "{error}");
        // What is before it is as good as ever.
        restore(&damaged.storage(), Target::Frame(history.states[0].commit.frame_no), &path).unwrap();
        assert_is(&path, &history, &history.states[0]);
    }
    objects.all().remove(&keys[keys.len() - 1]);
    let verified = verify(&objects, Depth::Indexes);
    assert!(verified.findings.iter().any(|finding| finding.what.contains("no full image")), "{verified:?}");
}

/// Do something bad to an object or two. Returns whether reading all of it must show that.
fn damage(objects: &Objects, random: &mut Random) -> (String, bool) {
    let mut all = objects.all();
    let keys: Vec<String> = all.keys().cloned().collect();
    let (one, other) = (random.pick(&keys).clone(), random.pick(&keys).clone());
    let bytes = all[&one].to_vec();
    match random.below(6) {
        0 => {
            all.remove(&one);
            (format!("{one} removed"), false)
        }
        1 => {
            let len = random.below(bytes.len() as u64) as usize;
            all.insert(one.clone(), bytes[..len].to_vec().into());
            (format!("{one} cut to {len}"), true)
        }
        2 => {
            let taken = all.insert(other.clone(), bytes.into());
            let differs = taken != all.get(&other).cloned();
            (format!("{one} copied over {other}"), differs)
        }
        3 => {
            let taken = all[&other].clone();
            all.insert(one.clone(), taken);
            all.insert(other.clone(), bytes.into());
            (format!("{one} and {other} swapped"), one != other)
        }
        4 => {
            let mut bad = bytes;
            bad.extend_from_slice(b"more");
            all.insert(one.clone(), bad.into());
            (format!("{one} lengthened"), true)
        }
        _ => {
            let mut bad = bytes;
            let at = random.below(bad.len() as u64) as usize;
            let bit = random.below(8);
            bad[at] ^= 1 << bit;
            all.insert(one.clone(), bad.into());
            (format!("{one}: bit {bit} of byte {at}"), true)
        }
    }
}

#[test]
fn no_damage_restores_a_wrong_page() {
    let dir = tempfile::tempdir().unwrap();
    let (mut restored, mut refused) = (0, 0);
    for store_seed in [60, 61] {
        let (history, objects) = store(store_seed, 24, if store_seed == 60 { 4000 } else { 1 << 20 });
        for seed in 0..200 {
            let mut random = Random::new(store_seed << 32 | seed);
            let damaged = objects.copy();
            let (what, must_show) = damage(&damaged, &mut random);
            let verified = verify(&damaged, Depth::Data);
            assert!(!must_show || !verified.findings.is_empty(), "seed {seed}: {what} is not found");
            let state = random.pick(&history.states);
            for target in [Target::Frame(state.commit.frame_no), Target::Latest] {
                let path = dir.path().join("app.db");
                match restore(&damaged.storage(), target, &path) {
                    Ok(done) => {
                        let frame_no = done.resolved.commit.frame_no;
                        if target != Target::Latest {
                            assert_eq!(frame_no, state.commit.frame_no);
                        } else if must_show {
                            // An end that was deleted is not known; one that is damaged must not be passed over.
                            let last = history.states.last().unwrap().commit.frame_no;
                            assert_eq!(frame_no, last, "seed {seed}: {what}");
                        }
                        let is_it = |state: &&crate::history::State| state.commit.frame_no == frame_no;
                        assert_is(&path, &history, history.states.iter().find(is_it).unwrap());
                        fs::remove_file(&path).unwrap();
                        restored += 1;
                    }
                    Err(error) => {
                        assert!(!path.exists(), "seed {seed}: {what}: {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(restored > 100 && refused > 50, "{restored} restored, {refused} refused");
}
