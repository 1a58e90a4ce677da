//! "Wrong bytes in a footer, header or index hit an `assert` or an unchecked allocation."

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::{Engine, Lab};
use crate::text::{query, run};
use crate::{TABLE, rows};

static PANICS: AtomicU32 = AtomicU32::new(0);

/// The files of the database `name`: the base file and those of its log.
fn files(lab: &Lab, name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(lab.wal(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.insert(0, lab.path(name));
    files
}

/// A database with a footer, a few segments, and commits that only they hold. `expected[n]` is the content after commit n.
fn crashed(lab: &Lab) -> u32 {
    let db = lab.open_with("a.db", "vwal_swap=frames%3E%3D12").unwrap();
    query(
        &db,
        &format!("PRAGMA synchronous=FULL; PRAGMA page_size=512; PRAGMA wal_autocheckpoint=0; {TABLE}"),
    );
    for at in 1..=30 {
        query(&db, &rows(at, at, 100));
        if at == 8 {
            query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }
    lab.copy("a.db", "crashed.db");
    30
}

/// Opens a damaged copy. A clear error, or a prefix of what was committed; never a panic and never a wrong row.
fn assert_survives(lab: &Lab, name: &str, count: u32, what: &str) {
    let panics = PANICS.load(Ordering::SeqCst);
    match lab.open_with(name, "") {
        Ok(db) => {
            let check = run(&db, "PRAGMA integrity_check");
            let found =
                run(&db, "SELECT count(*), coalesce(max(id), 0), sum(body <> zeroblob(100) || id) FROM t");
            let numbers: Vec<&str> = found.trim_end().split('|').collect();
            match numbers.as_slice() {
                [rows, last, wrong] if check == "ok\n" => {
                    assert_eq!(rows, last, "{what}: the rows are a prefix");
                    assert!(rows.parse::<u32>().expect("a number") <= count, "{what}");
                    assert!(["0", "NULL"].contains(wrong), "{what}: {wrong} rows are wrong");
                }
                // Damage to SQLite's own pages in the base file is SQLite's to report; it is not made here.
                _ => assert!(
                    check.starts_with("!11: ") || found.starts_with('!'),
                    "{what}: {check:?}, {found:?}"
                ),
            }
        }
        Err(error) => {
            let code = error.sqlite_error().expect("an error of SQLite").extended_code & 0xff;
            let clear =
                [rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_CANTOPEN, rusqlite::ffi::SQLITE_IOERR];
            assert!(clear.contains(&code), "{what}: error {code}: {error}");
            assert!(error.to_string().contains(name), "{what}: the error names the file: {error}");
        }
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), panics, "{what}: a panic");
}

/// The offsets of a file that are tried: its first bytes, those behind the head of a segment, some of the rest, and the
/// footer of the base file.
fn offsets(path: &Path) -> Vec<usize> {
    let length = fs::metadata(path).unwrap().len() as usize;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let mut offsets: Vec<usize> = match extension {
        // The base file of SQLite, with the footer at its end.
        "db" => (length - length % 512..length).collect(),
        // With the index of a sealed segment, which is behind its last frame.
        "seg" => (0..64)
            .chain(3584..3620)
            .chain(4096..4152)
            .chain((4152..12_000).step_by(397))
            .chain(12_288..12_300)
            .collect(),
        _ => (0..80).chain(4096..4180).collect(),
    };
    offsets.retain(|&offset| offset < length);
    offsets
}

#[test]
fn a_wrong_byte_anywhere_is_an_error_or_nothing() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Those of this file are failed tests.
        if info.location().is_some_and(|at| at.file().starts_with("src")) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        before(info);
    }));
    let lab = Lab::new(Engine::Vwal);
    let count = crashed(&lab);
    let mut tried = 0;
    for file in files(&lab, "crashed.db") {
        for offset in offsets(&file) {
            tried += 1;
            let name = format!("damaged{tried}.db");
            lab.copy("crashed.db", &name);
            let target = if file.parent() == lab.path("a.db").parent() {
                lab.path(&name)
            } else {
                lab.wal(&name).join(file.file_name().expect("a name"))
            };
            let mut bytes = fs::read(&target).unwrap();
            bytes[offset] ^= [0x01, 0xFF, 0x80][tried % 3];
            fs::write(&target, bytes).unwrap();
            assert_survives(&lab, &name, count, &format!("byte {offset} of {}", target.display()));
            fs::remove_file(lab.path(&name)).unwrap();
            fs::remove_dir_all(lab.wal(&name)).unwrap();
        }
    }
    assert!(tried > 300, "only {tried} bytes were tried");
}

#[test]
fn a_file_of_any_length_is_an_error_or_nothing() {
    let lab = Lab::new(Engine::Vwal);
    let count = crashed(&lab);
    let mut tried = 0;
    for file in files(&lab, "crashed.db").into_iter().skip(1) {
        let length = fs::metadata(&file).unwrap().len();
        for keep in [0, 1, 63, 64, 511, 512, 4095, 4096, 4097, 4160, 8192, length / 2, length - length.min(1)]
        {
            if keep >= length {
                continue;
            }
            tried += 1;
            let name = format!("short{tried}.db");
            lab.copy("crashed.db", &name);
            let target = lab.wal(&name).join(file.file_name().expect("a name"));
            fs::OpenOptions::new().write(true).open(&target).unwrap().set_len(keep).unwrap();
            assert_survives(&lab, &name, count, &format!("{keep} bytes of {}", target.display()));
            fs::remove_file(lab.path(&name)).unwrap();
            fs::remove_dir_all(lab.wal(&name)).unwrap();
        }
    }
    assert!(tried > 10);
}

#[test]
fn a_missing_file_is_an_error_or_nothing() {
    let lab = Lab::new(Engine::Vwal);
    let count = crashed(&lab);
    for (at, file) in files(&lab, "crashed.db").into_iter().skip(1).enumerate() {
        let name = format!("missing{at}.db");
        lab.copy("crashed.db", &name);
        let target = lab.wal(&name).join(file.file_name().expect("a name"));
        fs::remove_file(&target).unwrap();
        assert_survives(&lab, &name, count, &format!("without {}", target.display()));
    }
}

/// For each page its newest frame: the file, and the offset in it.
fn newest_frames(lab: &Lab, name: &str) -> BTreeMap<u32, (PathBuf, usize)> {
    let mut newest = BTreeMap::new();
    for path in files(lab, name).into_iter().filter(|path| path.extension().is_some_and(|end| end == "seg")) {
        let bytes = fs::read(&path).unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let start: u64 = stem.parse().unwrap();
        for (at, frame) in bytes[4096..].chunks_exact(56 + 512).enumerate() {
            if frame[24..32] != (start + at as u64).to_be_bytes() {
                break;
            }
            let page_no = u32::from_be_bytes(frame[..4].try_into().unwrap());
            newest.insert(page_no, (path.clone(), 4096 + at * (56 + 512)));
        }
    }
    newest
}

#[test]
fn a_damaged_frame_of_a_sealed_segment_is_an_error_where_it_is_needed_and_nothing_else_is_lost() {
    let lab = Lab::new(Engine::Vwal);
    let kept = "vwal_swap=frames%3E%3D12&vwal_checkpoint_age_ms=0&vwal_checkpoint_size=1GiB";
    let db = lab.open_with("a.db", kept).unwrap();
    query(
        &db,
        &format!("PRAGMA synchronous=FULL; PRAGMA page_size=512; PRAGMA wal_autocheckpoint=0; {TABLE}"),
    );
    (1..=60).for_each(|at| drop(query(&db, &rows(at, at, 300))));
    let is_sealed = |path: &Path| fs::read(path).unwrap()[3584..3592] == *b"VWALSEAL";
    let segments =
        || files(&lab, "a.db").into_iter().filter(|path| path.extension().is_some_and(|end| end == "seg"));
    while segments().filter(|path| is_sealed(path)).count() < segments().count() - 1 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    lab.copy("a.db", "crashed.db");

    // A page that only a sealed segment has, and which holds rows: those in the middle have not been written since.
    let (page_no, (path, offset)) = newest_frames(&lab, "crashed.db").into_iter().nth(20).unwrap();
    assert!(is_sealed(&path), "page {page_no}");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[offset + 56 + 400] ^= 4;
    fs::write(&path, bad).unwrap();
    let db = lab.open_with("crashed.db", "vwal_swap=frames%3E%3D12&vwal_checkpoint_size=1").unwrap();
    let read = |db: &rusqlite::Connection, id: u32| {
        run(db, &format!("SELECT body = zeroblob(300) || {id} FROM t WHERE id = {id}"))
    };
    let failed: Vec<u32> = (1..=60).filter(|&id| read(&db, id) != "1\n").collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    let error = read(&db, failed[0]);
    assert!(error.starts_with("!11: ") || error.starts_with("!10: "), "{error}");
    assert!(run(&db, "PRAGMA wal_checkpoint(TRUNCATE)").starts_with('!'));
    // The background pass says which file it is, and where.
    let told = loop {
        match query(&db, "SELECT last_error FROM vwal_status").as_str() {
            "NULL" => std::thread::sleep(std::time::Duration::from_millis(5)),
            told => break told.to_owned(),
        }
    };
    assert!(told.contains(path.to_str().unwrap()) && told.contains(&format!("offset {offset}")), "{told}");
    drop(db);
    // The log is all there: with the frame put right, so is the row.
    fs::write(&path, good).unwrap();
    let db = lab.open_with("crashed.db", kept).unwrap();
    assert!((1..=60).all(|id| read(&db, id) == "1\n"));
    query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
}

#[test]
fn foreign_files_in_the_log_directory_are_left_alone() {
    let lab = Lab::new(Engine::Vwal);
    crashed(&lab);
    let foreign = ["notes.txt", "1.seg", "00000000000000000000.seg.bak", "x.free"];
    for name in foreign {
        fs::write(lab.wal("crashed.db").join(name), "not ours").unwrap();
    }
    let db = lab.open("crashed.db");
    assert_eq!(query(&db, "SELECT count(*) FROM t"), "30");
    query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
    drop(db);
    for name in foreign {
        assert_eq!(fs::read_to_string(lab.wal("crashed.db").join(name)).unwrap(), "not ours", "{name}");
    }
}
