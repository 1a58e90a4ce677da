//! Each refusal that the command can meet.

use std::fs;
use std::path::{Path, PathBuf};

use crate::in_sql::{
    damage_frames, damage_metadata, empty_storage, held, link_directory, name_too_long, old_copy,
    replace_killed, stock_in_wal_mode,
};
use crate::lab::Lab;
use crate::scene::{Told, command, killed, lab, spoil, url};
use crate::table::{Heard, ROWS};
use crate::text::query;

#[test]
fn each_is_told_on_standard_error() {
    for row in ROWS {
        let Heard::Command { exit, words, provoke } = &row.command else { continue };
        let told = provoke();
        assert_eq!(told.code, *exit, "{}: {told:?}", row.name);
        assert!(told.message.starts_with("vwal: "), "{}: {told:?}", row.name);
        assert!(told.message.contains(words), "{}: {told:?}", row.name);
        assert_eq!(told.message.lines().count(), 1, "{}: {told:?}", row.name);
    }
}

fn on(subcommand: &str, db: &Path) -> Told {
    command(&[&subcommand, &db], &[])
}

pub fn another_process() -> Told {
    let lab = lab();
    let _other = held(&lab);
    on("attach", &lab.path("a.db"))
}

pub fn stock_has_it() -> Told {
    let lab = lab();
    let _stock = stock_in_wal_mode(&lab);
    on("attach", &lab.path("a.db"))
}

pub fn foreign() -> Told {
    let lab = lab();
    replace_killed(&lab);
    on("detach", &lab.path("killed.db"))
}

pub fn damaged_log() -> Told {
    let lab = lab();
    damage_metadata(&lab);
    on("detach", &lab.path("killed.db"))
}

pub fn damaged_frame() -> Told {
    let lab = lab();
    damage_frames(&lab);
    on("detach", &lab.path("killed.db"))
}

pub fn linked_directory() -> Told {
    let lab = lab();
    link_directory(&lab);
    on("attach", &lab.path("a.db"))
}

pub fn no_directory() -> Told {
    let lab = lab();
    let name = name_too_long(&lab);
    on("attach", &lab.path(&name))
}

pub fn wrong_option() -> Told {
    let lab = lab();
    drop(stock_in_wal_mode(&lab));
    command(&[&"attach", &lab.path("a.db")], &[("VWAL_SWOP", "frames>=5")])
}

pub fn empty_file() -> Told {
    let lab = lab();
    fs::write(lab.path("a.db"), "").expect("an empty file");
    on("attach", &lab.path("a.db"))
}

pub fn emptied() -> Told {
    let lab = lab();
    killed(&lab, "");
    let before = files(&lab.wal("killed.db"));
    fs::write(lab.path("killed.db"), "").expect("an empty file");
    let told = on("detach", &lab.path("killed.db"));
    assert_eq!(on("attach", &lab.path("killed.db")).message, told.message);
    assert_eq!(files(&lab.wal("killed.db")), before, "nothing is moved");
    told
}

pub fn removed_beside_its_log() -> Told {
    let lab = lab();
    killed(&lab, "");
    fs::remove_file(lab.path("killed.db")).expect("it is removed");
    on("attach", &lab.path("killed.db"))
}

pub fn stranger() -> Told {
    let lab = lab();
    drop(lab.create("a.db", "CREATE TABLE t(x)"));
    fs::write(lab.wal("a.db").join(".DS_Store"), "not ours").expect("it is written");
    on("detach", &lab.path("a.db"))
}

pub fn not_stored() -> Told {
    let lab = lab();
    drop(lab.create("a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1)"));
    let storage = url(&lab, "unmounted/store");
    command(&[&"ship", &lab.path("a.db"), &storage, &"--once"], &[("VWAL_STORAGE_TIMEOUT_MS", "200")])
}

pub fn storage_emptied() -> Told {
    let lab = lab();
    empty_storage(&lab);
    // There is nothing to ship, so that this is about the look alone.
    let storage = url(&lab, "store");
    command(&[&"ship", &lab.path("a.db"), &storage, &"--once"], &[("VWAL_STORAGE_TIMEOUT_MS", "2000")])
}

pub fn fenced() -> Told {
    let lab = lab();
    old_copy(&lab);
    command(&[&"ship", &lab.path("copy.db"), &url(&lab, "store"), &"--once"], &[])
}

pub fn storage_missing() -> Told {
    let lab = lab();
    command(&[&"log", &url(&lab, "unmounted/store")], &[])
}

pub fn nothing_there() -> Told {
    let lab = lab();
    fs::create_dir(lab.path("store")).expect("a directory");
    restore(&lab, &[])
}

fn shipped(lab: &Lab) {
    let db = lab.open_with("a.db", &format!("vwal_storage={}", url(lab, "store"))).expect("it opens");
    query(&db, "CREATE TABLE t(x); INSERT INTO t VALUES (1); SELECT vwal_sync()");
}

fn restore(lab: &Lab, more: &[&str]) -> Told {
    let (storage, target) = (url(lab, "store"), lab.path("back.db"));
    let target = target.to_str().expect("text");
    let args = [&["restore", storage.as_str(), "-o", target], more].concat();
    let args: Vec<&dyn AsRef<std::ffi::OsStr>> = args.iter().map(|arg| arg as _).collect();
    command(&args, &[])
}

pub fn not_restorable() -> Told {
    let lab = lab();
    shipped(&lab);
    restore(&lab, &["--frame", "4711"])
}

pub fn in_the_way() -> Told {
    let lab = lab();
    shipped(&lab);
    fs::write(lab.path("back.db"), "precious").expect("a file");
    let told = restore(&lab, &[]);
    assert_eq!(fs::read(lab.path("back.db")).expect("it is there"), b"precious");
    told
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

pub fn damaged_object() -> Told {
    let lab = lab();
    shipped(&lab);
    for object in files(&lab.path("store")) {
        let length = fs::metadata(&object).expect("an object").len() as usize;
        (0..length).step_by(16).for_each(|at| spoil(&object, at));
    }
    restore(&lab, &[])
}
