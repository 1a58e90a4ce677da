//! Mutations of valid encodings: on stable Rust, in `cargo test`, from seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::*;
use crate::format::bundle::{Commit, Content, ObjectBuilder, PartInfo, PartKind, Summary};
use crate::format::frame::FrameStamp;
use crate::format::segment_header::SEGMENT_HEAD_SIZE;
use crate::format::segment_index::{FrameMark, index_offset};
use crate::segment::Scan;
use crate::storage::bundles::{Bundle, Head};
use crate::storage::{Storage, keys};
use crate::testing::counting::peak_of;
use crate::testing::faults::campaign::Campaign;
use crate::testing::io::splitmix;
use crate::testing::storage::{TestStorage, block_on, noise};
use crate::types::{CommitId, Level, LogId, Parent};

/// Runs of one seed.
const RUNS: u64 = 2_000;
const PAGE: u32 = 512;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        splitmix(&mut self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Numbers that are often wrong: small ones, the ends of ranges, and those near a length.
    fn number(&mut self, len: usize) -> u64 {
        let len = len as u64;
        let numbers = [
            0,
            1,
            2,
            7,
            0x7f,
            0x80,
            0xff,
            len,
            len.wrapping_sub(1),
            len + 1,
            1 << 31,
            (1 << 32) - 1,
            1 << 62,
        ];
        match self.below(numbers.len() + 3) {
            0 => u64::MAX,
            1 => self.next(),
            2 => 1 << self.below(64),
            at => numbers[at - 3],
        }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = self.next() as u8,
            2 | 3 => {
                // Most fields are four or eight bytes at a multiple of four.
                let at = if self.below(4) == 0 { at } else { at / 4 * 4 };
                let size = if self.below(2) == 0 { 4 } else { 8 };
                let number = self.number(bytes.len()).to_be_bytes();
                if let Some(place) = bytes.get_mut(at..at + size) {
                    place.copy_from_slice(&number[8 - size..]);
                }
            }
            4 => bytes.truncate(at),
            5 => bytes.extend(std::iter::repeat_n(self.next() as u8, self.below(600))),
            6 => {
                let len = self.below(64).min(bytes.len() - at);
                bytes.drain(at..at + len);
            }
            7 if !bytes.is_empty() => {
                let (from, len) = (self.below(bytes.len()), self.below(64));
                let part = bytes[from..(from + len).min(bytes.len())].to_vec();
                let end = (at + part.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&part[..end - at]);
            }
            // The end, where trailers and checksums are.
            8 if bytes.len() > 192 => {
                let at = bytes.len() - 192 + self.below(192);
                bytes[at] = self.number(bytes.len()) as u8;
            }
            _ => {}
        }
    }
}

fn page_size() -> PageSize {
    PageSize::new(PAGE).expect("a page size")
}

fn log_id(random: &mut Random) -> LogId {
    LogId(uuid::Uuid::from_u128(u128::from(random.next())))
}

fn parent(random: &mut Random) -> Option<Parent> {
    (random.below(2) == 0).then(|| Parent { log_id: log_id(random), frame_no: random.next() >> 2 })
}

fn header(random: &mut Random) -> SegmentHeader {
    SegmentHeader {
        log_id: log_id(random),
        page_size: page_size(),
        start_frame_no: 1 + random.next() % (1 << 40),
        created_us: random.next(),
        salt: random.next(),
        previous_crc: random.next() as u32,
    }
}

/// A segment of one to eight frames, sealed or not.
fn segment(random: &mut Random) -> Vec<u8> {
    let header = header(random);
    let mut bytes = header.encode_head();
    let mut previous_crc = header.crc();
    let mut marks = Vec::new();
    let count = 1 + random.below(8);
    for at in 0..count {
        let db_size_pages = if at + 1 == count || random.below(2) == 0 { 9 } else { 0 };
        let mark = FrameMark { page_no: 1 + random.below(9) as u32, db_size_pages };
        let mut frame = mark.page_no.to_be_bytes().to_vec();
        frame.extend(mark.db_size_pages.to_be_bytes());
        frame.resize(FRAME_HEADER_SIZE, 0);
        frame.extend(noise(random.next(), PAGE as usize));
        let frame_no = header.start_frame_no + at as u64;
        let stamp = FrameStamp {
            seed: header.crc(),
            frame_no,
            commit_us: random.next(),
            synced_frame_no: frame_no - random.below(2) as u64,
            previous_crc,
        };
        previous_crc = stamp.apply(&mut frame);
        bytes.extend(frame);
        marks.push(mark);
    }
    if random.below(2) == 0 {
        let index = encode_index(&marks);
        let seal = Seal {
            end_frame_no: header.start_frame_no + count as u64 - 1,
            sealed_us: random.next(),
            last_crc: previous_crc,
            index_crc: index_crc(&index, header.crc()),
        };
        bytes.resize(index_offset(bytes.len() as u64) as usize, 0);
        bytes.extend(index);
        bytes[SEAL_OFFSET..SEAL_OFFSET + SEAL_SIZE].copy_from_slice(&seal.encode(&header));
    }
    bytes
}

/// An object with images, differences, commits and a part.
fn object(random: &mut Random) -> Vec<u8> {
    let mut builder = ObjectBuilder::new(page_size());
    let summary = Summary {
        log_id: LogId(uuid::Uuid::from_u128(7)),
        level: Level::ZERO,
        content: if random.below(2) == 0 { Content::EveryFrame } else { Content::LastImages },
        start_frame_no: 11,
        end_frame_no: 3010,
        db_size_pages: 900,
        nonce: 99,
    };
    for page_no in 1..=1 + random.below(6) as u32 {
        let mut image = noise(random.next(), PAGE as usize);
        image[64..].fill(random.next() as u8);
        for frame_no in 0..1 + random.below(3) as u64 {
            image[random.below(64)] ^= 5;
            builder.push_image(page_no, 11 + frame_no * 100 + u64::from(page_no), &image);
        }
    }
    for at in 0..random.below(5) as u64 {
        let commit = Commit { frame_no: 3000 + at, commit_us: 70 + random.next() % 9, db_size_pages: 900 };
        builder.push_commit(commit);
    }
    if random.below(3) == 0 {
        let mut part = ObjectBuilder::new(page_size());
        part.push_image(1, 11, &noise(1, PAGE as usize));
        let (bytes, trailer) = part.finish(&summary, 1);
        let info = PartInfo {
            number: 1,
            kind: PartKind::Pages,
            first_page_no: 1,
            last_page_no: 1,
            first_frame_no: 0,
            last_frame_no: 0,
            size: bytes.len() as u64,
            trailer_crc: trailer.checksum(),
        };
        builder.push_part(&info, &trailer);
    }
    builder.finish(&summary, 0).0
}

const OPTIONS: &[&str] = &[
    "vwal_storage=s3://bucket/a/b?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=eu-1",
    "vwal_storage=file:///srv/backup",
    "vwal_storage=gs://bucket/prefix",
    "vwal_storage=az://container/prefix",
    "vwal_swap=frames>=7 or bytes>=4MiB and age>=10s",
    "vwal_retention=keep all for 2 days, hourly for 30 days",
    "vwal_checkpoint_size=3MiB",
    "vwal_sync_interval_ms=250",
];

/// A valid encoding for a target.
fn sample(target: &str, random: &mut Random) -> Vec<u8> {
    match target {
        "segment_head" => segment(random)[..SEGMENT_HEAD_SIZE].to_vec(),
        "segment_index" => {
            let page_no = 1 + random.below(9) as u32;
            encode_index(&vec![FrameMark { page_no, db_size_pages: 9 }; 1 + random.below(6)])
        }
        "frame" => segment(random)[SEGMENT_HEAD_SIZE..][..FRAME_HEADER_SIZE + PAGE as usize].to_vec(),
        "footer" => {
            let footer = Footer {
                frame_no: random.next() >> 2,
                log_id: log_id(random),
                page_size: page_size(),
                db_size_pages: random.next() as u32,
                change_counter: random.next() as u32,
                version_valid_for: random.next() as u32,
                commit_us: random.next(),
                parent: parent(random),
            };
            footer.encode().to_vec()
        }
        "meta" => {
            let frame_no = random.next() >> 3;
            let meta = Meta {
                sequence: random.next(),
                log_id: log_id(random),
                page_size: page_size(),
                checkpointed_frame_no: frame_no,
                intent_frame_no: frame_no + random.below(2) as u64,
                db_size_pages: random.next() as u32,
                change_counter: random.next() as u32,
                version_valid_for: random.next() as u32,
                has_footer: random.below(2) == 0,
                commit_us: random.next(),
                parent: parent(random),
                stored: CommitId { frame_no, commit_us: random.next() },
                places: Default::default(),
            };
            let mut bytes = meta.encode();
            bytes.extend(meta.encode());
            bytes
        }
        "restore_journal" => {
            let text = "frame 7 of a log\n";
            let mut bytes = Vec::new();
            for _ in 0..2 {
                let (sequence, group, done_page_no) =
                    (random.next(), random.next() as u32, random.next() as u32);
                bytes.extend(Progress { sequence, group, done_page_no }.encode(text));
            }
            bytes.extend(text.as_bytes());
            bytes
        }
        "database_header" => {
            let mut bytes = b"SQLite format 3\0".to_vec();
            bytes.extend([2, 0, 2, 2]);
            bytes.resize(100, random.next() as u8);
            bytes
        }
        "segment_file" => segment(random),
        "bundle" | "stored_bundle" => object(random),
        "storage_key" => {
            let (log_id, frame_no) = (log_id(random), random.next() >> 1);
            let key = match random.below(3) {
                0 => keys::head_key(log_id, Level::ZERO, frame_no),
                1 => keys::part_key(
                    log_id,
                    Level::SNAPSHOT,
                    frame_no,
                    random.next(),
                    1 + random.below(9) as u32,
                ),
                _ => crate::segment::segment_name(frame_no),
            };
            key.into_bytes()
        }
        "option" => OPTIONS[random.below(OPTIONS.len())].as_bytes().to_vec(),
        other => panic!("no sample for {other}"),
    }
}

/// An object in a store, read as a reader of bundles does. Not for libFuzzer, since it takes a runtime.
fn stored_bundle(data: &[u8]) {
    let bytes = prepared(data, stamp::bundle, repair::bundle);
    let memory = TestStorage::new();
    let storage: Arc<dyn Storage> = memory.clone();
    let size = bytes.len() as u64;
    let head = Head {
        log_id: LogId(uuid::Uuid::from_u128(7)),
        level: Level::ZERO,
        frame_no: 11,
        size,
        modified_us: 0,
    };
    memory.plant(&head.key(), bytes);
    block_on(async {
        let Ok(bundle) = Bundle::open(&storage, &head).await else { return };
        let _ = bundle.page_index().await;
        let mut commits = bundle.commits();
        while let Ok(Some(_)) = commits.next().await {}
        let _ = bundle.fetch_page(1, u64::MAX).await;
        for part in bundle.parts() {
            let _ = bundle.open_part(part).await;
        }
    });
}

fn all_targets() -> Vec<Target> {
    let mut targets: Vec<Target> = TARGETS
        .iter()
        .map(|target| Target { name: target.name, run: target.run, memory: target.memory })
        .collect();
    targets.push(Target { name: "stored_bundle", run: stored_bundle, memory: 1 << 20 });
    targets
}

/// What a target does wrong with some bytes.
fn try_one(target: &Target, data: &[u8]) -> std::result::Result<(), String> {
    let mut result = Ok(());
    let peak = peak_of(|| result = catch_unwind(AssertUnwindSafe(|| (target.run)(data))));
    if result.is_err() {
        return Err("it panics".into());
    }
    let most = target.memory + 32 * data.len();
    if peak > most { Err(format!("it allocates {peak} bytes, {most} are allowed")) } else { Ok(()) }
}

/// Runs of a target with mutations of what `sample` makes.
fn try_many(target: &Target, random: &mut Random, runs: u64, sample: impl Fn(&mut Random) -> Vec<u8>) {
    for _ in 0..runs {
        let mut bytes = sample(random);
        for _ in 0..random.below(6) {
            random.mutate(&mut bytes);
        }
        bytes.insert(0, random.next() as u8);
        if let Err(what) = try_one(target, &bytes) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("target {}: {what}: {hex}", target.name);
        }
    }
}

#[test]
fn no_decoder_panics_or_allocates_without_bound() {
    let targets = all_targets();
    Campaign::new("decoder fuzz", "mutations", 200, 4_000).run(2, |seed| {
        let mut random = Random(seed);
        let runs = RUNS / targets.len() as u64;
        for target in &targets {
            try_many(target, &mut random, runs, |random| sample(target.name, random));
        }
        runs * targets.len() as u64
    });
}

/// Found by the target `segment_file`: recovery took the last checksum from the seal, and nobody held it against the frames.
#[test]
fn a_seal_with_the_checksum_of_another_frame_is_told() {
    let mut random = Random(0);
    let mut bytes = std::iter::repeat_with(|| segment(&mut random)).find(|bytes| bytes[SEAL_OFFSET] != 0);
    let bytes = bytes.as_mut().expect("one that is sealed");
    assert!(scan(&Bytes(bytes.clone()), 0, |_| {}).is_ok_and(|scan| scan.index_problem.is_none()));
    bytes[SEAL_OFFSET + 24] ^= 1;
    repair::segment_head(bytes);
    let problem = scan(&Bytes(bytes.clone()), 0, |_| {}).expect("the frames are whole").index_problem;
    let said = problem.expect("the seal is wrong").to_string();
    assert!(said.contains("the seal says"), "{said}");
}

/// Half of the mutations have their checksums put right, and a good part of them gets through to what lies behind: without
/// that, nothing but checksums would be tested.
#[test]
fn mutations_get_behind_the_checksums() {
    let mut random = Random(1);
    let is_whole = |scan: Scan| scan.end.is_none_or(|end| end.proof.is_none());
    let (mut heads, mut objects, mut whole) = (0, 0, 0);
    for _ in 0..2_000 {
        let mut bytes = object(&mut random);
        (0..random.below(4)).for_each(|_| random.mutate(&mut bytes));
        repair::bundle(&mut bytes);
        objects += u32::from(Trailer::decode(&bytes, bytes.len() as u64).is_ok());
        whole += u32::from(read_bundle(&bytes).is_ok());
        let mut bytes = segment(&mut random);
        (0..random.below(4)).for_each(|_| random.mutate(&mut bytes));
        repair::segment(&mut bytes);
        heads += u32::from(scan(&Bytes(bytes), 0, |_| {}).is_ok_and(is_whole));
    }
    assert!(
        heads > 1_000 && objects > 1_000 && whole > 600,
        "{heads} segments, {objects} objects, {whole} whole"
    );
}

/// A decoder that believes a length, in the two ways in which that goes wrong, is found within the quick part of the campaign.
#[test]
fn a_decoder_that_believes_a_length_is_found() {
    fn slices(data: &[u8]) {
        let Some((len, rest)) = data.get(1..).and_then(|data| data.split_at_checked(4)) else { return };
        let len = u32::from_be_bytes(len.try_into().expect("four bytes"));
        std::hint::black_box(&rest[..len as usize]);
    }
    fn allocates(data: &[u8]) {
        let Some((len, _)) = data.get(1..).and_then(|data| data.split_at_checked(4)) else { return };
        let len = u32::from_be_bytes(len.try_into().expect("four bytes"));
        std::hint::black_box(Vec::<u8>::with_capacity(len as usize));
    }
    for (run, why) in [(slices as fn(&[u8]), "it panics"), (allocates, "it allocates")] {
        let target = Target { name: "planted", run, memory: 1 << 16 };
        let found = catch_unwind(AssertUnwindSafe(|| {
            try_many(&target, &mut Random(0), 200 * RUNS / 12, |random| {
                let mut bytes = 16u32.to_be_bytes().to_vec();
                bytes.extend(noise(random.next(), 16));
                bytes
            });
        }));
        let said = *found.expect_err("it is found").downcast::<String>().expect("a text");
        assert!(said.contains(why), "{said}");
    }
}
