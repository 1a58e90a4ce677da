//! The documents say what the code does, where that can be compared: the tables of `docs/format.md` with the bytes that
//! `vwal::format` writes, the options and the Rust code of the README with the library and its example, the rows and
//! options of the benchmark with its source, and links with the files and headings that they point to.

#[path = "docs/benchmark.rs"]
mod benchmark;
#[path = "docs/bundles.rs"]
mod bundles;
#[path = "docs/snippet.rs"]
mod snippet;

use std::fs;
use std::path::{Path, PathBuf};

use vwal::format::crc32;
use vwal::format::footer::Footer;
use vwal::format::frame::FrameStamp;
use vwal::format::meta::{Meta, PLACES, StoredIn};
use vwal::format::segment_header::{SEAL_OFFSET, SEAL_SIZE, SEGMENT_HEAD_SIZE, Seal, SegmentHeader};
use vwal::format::segment_index::{FrameMark, INDEX_ALIGN, encode_index, index_offset, index_size};
use vwal::{CommitId, LogId, Options, PageSize, Parent};

const DOCUMENTS: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "docs/design.md",
    "docs/format.md",
    "docs/reliability.md",
    "docs/performance.md",
    "docs/compatibility.md",
    "docs/errors.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn page_size() -> PageSize {
    PageSize::new(8192).expect("a page size")
}

fn log_id() -> LogId {
    "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0123".parse().expect("a UUID")
}

fn parent_log_id() -> LogId {
    "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0000".parse().expect("a UUID")
}

/// A row of a table in `docs/format.md`.
struct Field {
    offset: usize,
    size: usize,
    name: String,
}

/// The table under a heading of `docs/format.md`.
fn table(document: &str, heading: &str) -> Vec<Field> {
    let after =
        document.split(&format!("# {heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading '{heading}'"));
    let rows = after.lines().skip_while(|line| !line.starts_with("| offset")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("'{cell}' in: {line}"));
            Field { offset: number(cells[1]), size: number(cells[2]), name: cells[3].to_owned() }
        })
        .collect()
}

/// Compare the table under `heading` with a record: the fields are those of `values`, without gaps, and hold those bytes.
fn compare(heading: &str, record: &[u8], values: &[(&str, &[u8])]) {
    let fields = table(&read("docs/format.md"), heading);
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let expected: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected, "the fields of '{heading}'");
    let mut end = 0;
    for (field, (name, value)) in fields.iter().zip(values) {
        assert_eq!(field.offset, end, "the offset of {name} in '{heading}'");
        end += field.size;
        assert!(end <= record.len(), "'{heading}' has {} bytes, and {name} ends at {end}", record.len());
        assert_eq!(&record[field.offset..end], *value, "the bytes of {name} in '{heading}'");
    }
    assert_eq!(end, record.len(), "the size of '{heading}'");
}

fn header() -> SegmentHeader {
    SegmentHeader {
        log_id: log_id(),
        page_size: page_size(),
        start_frame_no: 0x1112_1314_1516,
        created_us: 0x2122_2324_2526,
        salt: 0x3132_3334_3536_3738,
        previous_crc: 0x4142_4344,
    }
}

#[test]
fn the_segment_header() {
    let head = header().encode_head();
    let size = 64;
    compare(
        "Segment header",
        &head[..size],
        &[
            ("magic", b"VWALSEGM"),
            ("version", &2u32.to_be_bytes()),
            ("page_size", &8192u32.to_be_bytes()),
            ("log_id", log_id().0.as_bytes()),
            ("start_frame_no", &0x1112_1314_1516u64.to_be_bytes()),
            ("created_us", &0x2122_2324_2526u64.to_be_bytes()),
            ("salt", &0x3132_3334_3536_3738u64.to_be_bytes()),
            ("previous_crc", &0x4142_4344u32.to_be_bytes()),
            ("crc", &crc32(0, &[&head[..60]]).to_be_bytes()),
        ],
    );
    assert!(head[size..].iter().all(|&byte| byte == 0), "the rest of the head is zeros");
    let text = read("docs/format.md");
    assert!(text.contains(&format!("a head of {SEGMENT_HEAD_SIZE} bytes")));
    assert!(text.contains(&format!("the seal at offset {SEAL_OFFSET}.")));
}

#[test]
fn the_seal() {
    let seal = Seal {
        end_frame_no: 0x2112_1314_1516,
        sealed_us: 0x5152_5354,
        last_crc: 0x6162_6364,
        index_crc: 0x7172_7374,
    };
    let record = seal.encode(&header());
    assert_eq!(record.len(), SEAL_SIZE);
    compare(
        "Seal",
        &record,
        &[
            ("magic", b"VWALSEAL"),
            ("end_frame_no", &0x2112_1314_1516u64.to_be_bytes()),
            ("sealed_us", &0x5152_5354u64.to_be_bytes()),
            ("last_crc", &0x6162_6364u32.to_be_bytes()),
            ("index_crc", &0x7172_7374u32.to_be_bytes()),
            ("crc", &crc32(header().crc(), &[&record[..32]]).to_be_bytes()),
        ],
    );
}

#[test]
fn the_segment_index() {
    let marks = [
        FrameMark { page_no: 0x0102_0304, db_size_pages: 0 },
        FrameMark { page_no: 0x1112_1314, db_size_pages: 0x2122_2324 },
    ];
    let index = encode_index(&marks);
    assert_eq!((&index[..8], index.len() as u64), (&b"VWALINDX"[..], index_size(2)));
    compare(
        "Segment index",
        &index[16..],
        &[("page_no", &0x1112_1314u32.to_be_bytes()), ("db_size_pages", &0x2122_2324u32.to_be_bytes())],
    );
    assert_eq!((index_offset(4096 + 4152), index_offset(8192)), (12288, 8192));
    let text = read("docs/format.md");
    assert!(text.contains("The 8 bytes `VWALINDX`"));
    assert!(
        text.contains(&format!("It begins at the first multiple of\n{INDEX_ALIGN} at or behind the end"))
    );
}

#[test]
fn the_frame() {
    let page = [7; 512];
    let mut frame = vec![0; 56];
    frame[..4].copy_from_slice(&0x0102_0304u32.to_be_bytes());
    frame[4..8].copy_from_slice(&0x1112_1314u32.to_be_bytes());
    frame[8..24].copy_from_slice(b"SQLite's own 16.");
    frame.extend_from_slice(&page);
    let stamp = FrameStamp {
        seed: 0x9192_9394,
        frame_no: 0x2122_2324_2526,
        commit_us: 0x3132_3334_3536,
        synced_frame_no: 0x4142_4344_4546,
        previous_crc: 0x5152_5354,
    };
    stamp.apply(&mut frame);
    compare(
        "Frame",
        &frame[..56],
        &[
            ("page_no", &0x0102_0304u32.to_be_bytes()),
            ("db_size_pages", &0x1112_1314u32.to_be_bytes()),
            ("sqlite_rest", b"SQLite's own 16."),
            ("frame_no", &0x2122_2324_2526u64.to_be_bytes()),
            ("commit_us", &0x3132_3334_3536u64.to_be_bytes()),
            ("synced_frame_no", &0x4142_4344_4546u64.to_be_bytes()),
            ("previous_crc", &0x5152_5354u32.to_be_bytes()),
            ("crc", &crc32(0x9192_9394, &[&frame[..52], &page]).to_be_bytes()),
        ],
    );
}

#[test]
fn the_metadata_slot() {
    let meta = Meta {
        sequence: 0x1112_1315,
        log_id: log_id(),
        page_size: page_size(),
        checkpointed_frame_no: 0x2122_2324_2526,
        intent_frame_no: 0x3132_3334_3536,
        db_size_pages: 0x4142_4344,
        change_counter: 0x5152_5354,
        version_valid_for: 0x6162_6364,
        has_footer: true,
        commit_us: 0x7172_7374_7576,
        parent: Some(Parent { log_id: parent_log_id(), frame_no: 0x8182_8384_8586 }),
        stored: CommitId::default(),
        places: [StoredIn::default(); PLACES],
    };
    let place = StoredIn {
        place: 0xb1b2_b3b4,
        commit: CommitId { frame_no: 0x9192_9394_9596, commit_us: 0xa1a2_a3a4_a5a6 },
    };
    let meta = meta.with_stored(place);
    let slot = meta.encode();
    compare(
        "Metadata slot",
        &slot[..288],
        &[
            ("magic", b"VWALMETA"),
            ("version", &3u32.to_be_bytes()),
            ("page_size", &8192u32.to_be_bytes()),
            ("sequence", &0x1112_1315u64.to_be_bytes()),
            ("log_id", log_id().0.as_bytes()),
            ("checkpointed_frame_no", &0x2122_2324_2526u64.to_be_bytes()),
            ("intent_frame_no", &0x3132_3334_3536u64.to_be_bytes()),
            ("db_size_pages", &0x4142_4344u32.to_be_bytes()),
            ("change_counter", &0x5152_5354u32.to_be_bytes()),
            ("version_valid_for", &0x6162_6364u32.to_be_bytes()),
            ("flags", &1u32.to_be_bytes()),
            ("commit_us", &0x7172_7374_7576u64.to_be_bytes()),
            ("parent_log_id", parent_log_id().0.as_bytes()),
            ("parent_frame_no", &0x8182_8384_8586u64.to_be_bytes()),
            ("stored_frame_no", &0x9192_9394_9596u64.to_be_bytes()),
            ("stored_us", &0xa1a2_a3a4_a5a6u64.to_be_bytes()),
            ("crc", &crc32(0, &[&slot[..120]]).to_be_bytes()),
            ("places", &[&slot[124..144], &[0; 140]].concat()),
            ("places_crc", &crc32(crc32(0, &[&slot[..120]]), &[&slot[124..284]]).to_be_bytes()),
        ],
    );
    compare(
        "Place",
        &slot[124..144],
        &[
            ("place", &0xb1b2_b3b4u32.to_be_bytes()),
            ("stored_frame_no", &0x9192_9394_9596u64.to_be_bytes()),
            ("stored_us", &0xa1a2_a3a4_a5a6u64.to_be_bytes()),
        ],
    );
    assert_eq!(slot.len(), 4096);
    assert_eq!(meta.slot_offset(), 4096, "an odd sequence number goes into the second slot");
}

#[test]
fn the_footer() {
    let footer = Footer {
        frame_no: 0x1112_1314_1516,
        log_id: log_id(),
        page_size: page_size(),
        db_size_pages: 0x2122_2324,
        change_counter: 0x3132_3334,
        version_valid_for: 0x4142_4344,
        commit_us: 0x5152_5354_5556,
        parent: Some(Parent { log_id: parent_log_id(), frame_no: 0x6162_6364_6566 }),
    };
    let record = footer.encode();
    compare(
        "Footer",
        &record,
        &[
            ("magic", b"VWALFOOT"),
            ("version", &2u16.to_be_bytes()),
            ("replication_index", &0x1112_1314_1516u64.to_be_bytes()),
            ("log_id", log_id().0.as_bytes()),
            ("page_size", &8192u32.to_be_bytes()),
            ("db_size_pages", &0x2122_2324u32.to_be_bytes()),
            ("change_counter", &0x3132_3334u32.to_be_bytes()),
            ("version_valid_for", &0x4142_4344u32.to_be_bytes()),
            ("commit_us", &0x5152_5354_5556u64.to_be_bytes()),
            ("parent_log_id", parent_log_id().0.as_bytes()),
            ("parent_frame_no", &0x6162_6364_6566u64.to_be_bytes()),
            ("crc", &crc32(0, &[&record[..82]]).to_be_bytes()),
        ],
    );
    assert!(read("docs/format.md").contains(&format!("the last {} bytes of the file", record.len())));
}

/// The README's table of options has each parameter, with the default of the library.
#[test]
fn the_options() {
    let readme = read("README.md");
    let error = Options::new().set_param("vwal_unknown", "").expect_err("no such parameter").to_string();
    let known: Vec<&str> =
        error.rsplit(": the parameters are ").next().expect("a list").split(", ").collect();
    let mut documented = Vec::new();
    for row in readme.lines().filter(|line| line.starts_with("| `vwal_")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let (param, variable, default) = (cells[1], cells[2], cells[3]);
        if !known.contains(&param) {
            // A function or a table.
            continue;
        }
        documented.push(param);
        assert!(variable.starts_with("VWAL_"), "{row}");
        let mut options = Options::new();
        options.set_param(param, default).unwrap_or_else(|error| panic!("{row}\n{error}"));
        // All but the field that remembers which parameters were given.
        let values = |options: &Options| {
            let text = format!("{options:?}");
            text.split(", given:").next().map(str::to_owned)
        };
        assert_eq!(values(&options), values(&Options::new()), "the default in: {row}");
    }
    assert_eq!(documented, known);
}

/// Each line of Rust in the README is a line of the example that the tests compile, in the same order.
#[test]
fn the_rust_code_is_that_of_the_example() {
    let example = read("examples/rusqlite.rs");
    let readme = read("README.md");
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("Rust code");
    let mut lines = example.lines().map(str::trim);
    for line in code.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(
            lines.any(|other| other == line),
            "not in examples/rusqlite.rs, or not in this order: {line}"
        );
    }
}

/// What a heading is called in a link: lower case, spaces as hyphens, punctuation gone.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let directory: PathBuf = root().join(document).parent().expect("a directory").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, fragment) =
                link.split_once('#').map_or((link, None), |(file, name)| (file, Some(name)));
            let target = if file.is_empty() { root().join(document) } else { directory.join(file) };
            assert!(target.exists(), "{document} links to {link}");
            if let Some(fragment) = fragment {
                let target = fs::read_to_string(&target).expect("a text");
                let headings = target.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
                assert!(
                    anchors.any(|name| name == fragment),
                    "{document} links to {link}, which is no heading"
                );
            }
        }
    }
}
