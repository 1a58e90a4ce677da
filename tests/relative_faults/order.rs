//! "Segments were unlinked newest first, so a crash in between let an old segment shadow newer pages."

use std::ffi::CString;
use std::path::Path;

use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};
use crate::{TABLE, rows};

/// Names that left a directory, in the order in which they did (inotify).
struct Departures(i32);

impl Departures {
    fn watch(directory: &Path) -> Self {
        let path = CString::new(directory.to_str().expect("a path of text")).expect("no zero byte");
        // SAFETY: the path is a string that ends with a zero byte; the descriptor is closed in `drop`.
        unsafe {
            let descriptor = libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
            assert!(descriptor >= 0, "inotify works");
            let watch =
                libc::inotify_add_watch(descriptor, path.as_ptr(), libc::IN_DELETE | libc::IN_MOVED_FROM);
            assert!(watch >= 0, "the directory can be watched");
            Departures(descriptor)
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut buffer = [0_u8; 65536];
        loop {
            // SAFETY: the buffer is as long as said.
            let length = unsafe { libc::read(self.0, buffer.as_mut_ptr().cast(), buffer.len()) };
            if length <= 0 {
                return names;
            }
            let mut rest = &buffer[..length as usize];
            // struct inotify_event: wd, mask, cookie, len: 4 bytes each; then the name, filled up with zeros.
            while rest.len() >= 16 {
                let size = u32::from_ne_bytes(rest[12..16].try_into().expect("four bytes")) as usize;
                let name = String::from_utf8_lossy(&rest[16..16 + size]);
                names.push(name.trim_end_matches('\0').to_owned());
                rest = &rest[16 + size..];
            }
        }
    }
}

impl Drop for Departures {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe { libc::close(self.0) };
    }
}

#[test]
fn segments_go_oldest_first() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open_with("a.db", "vwal_swap=frames%3E%3D5").unwrap();
    query(&db, &format!("{TABLE}; {}", rows(1, 30, 500)));
    let departures = Departures::watch(&lab.wal("a.db"));
    let mut gone = Vec::new();
    for round in 0..4 {
        for _ in 0..20 {
            query(&db, "UPDATE t SET body = body || 'x' WHERE id % 3 = 0");
        }
        if round % 2 == 0 {
            query(&db, "SELECT vwal_checkpoint()");
        } else {
            query(&db, "PRAGMA wal_checkpoint(TRUNCATE)");
        }
        let last: u64 = query(&db, "SELECT vwal_frame_no()").parse().expect("a number");
        // One that begins behind the last frame was begun ahead of need and is empty: it may go at any time.
        let has_frames = |name: &String| {
            name.strip_suffix(".seg").is_some_and(|start| start.parse::<u64>().expect("a number") <= last)
        };
        gone.extend(departures.names().into_iter().filter(has_frames));
    }
    assert!(gone.len() > 10, "many segments were freed: {gone:?}");
    assert!(gone.is_sorted(), "oldest first: {gone:?}");
    assert_intact(&db, "main");
}

#[test]
fn any_number_of_oldest_segments_may_be_gone_when_a_crash_comes() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open_with("a.db", "vwal_swap=frames%3E%3D5").unwrap();
    query(&db, &format!("{TABLE}; {}", rows(1, 30, 500)));
    for round in 0..10 {
        query(&db, &format!("UPDATE t SET body = {round} WHERE id % 3 = {}", round % 3));
    }
    let expected = crate::text::dump(&db, "main");
    // The files before the pass, with the base file and the metadata after it: a crash before anything was freed.
    lab.copy("a.db", "before.db");
    query(&db, "SELECT vwal_checkpoint()");
    lab.copy("a.db", "after.db");
    let before = lab.wal("before.db");
    let mut old: Vec<_> = std::fs::read_dir(&before).unwrap().map(|entry| entry.unwrap().path()).collect();
    old.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    old.sort();
    assert!(old.len() > 3, "several segments");
    for freed in 0..=old.len() {
        let name = format!("crashed{freed}.db");
        lab.copy("after.db", &name);
        for segment in &old[freed..] {
            let target = lab.wal(&name).join(segment.file_name().expect("a name"));
            if !target.exists() {
                std::fs::copy(segment, target).unwrap();
            }
        }
        let after = lab.open(&name);
        assert_intact(&after, "main");
        assert_eq!(
            crate::text::dump(&after, "main"),
            expected,
            "{freed} segments were freed before the crash"
        );
    }
}
