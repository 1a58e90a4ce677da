//! Objects that older versions of vwal have written can be read for ever. `tests/data` has a bundle, and the head and a
//! part of a large one, of each version of the format. They were written by `VWAL_BLESS=1 cargo test --test
//! bundle_versions` when the version was new; existing ones are never written again.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use vwal::format::bundle::{
    BlockReader, Commit, CommitReader, Content, ObjectBuilder, PartInfo, PartKind, Span, Summary, Trailer,
    check_front,
};
use vwal::{Level, LogId, PageSize};

const PAGE: usize = 1024;

type Images = Vec<(u32, u64, Vec<u8>)>;

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect()
}

fn log_id() -> LogId {
    "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0123".parse().expect("a UUID")
}

/// A page in which compression finds something (kind 0), or nothing (kind 1).
fn image(page_no: u32, frame_no: u64, kind: u32) -> Vec<u8> {
    let mut state = u64::from(page_no).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut page = vec![0; PAGE];
    for byte in &mut page[..if kind == 0 { 100 } else { PAGE }] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_be_bytes()[7];
    }
    page[50..58].copy_from_slice(&frame_no.to_be_bytes());
    page
}

fn images(pages: std::ops::Range<u32>) -> Images {
    let versions = |page_no: u32| {
        let frames = (0..1 + page_no % 3).map(move |n| 100 + u64::from(n) * 50 + u64::from(page_no));
        frames.map(move |frame_no| (page_no, frame_no, image(page_no, frame_no, page_no % 2)))
    };
    pages.flat_map(versions).collect()
}

fn commits() -> Vec<Commit> {
    let commit = |n: u64| Commit {
        frame_no: 110 + n * 10,
        // The clock is set back once.
        commit_us: 1_700_000_000_000_000 + n * 1000 - if n > 5 { 3_600_000_000 } else { 0 },
        db_size_pages: 40 + n as u32,
    };
    (0..13).map(commit).collect()
}

fn summary() -> Summary {
    Summary {
        log_id: log_id(),
        level: Level::ZERO,
        content: Content::EveryFrame,
        start_frame_no: 101,
        end_frame_no: 230,
        db_size_pages: 52,
        nonce: 0x3132_3334_3536_3738,
    }
}

fn builder(images: &Images, commits: &[Commit]) -> ObjectBuilder {
    let mut builder = ObjectBuilder::new(PageSize::new(PAGE as u32).expect("a page size"));
    images.iter().for_each(|(page_no, frame_no, image)| builder.push_image(*page_no, *frame_no, image));
    commits.iter().for_each(|&commit| builder.push_commit(commit));
    builder
}

/// A bundle in one object; and one with a part: the part, and the head.
fn write() -> [(&'static str, Vec<u8>); 3] {
    let (whole, _) = builder(&images(1..30), &commits()).finish(&summary(), 0);
    let (part, trailer) = builder(&images(1..10), &[]).finish(&summary(), 1);
    let info = PartInfo {
        number: 1,
        kind: PartKind::Pages,
        first_page_no: 1,
        last_page_no: 9,
        first_frame_no: 0,
        last_frame_no: 0,
        size: part.len() as u64,
        trailer_crc: trailer.checksum(),
    };
    let mut head = builder(&images(10..30), &commits());
    head.push_part(&info, &trailer);
    let (head, _) = head.finish(&summary(), 0);
    [("bundle-v1.bundle", whole), ("bundle-v1-part.part", part), ("bundle-v1-head.bundle", head)]
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[usize::try_from(span.start).expect("an offset")..usize::try_from(span.end).expect("an offset")]
}

struct Object {
    trailer: Trailer,
    images: Images,
    commits: Vec<Commit>,
    parts: Vec<PartInfo>,
}

fn read(name: &str) -> Object {
    let path = data(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    decode(&bytes).unwrap_or_else(|problem| panic!("{name}: {problem}"))
}

fn decode(bytes: &[u8]) -> Result<Object, String> {
    check_front(bytes)?;
    let trailer = Trailer::decode(bytes, bytes.len() as u64)?;
    let mut images = Images::new();
    for info in trailer.page_blocks(slice(bytes, trailer.page_index_span()))? {
        let mut block = BlockReader::new(&info, slice(bytes, info.span.clone()), trailer.page_size)?;
        while let Some((page_no, frame_no, image)) = block.next_image()? {
            images.push((page_no, frame_no, image.to_vec()));
        }
    }
    let mut commits = Vec::new();
    for info in trailer.commit_blocks(slice(bytes, trailer.commit_index_span()))? {
        let mut block = CommitReader::new(&info, slice(bytes, info.span.clone()))?;
        while let Some(commit) = block.next_commit()? {
            commits.push(commit);
        }
    }
    let parts = trailer.parts(slice(bytes, trailer.parts_span()))?;
    Ok(Object { trailer, images, commits, parts })
}

fn check_summary(trailer: &Trailer, part: u32) {
    let Summary { log_id, level, content, start_frame_no, end_frame_no, db_size_pages, nonce } = summary();
    assert_eq!((trailer.log_id, trailer.level, trailer.content), (log_id, level, content));
    assert_eq!((trailer.start_frame_no, trailer.end_frame_no), (start_frame_no, end_frame_no));
    assert_eq!((trailer.db_size_pages, trailer.nonce, trailer.part), (db_size_pages, nonce, part));
}

/// Write the files that are not there, if that is wanted.
fn bless() {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().expect("no test panicked in here");
    if *done || std::env::var_os("VWAL_BLESS").is_none_or(|value| value != "1") {
        return;
    }
    *done = true;
    for (name, bytes) in write().into_iter().filter(|(name, _)| !data(name).exists()) {
        fs::create_dir_all(data("")).expect("a directory");
        fs::write(data(name), bytes).expect("a file");
    }
}

#[test]
fn a_bundle_of_version_1_is_read() {
    bless();
    let object = read("bundle-v1.bundle");
    check_summary(&object.trailer, 0);
    assert!(object.images == images(1..30));
    assert_eq!(object.commits, commits());
    assert_eq!(object.parts, []);
    assert_eq!(object.trailer.image_count, images(1..30).len() as u64);
    assert_eq!(object.trailer.last_commit_us, commits()[12].commit_us);
    assert_eq!(object.trailer.max_commit_us, commits()[5].commit_us);
    assert_eq!(object.trailer.min_commit_us, commits()[6].commit_us);
}

#[test]
fn a_bundle_of_version_1_with_a_part_is_read() {
    bless();
    let part = read("bundle-v1-part.part");
    check_summary(&part.trailer, 1);
    assert!(part.images == images(1..10) && part.commits.is_empty());
    let head = read("bundle-v1-head.bundle");
    check_summary(&head.trailer, 0);
    assert!(head.images == images(10..30));
    assert_eq!(head.commits, commits());
    let [info] = head.parts[..] else { panic!("{:?}", head.parts) };
    assert_eq!((info.number, info.kind, info.first_page_no, info.last_page_no), (1, PartKind::Pages, 1, 9));
    assert_eq!((info.size, info.trailer_crc), (part.trailer.object_size(), part.trailer.checksum()));
    assert_eq!(head.trailer.image_count, images(1..30).len() as u64);
}

/// What is written today has the same content, though not always the same bytes: the compressor may find better ones.
#[test]
fn the_same_content_is_written_today() {
    for (name, bytes) in write() {
        let now = decode(&bytes).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        bless();
        let then = read(name);
        assert!(now.images == then.images && now.commits == then.commits, "{name}");
    }
}
