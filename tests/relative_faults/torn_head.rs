//! "A header persisted without its frames made the database impossible to open; frames persisted with an old header got
//! the file deleted."

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query, run};
use crate::{TABLE, rows};

/// The head of a segment file lies in front of its first frame.
const HEAD: usize = 4096;

/// Commits one row after the other without any fsync (so that a power cut may take all of it), in several segments.
/// Returns the number of rows. The newest segment holds the last of them.
fn many_commits(lab: &Lab) -> u32 {
    let db = lab.open_with("a.db", "vwal_sync_interval_ms=0&vwal_swap=frames%3E%3D12").unwrap();
    query(
        &db,
        &format!("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; PRAGMA page_size=1024; {TABLE}"),
    );
    let count = 40;
    for at in 1..=count {
        query(&db, &rows(at, at, 200));
        // An early state of the same files, for their heads.
        lab.copy("a.db", &format!("early{at}.db"));
    }
    lab.copy("a.db", "crashed.db");
    count
}

/// The segment files of a log directory, oldest first.
fn segments(log: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

/// Copies the crashed database and damages its newest segment.
fn damaged_copy(lab: &Lab, name: &str, damage: impl Fn(&mut Vec<u8>)) {
    lab.copy("crashed.db", name);
    let newest = newest_begun(&lab.wal(name));
    let mut bytes = fs::read(&newest).unwrap();
    damage(&mut bytes);
    fs::write(&newest, bytes).unwrap();
}

/// Copies the crashed database, damages its newest segment, and opens it: the rows are 1..=n for some n, which is
/// returned, and the log goes on.
fn opened_after(lab: &Lab, name: &str, damage: impl Fn(&mut Vec<u8>)) -> u32 {
    damaged_copy(lab, name, damage);
    let db = lab.open_with(name, "").unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_intact(&db, "main");
    let found: Vec<u32> = query(&db, "SELECT count(*), coalesce(max(id), 0) FROM t")
        .split('|')
        .map(|number| number.parse().expect("a number"))
        .collect();
    assert_eq!(found[0], found[1], "{name}: the rows are a prefix of those that were committed");
    assert_eq!(run(&db, &rows(1000, 1000, 10)), "");
    drop(db);
    assert_eq!(
        query(&lab.open(name), "SELECT count(*) FROM t"),
        (found[0] + 1).to_string(),
        "{name}: it goes on"
    );
    found[0]
}

#[test]
fn a_head_without_its_frames() {
    let lab = Lab::new(Engine::Vwal);
    let count = many_commits(&lab);
    assert!(segments(&lab.wal("crashed.db")).len() > 1, "there are older segments");
    let zeroed = opened_after(&lab, "zeroed.db", |bytes| bytes[HEAD..].fill(0));
    assert!(zeroed < count, "the newest segment held rows");
    assert!(zeroed > 0, "and the older ones, too");
    let garbage = opened_after(&lab, "garbage.db", |bytes| bytes[HEAD..].fill(0xA7));
    let cut = opened_after(&lab, "cut.db", |bytes| bytes.truncate(HEAD));
    assert_eq!((garbage, cut), (zeroed, zeroed));
    // Each frame may be torn, too.
    for (name, length) in [("inside.db", HEAD + 700), ("header.db", HEAD + 30), ("second.db", HEAD + 1500)] {
        let torn = opened_after(&lab, name, |bytes| bytes[length..].fill(0));
        assert!(torn >= zeroed && torn < count, "{name}");
    }
}

#[test]
fn a_segment_file_without_its_head() {
    let lab = Lab::new(Engine::Vwal);
    let count = many_commits(&lab);
    let empty = opened_after(&lab, "empty.db", |bytes| bytes.clear());
    assert!(empty > 0 && empty < count);
    assert_eq!(opened_after(&lab, "short.db", |bytes| bytes.truncate(100)), empty);
}

/// A power cut may have written the frames and not the head, unless something shows that the file had been fsynced
/// (sealing the segment before it does that): then it is damage, and the file must not go.
#[test]
fn frames_without_a_head() {
    let lab = Lab::new(Engine::Vwal);
    let count = many_commits(&lab);
    for at in 1..=count {
        let name = format!("early{at}.db");
        let newest = newest_begun(&lab.wal(&name));
        let mut bytes = fs::read(&newest).unwrap();
        bytes[..HEAD].fill(0);
        fs::write(&newest, &bytes).unwrap();
        match lab.open_with(&name, "") {
            Ok(db) => {
                assert_intact(&db, "main");
                let tables = query(&db, "SELECT count(*) FROM sqlite_schema");
                let rows = if tables == "0" { tables } else { query(&db, "SELECT count(*) FROM t") };
                assert!(rows.parse::<u32>().expect("a number") <= at, "{name}");
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(newest.to_str().expect("a path of text")), "it names the file: {text}");
                assert!(text.contains("fsynced"), "{text}");
                assert!(fs::read(&newest).unwrap() == bytes, "and leaves it alone");
            }
        }
    }
}

/// The newest segment that has a head. The syncer may just have made the file of the next one when the copy was taken.
fn newest_begun(wal: &Path) -> PathBuf {
    let begun = |path: &PathBuf| fs::metadata(path).unwrap().len() >= HEAD as u64;
    segments(wal).into_iter().rfind(begun).expect("there are segments")
}

#[test]
fn frames_with_an_old_head() {
    let lab = Lab::new(Engine::Vwal);
    let count = many_commits(&lab);
    let newest = newest_begun(&lab.wal("crashed.db"));
    let name = newest.file_name().expect("a file has a name").to_owned();
    let mut tried = 0;
    for at in 1..count {
        let early = lab.wal(&format!("early{at}.db")).join(&name);
        if let Ok(old) = fs::read(early)
            && old.len() >= HEAD
        {
            // The head of the same file as it was when that row was committed: the frames behind it are all there.
            let found = opened_after(&lab, &format!("old{at}.db"), |bytes| {
                bytes[..HEAD].copy_from_slice(&old[..HEAD]);
            });
            assert_eq!(found, count, "no commit is lost");
            tried += 1;
        }
    }
    assert!(tried > 0, "the newest segment holds more than one commit");
}
