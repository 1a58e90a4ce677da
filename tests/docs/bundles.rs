//! The tables of objects in storage.

use vwal::Level;
use vwal::format::bundle::{
    BLOCK_INFO_SIZE, COMMIT_INFO_SIZE, Commit, Content, FRONT_SIZE, ObjectBuilder, PART_INFO_SIZE, PartInfo,
    PartKind, Span, Summary, TRAILER_SIZE, Trailer,
};
use vwal::format::crc32;

use crate::{compare, log_id, page_size, read};

const MAGIC: &[u8] = b"VWALBNDL";

fn summary() -> Summary {
    Summary {
        log_id: log_id(),
        level: Level::ZERO,
        content: Content::EveryFrame,
        start_frame_no: 0x1112_1314_1516,
        end_frame_no: 0x1112_1314_1519,
        db_size_pages: 0x2122_2324,
        nonce: 0x3132_3334_3536_3738,
    }
}

fn part_info() -> PartInfo {
    PartInfo {
        number: 1,
        kind: PartKind::Commits,
        first_page_no: 0,
        last_page_no: 0,
        first_frame_no: 0x1112_1314_1516,
        last_frame_no: 0x1112_1314_1517,
        size: 0x4142_4344,
        trailer_crc: 0x5152_5354,
    }
}

/// The head of a bundle with a part: two images, one commit of its own and one in the part.
fn head() -> (Vec<u8>, Trailer) {
    let mut builder = ObjectBuilder::new(page_size());
    builder.push_image(3, 0x1112_1314_1516, &[7; 8192]);
    builder.push_image(5, 0x1112_1314_1519, &[8; 8192]);
    let commit = |frame_no, commit_us| Commit { frame_no, commit_us, db_size_pages: 0x2122_2324 };
    let mut part = ObjectBuilder::new(page_size());
    part.push_commit(commit(0x1112_1314_1517, 0x6162_6364));
    let (_, part_trailer) = part.finish(&summary(), 1);
    builder.push_part(&part_info(), &part_trailer);
    builder.push_commit(commit(0x1112_1314_1519, 0x6162_6361));
    builder.finish(&summary(), 0)
}

fn section(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[usize::try_from(span.start).expect("an offset")..usize::try_from(span.end).expect("an offset")]
}

fn len(span: Span) -> u64 {
    span.end - span.start
}

#[test]
fn the_bundle_front() {
    let (bytes, _) = head();
    let values: [(&str, &[u8]); 3] = [("magic", MAGIC), ("version", &[0, 0, 0, 1]), ("reserved", &[0; 4])];
    compare("Bundle front", &bytes[..FRONT_SIZE], &values);
}

#[test]
fn the_bundle_trailer() {
    let (bytes, trailer) = head();
    let record = &bytes[bytes.len() - TRAILER_SIZE..];
    let [page_index, commit_index, parts] =
        [trailer.page_index_span(), trailer.commit_index_span(), trailer.parts_span()];
    let len_u32 = |span: &Span| u32::try_from(len(span.clone())).expect("a length").to_be_bytes();
    let crc = |span: &Span| crc32(0, &[section(&bytes, span.clone())]).to_be_bytes();
    compare(
        "Bundle trailer",
        record,
        &[
            ("log_id", log_id().0.as_bytes()),
            ("successor", &[0; 16]),
            ("start_frame_no", &0x1112_1314_1516u64.to_be_bytes()),
            ("end_frame_no", &0x1112_1314_1519u64.to_be_bytes()),
            ("nonce", &0x3132_3334_3536_3738u64.to_be_bytes()),
            ("min_commit_us", &0x6162_6361u64.to_be_bytes()),
            ("max_commit_us", &0x6162_6364u64.to_be_bytes()),
            ("last_commit_us", &0x6162_6361u64.to_be_bytes()),
            ("commit_count", &2u64.to_be_bytes()),
            ("image_count", &2u64.to_be_bytes()),
            ("pages_len", &len(trailer.pages_span()).to_be_bytes()),
            ("commits_len", &len(trailer.commits_span()).to_be_bytes()),
            ("page_index_len", &len_u32(&page_index)),
            ("commit_index_len", &len_u32(&commit_index)),
            ("parts_len", &len_u32(&parts)),
            ("page_index_crc", &crc(&page_index)),
            ("commit_index_crc", &crc(&commit_index)),
            ("parts_crc", &crc(&parts)),
            ("page_size", &8192u32.to_be_bytes()),
            ("db_size_pages", &0x2122_2324u32.to_be_bytes()),
            ("part", &[0; 4]),
            ("level", &[0]),
            ("flags", &[1]),
            ("reserved", &[0; 26]),
            ("crc", &crc32(0, &[&record[..176], &[0; 4], &record[180..]]).to_be_bytes()),
            ("version", &1u32.to_be_bytes()),
            ("magic", MAGIC),
        ],
    );
    // The sections follow each other without gaps.
    assert_eq!(trailer.pages_span().start, FRONT_SIZE as u64);
    assert_eq!(trailer.object_size(), bytes.len() as u64);
    assert!(
        read("docs/format.md").contains(&format!("| [trailer](#bundle-trailer) | {TRAILER_SIZE} bytes."))
    );
}

#[test]
fn the_page_block_record() {
    let (bytes, trailer) = head();
    let index = section(&bytes, trailer.page_index_span());
    let block = section(&bytes, trailer.pages_span());
    // The directory, by the rules of the text: page, frame and length of two LZ4 images, as LEB128.
    let leb = |mut value: u64| {
        let mut out = Vec::new();
        while value >= 128 {
            out.push((value % 128) as u8 | 128);
            value /= 128;
        }
        out.push(value as u8);
        out
    };
    let images = [[7u8; 8192], [8; 8192]].map(|page| lz4_flex::block::compress(&page));
    let entry = |page: u64, frame: u64, image: &[u8]| {
        [leb(page), leb(2 * frame), leb(image.len() as u64 * 4 + 1)].concat()
    };
    let directory = [entry(0, 0x1112_1314_1516, &images[0]), entry(2, 3, &images[1])].concat();
    assert_eq!(block, [&directory[..], &images[0], &images[1]].concat());
    compare(
        "Page block record",
        index,
        &[
            ("first_page_no", &3u32.to_be_bytes()),
            ("last_page_no", &5u32.to_be_bytes()),
            ("image_count", &2u32.to_be_bytes()),
            ("directory_len", &(directory.len() as u32).to_be_bytes()),
            ("len", &(block.len() as u32).to_be_bytes()),
            ("crc", &crc32(0, &[block]).to_be_bytes()),
            ("max_frame_no", &0x1112_1314_1519u64.to_be_bytes()),
        ],
    );
    assert_eq!(index.len(), BLOCK_INFO_SIZE);
}

#[test]
fn the_commit_block_record() {
    let (bytes, trailer) = head();
    let block = section(&bytes, trailer.commits_span());
    let index = section(&bytes, trailer.commit_index_span());
    compare(
        "Commit block record",
        index,
        &[
            ("first_frame_no", &0x1112_1314_1519u64.to_be_bytes()),
            ("last_frame_no", &0x1112_1314_1519u64.to_be_bytes()),
            ("min_commit_us", &0x6162_6361u64.to_be_bytes()),
            ("max_commit_us", &0x6162_6361u64.to_be_bytes()),
            ("commit_count", &1u32.to_be_bytes()),
            ("len", &(block.len() as u32).to_be_bytes()),
            ("crc", &crc32(0, &[block]).to_be_bytes()),
            ("reserved", &[0; 4]),
        ],
    );
    assert_eq!(index.len(), COMMIT_INFO_SIZE);
}

#[test]
fn the_part_record() {
    let (bytes, trailer) = head();
    let list = section(&bytes, trailer.parts_span());
    compare(
        "Part record",
        list,
        &[
            ("number", &1u32.to_be_bytes()),
            ("kind", &1u32.to_be_bytes()),
            ("first_page_no", &[0; 4]),
            ("last_page_no", &[0; 4]),
            ("first_frame_no", &0x1112_1314_1516u64.to_be_bytes()),
            ("last_frame_no", &0x1112_1314_1517u64.to_be_bytes()),
            ("size", &0x4142_4344u64.to_be_bytes()),
            ("trailer_crc", &0x5152_5354u32.to_be_bytes()),
            ("reserved", &[0; 4]),
        ],
    );
    assert_eq!(list.len(), PART_INFO_SIZE);
}
