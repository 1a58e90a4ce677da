//! Damage to the metadata slots: the open is refused, or everything is there. The base file is never cut back.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

const SLOT: usize = 4096;
const RECORD: usize = 124;
const FOOTER_SIZE: u64 = vwal::format::footer::FOOTER_SIZE as u64;
const ROWS: i64 = 120;

fn open(path: &Path) -> rusqlite::Result<Connection> {
    vwal::register(vwal::Options::new()).expect("vwal can be registered");
    Connection::open(format!("file:{}?vfs=vwal", path.display()))
}

fn count(path: &Path) -> rusqlite::Result<i64> {
    open(path)?.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

/// A database with [`ROWS`] rows whose last transaction reached the base file in a pass of its own; closed.
fn made(path: &Path) {
    let db = open(path).unwrap();
    db.execute_batch("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'); SELECT vwal_checkpoint();")
        .unwrap();
    let tx = db.unchecked_transaction().unwrap();
    for a in 1..ROWS {
        tx.execute("INSERT INTO t VALUES (?1, randomblob(500))", [a]).unwrap();
    }
    tx.commit().unwrap();
}

fn copy(from: &Path, to: &Path) {
    let (from_wal, to_wal) = (wal(from), wal(to));
    let _ = fs::remove_dir_all(&to_wal);
    fs::create_dir(&to_wal).unwrap();
    fs::copy(from, to).unwrap();
    for entry in fs::read_dir(from_wal).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to_wal.join(entry.file_name())).unwrap();
    }
}

fn wal(path: &Path) -> std::path::PathBuf {
    path.with_file_name(format!("{}-wal", path.file_name().unwrap().to_str().unwrap()))
}

fn damage(original: &Path, copied: &Path, change: impl Fn(&mut Vec<u8>), what: &str) -> bool {
    copy(original, copied);
    let meta = wal(copied).join("meta");
    let mut bytes = fs::read(&meta).unwrap();
    change(&mut bytes);
    fs::write(&meta, bytes).unwrap();
    let opened = count(copied);
    match &opened {
        Ok(rows) => assert_eq!(*rows, ROWS, "{what}"),
        Err(error) => assert!(error.to_string().contains("meta"), "{what}: {error}"),
    }
    assert!(
        fs::metadata(copied).unwrap().len() >= fs::metadata(original).unwrap().len(),
        "{what}: the base file shrank"
    );
    opened.is_ok()
}

#[test]
fn a_flipped_bit_in_either_slot_of_a_closed_database_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (original, copied) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    made(&original);
    for slot in 0..2 {
        for at in (0..RECORD).step_by(3) {
            let change = |bytes: &mut Vec<u8>| bytes[slot * SLOT + at] ^= 1 << (at % 8);
            // The other slot and the footer tell all there is to know.
            assert!(damage(&original, &copied, change, &format!("slot {slot}, byte {at}")));
        }
    }
}

#[test]
fn without_metadata_and_with_a_lost_footer_the_open_is_refused_or_right() {
    let dir = tempfile::tempdir().unwrap();
    let (original, copied) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    made(&original);
    for len in [0, 1, 75, 76, SLOT, SLOT + 1, SLOT + 75, 2 * SLOT - 1] {
        damage(&original, &copied, |bytes| bytes.truncate(len), &format!("cut to {len}"));
    }
    for slot in 0..2 {
        damage(
            &original,
            &copied,
            |bytes| bytes[slot * SLOT..][..SLOT].fill(0),
            &format!("slot {slot} zeroed"),
        );
        damage(
            &original,
            &copied,
            |bytes| bytes[slot * SLOT..][..SLOT].fill(0xA7),
            &format!("slot {slot} garbage"),
        );
    }
    damage(&original, &copied, |bytes| bytes.fill(0xA7), "both slots garbage");
    // The newer slot and the footer are gone: what was checkpointed cannot be told, so nothing is touched.
    for slot in 0..2 {
        copy(&original, &copied);
        let len = fs::metadata(&copied).unwrap().len();
        let meta = wal(&copied).join("meta");
        let mut bytes = fs::read(&meta).unwrap();
        bytes[slot * SLOT] ^= 1;
        fs::write(&meta, bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&copied).unwrap();
        file.set_len(len - FOOTER_SIZE).unwrap();
        if let Ok(rows) = count(&copied) {
            assert_eq!(rows, ROWS, "slot {slot}");
        }
        assert!(
            fs::metadata(&copied).unwrap().len() >= len - FOOTER_SIZE,
            "slot {slot}: the base file shrank"
        );
    }
}
