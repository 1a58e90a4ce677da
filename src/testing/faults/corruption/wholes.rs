//! Logs that are whole, and where things are in their files.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::format::footer::FOOTER_SIZE;
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::meta::META_SLOT_SIZE;
use crate::format::segment_header::{SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEAD_SIZE, SEGMENT_HEADER_SIZE};
use crate::format::segment_index::{INDEX_ALIGN, INDEX_MAGIC_SIZE, INDEX_RECORD_SIZE};
use crate::io::SyncSite;
use crate::log::read_meta;
use crate::testing::faults::rig::{BASE, Content, DIR, History, PAGE, Rig};
use crate::testing::io::{Fault, Image, Kind};

const FRAME: usize = FRAME_HEADER_SIZE + PAGE;
/// Bytes of a metadata slot that mean something.
const META_RECORD: usize = 124;

/// A log whose files a test damages.
pub struct Whole {
    pub name: &'static str,
    pub image: Image,
    pub history: History,
    /// The last commit.
    pub last: u32,
    pub segments: Vec<SegmentFile>,
}

/// A segment of it.
pub struct SegmentFile {
    pub path: PathBuf,
    pub first_frame_no: u64,
    pub frames: usize,
    /// Which commit is the last one that is complete before this segment begins.
    pub commit_before: u32,
    pub is_sealed: bool,
}

impl SegmentFile {
    pub fn frame(&self, at: usize) -> Range<usize> {
        let start = SEGMENT_HEAD_SIZE + at * FRAME;
        start..start + FRAME
    }

    /// Header, seal, index, the headers of all frames.
    pub fn structures(&self) -> Vec<usize> {
        let mut offsets: Vec<usize> =
            (0..SEGMENT_HEADER_SIZE).chain(SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE).collect();
        (0..self.frames).for_each(|at| offsets.extend(self.frame(at).take(FRAME_HEADER_SIZE)));
        if self.is_sealed {
            let index = self.frame(self.frames).start.next_multiple_of(INDEX_ALIGN as usize);
            offsets.extend(index..index + INDEX_MAGIC_SIZE + self.frames * INDEX_RECORD_SIZE);
        }
        offsets
    }

    /// The pages of all frames.
    pub fn pages(&self) -> impl Iterator<Item = usize> {
        (0..self.frames).flat_map(|at| self.frame(at).skip(FRAME_HEADER_SIZE))
    }
}

/// All of them. Every commit was under `synchronous=FULL`.
pub fn all() -> Vec<Whole> {
    vec![with_segments(), interrupted_pass(), closed()]
}

/// Commits of one to four pages; a pass, sealed segments, and a current one.
fn commits(rig: &Rig) -> (crate::testing::faults::rig::Db, History, Vec<u64>) {
    let db = rig.open().expect("it opens");
    let mut history = History::from([(0, Content::first())]);
    let mut ends = vec![0];
    for k in 1..=22u32 {
        let size = 2 + k / 3;
        let mut pages = vec![2];
        pages.extend((3..=size).filter(|page| (page + k).is_multiple_of(3)));
        pages.extend((k.is_multiple_of(2)).then_some(1));
        // A page that is new has to be written.
        let before = history[&(k - 1)].pages.len() as u32;
        pages.extend((before + 1..=size).filter(|page| !(page + k).is_multiple_of(3)));
        history.insert(k, history[&(k - 1)].after(k, &pages, size));
        db.commit(k, &pages, size, true).expect("a commit");
        ends.push(db.log().published_frame_no());
        if k == 9 {
            db.pass().expect("a pass");
        }
        // The last commits stay in a segment that is not sealed.
        if k <= 20 {
            db.log().writer().look_after_current(&mut Some(db.log().published_frame_no())).expect("a swap");
            db.log().writer().seal_segments().expect("a seal");
        }
    }
    (db, history, ends)
}

/// One segment that is not sealed, checkpointed up to commit 12 of 22. `full`: each commit says how far the ones before were
/// durable. Otherwise no frame does: all were fsynced after the last one was written.
pub fn one_segment(full: bool) -> Whole {
    let rig = Rig::new().with("vwal_swap", "frames>=100000");
    let db = rig.open().expect("it opens");
    let mut history = History::from([(0, Content::first())]);
    let mut ends = vec![0];
    for k in 1..=22u32 {
        let pages: Vec<u32> =
            [1, 2, 3, 4].into_iter().filter(|page| *page == 2 || (page + k) % 3 == 0).collect();
        let pages = if k == 1 { vec![1, 2, 3, 4] } else { pages };
        history.insert(k, history[&(k - 1)].after(k, &pages, 4));
        db.commit(k, &pages, 4, full).expect("a commit");
        ends.push(db.log().published_frame_no());
    }
    db.log().durability().sync_to(db.log().published_frame_no(), SyncSite::UnaskedFrames).expect("an fsync");
    db.backfill(ends[12] as u32);
    assert_eq!(db.log().checkpointer().checkpoint().expect("a pass"), ends[12]);
    drop(db);
    Whole::new("one segment", rig.io.live(), history, &ends)
}

pub fn with_segments() -> Whole {
    let rig = Rig::new();
    let (db, history, ends) = commits(&rig);
    drop(db);
    Whole::new("a log with segments", rig.io.live(), history, &ends)
}

fn interrupted_pass() -> Whole {
    let rig = Rig::new();
    let (db, history, ends) = commits(&rig);
    rig.io.fail(Fault::on(Kind::Write, libc::EIO).at("app.db").after(1));
    db.pass().expect_err("the base file cannot be written");
    drop(db);
    Whole::new("an interrupted pass", rig.io.live(), history, &ends)
}

fn closed() -> Whole {
    let rig = Rig::new();
    let (db, history, ends) = commits(&rig);
    db.truncate().expect("everything is drained");
    db.writer.close_wal();
    drop(db);
    Whole::new("a closed log", rig.io.live(), history, &ends)
}

impl Whole {
    fn new(name: &'static str, image: Image, history: History, ends: &[u64]) -> Whole {
        let last = *history.keys().next_back().expect("commits");
        let mut segments = Vec::new();
        for path in image.list(Path::new(DIR)).filter(|path| path.extension().is_some_and(|end| end == "seg"))
        {
            let bytes = image.read(path).expect("a file");
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("text");
            let first_frame_no: u64 = stem.parse().expect("a number");
            let is_frame = |at: &usize| {
                let start = SEGMENT_HEAD_SIZE + at * FRAME;
                let frame_no = (first_frame_no + *at as u64).to_be_bytes();
                bytes.get(start + 24..start + 32) == Some(&frame_no)
            };
            let frames = (0..).take_while(is_frame).count();
            let commit_before =
                ends.iter().rposition(|&end| end < first_frame_no).expect("there is 0") as u32;
            segments.push(SegmentFile {
                path: path.to_owned(),
                first_frame_no,
                frames,
                commit_before,
                is_sealed: bytes[SEAL_OFFSET..SEAL_OFFSET + 8] == *b"VWALSEAL",
            });
        }
        segments.sort_by_key(|segment| segment.first_frame_no);
        Whole { name, image, history, last, segments }
    }

    /// The base file has the frames up to this one.
    pub fn checkpointed(&self) -> u64 {
        let rig = Rig::from(self.image.clone());
        read_meta(&rig.io, Path::new(DIR)).expect("metadata").expect("a state").checkpointed_frame_no
    }

    /// The last segment that has frames, if this is one.
    pub fn newest(&self, path: &Path) -> Option<&SegmentFile> {
        self.segments.iter().rfind(|segment| segment.frames > 0).filter(|segment| segment.path == path)
    }

    pub fn meta() -> PathBuf {
        Path::new(DIR).join("meta")
    }

    /// Every file that means something.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![PathBuf::from(BASE), Whole::meta()];
        files.extend(self.segments.iter().map(|segment| segment.path.clone()));
        files
    }

    pub fn bytes(&self, path: &Path) -> &[u8] {
        self.image.read(path).expect("a file of the log")
    }

    /// The files with one of them changed.
    pub fn with(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Image {
        let mut image = self.image.clone();
        let mut bytes = self.bytes(path).to_vec();
        change(&mut bytes);
        image.put(path, bytes);
        image
    }

    /// Header, footer or index: bytes of a file that are not pages.
    pub fn structures(&self, path: &Path) -> Vec<usize> {
        if path == Path::new(BASE) {
            let length = self.bytes(path).len();
            return (0..100).chain(length - FOOTER_SIZE..length).collect();
        }
        if path == Whole::meta() {
            return (0..META_RECORD).chain(META_SLOT_SIZE..META_SLOT_SIZE + META_RECORD).collect();
        }
        let segment = self.segments.iter().find(|segment| segment.path == path).expect("a segment");
        segment.structures()
    }
}
