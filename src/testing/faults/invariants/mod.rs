//! A test for each numbered invariant of `docs/design.md`, by its number. Number 12 needs processes, and is in
//! `tests/invariants.rs`.

mod base;
mod commits;
mod recovery;
mod rest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::rig::{BASE, Content, DIR, Db, History, PAGE, Rig, in_dir};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::meta::{META_SLOT_SIZE, Meta};
use crate::format::segment_header::SEGMENT_HEAD_SIZE;
use crate::segment::parse_segment_name;
use crate::testing::io::{Disks, FileId, Image, Op, Record, TestIo};

/// Bytes of a frame in a segment.
const FRAME: u64 = (FRAME_HEADER_SIZE + PAGE) as u64;

/// A database, the commits that it has seen, and where each of them ends.
struct Story {
    rig: Rig,
    db: Db,
    history: History,
    /// The last commit.
    k: u32,
    /// The last frame of each commit.
    ends: BTreeMap<u32, u64>,
}

impl Story {
    fn new(rig: Rig) -> Story {
        let db = rig.open().unwrap();
        Story {
            rig,
            db,
            history: History::from([(0, Content::first())]),
            k: 0,
            ends: BTreeMap::from([(0, 0)]),
        }
    }

    /// The next commit; `full`: `synchronous=FULL`.
    fn commit(&mut self, pages: &[u32], size: u32, full: bool) {
        self.attempt(pages, size);
        self.db.commit(self.k, pages, size, full).unwrap();
    }

    /// A commit begins, and the caller does the rest.
    fn attempt(&mut self, pages: &[u32], size: u32) {
        let next = self.history[&self.k].after(self.k + 1, pages, size);
        self.k += 1;
        self.history.insert(self.k, next);
        self.ends.insert(self.k, self.ends[&(self.k - 1)] + pages.len() as u64);
    }

    /// What is left when the power goes now.
    fn crash(&self) -> u32 {
        self.recover(self.rig.io.disks().crash_hard())
    }

    /// Which commit a disk holds.
    fn recover(&self, image: Image) -> u32 {
        let rig = Rig { options: self.rig.options.clone(), ..Rig::from(image) };
        rig.open_and_check(&self.history).unwrap_or_else(|wrong| panic!("{wrong}")).1
    }

    /// The commit that ends at a frame.
    fn commit_at(&self, frame_no: u64) -> u32 {
        *self.ends.iter().find(|(_, end)| **end == frame_no).expect("a commit ends there").0
    }
}

/// Go through what was done: what the disk may hold before each operation, the paths of the files then, and the operation.
fn walk(io: &TestIo, mut visit: impl FnMut(&Disks, &BTreeMap<FileId, PathBuf>, &Record)) {
    let mut disks = io.start();
    let mut paths = BTreeMap::new();
    for (path, node) in disks.crash_hard().names {
        if let crate::testing::io::Node::File(id) = node {
            paths.insert(id, path);
        }
    }
    for record in io.trace() {
        visit(&disks, &paths, &record);
        disks.apply(&record);
        match &record.op {
            Op::Create { file, path } => drop(paths.insert(*file, path.clone())),
            Op::Rename { file, to, .. } => drop(paths.insert(*file, to.clone())),
            _ => {}
        }
    }
}

/// The first frame number in the name of a segment.
fn start_of(path: &Path) -> Option<u64> {
    parse_segment_name(path.file_name()?.to_str()?)
}

/// The segments of an image, oldest first.
fn segments(image: &Image) -> Vec<PathBuf> {
    image.list(Path::new(DIR)).filter(|path| start_of(path).is_some()).map(Path::to_owned).collect()
}

/// What the metadata in an image says.
pub(super) fn meta_of(image: &Image) -> Option<Meta> {
    let bytes = image.read(&in_dir("meta"))?;
    let slots = bytes.chunks(META_SLOT_SIZE).filter_map(|slot| Meta::decode(slot).ok().flatten());
    slots.max_by_key(|meta| meta.sequence)
}

/// The footer of the base file in an image.
pub(super) fn footer_of(image: &Image) -> Option<Footer> {
    let bytes = image.read(Path::new(BASE))?;
    let at = bytes.len().checked_sub(FOOTER_SIZE).filter(|at| at % PAGE == 0)?;
    Footer::decode(&bytes[at..]).ok()
}

/// Where a frame is in its segment.
fn offset_of(frame_no: u64, start: u64) -> u64 {
    SEGMENT_HEAD_SIZE as u64 + (frame_no - start) * FRAME
}
