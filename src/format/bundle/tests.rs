use super::*;
use uuid::Uuid;

fn page_size() -> PageSize {
    PageSize::new(512).unwrap()
}

fn image(seed: u64) -> Vec<u8> {
    // Half text, half noise, so that both encodings occur.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut page = vec![b'a'; 512];
    for byte in page.iter_mut().skip(if seed.is_multiple_of(3) { 0 } else { 256 }) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    page
}

fn summary() -> Summary {
    Summary {
        log_id: LogId(Uuid::from_u128(7)),
        level: Level::ZERO,
        content: Content::EveryFrame,
        start_frame_no: 11,
        end_frame_no: 3010,
        db_size_pages: 900,
        nonce: 99,
    }
}

type Images = Vec<(u32, u64, Vec<u8>)>;

fn object() -> (Vec<u8>, Trailer, Images, Vec<Commit>) {
    let mut builder = ObjectBuilder::new(page_size());
    let mut images = Images::new();
    for page_no in 1..=600u32 {
        let mut last = image(u64::from(page_no));
        for version in 0..5u64 {
            last[7] = version as u8;
            images.push((page_no, 11 + version * 600 + u64::from(page_no) - 1, last.clone()));
        }
    }
    for (page_no, frame_no, image) in &images {
        builder.push_image(*page_no, *frame_no, image);
    }
    let commits: Vec<Commit> = (11..=3010)
        .step_by(7)
        .chain([3010])
        .map(|frame_no| Commit {
            frame_no,
            // A clock that jumps.
            commit_us: 1_000_000 + frame_no * 10 - if frame_no % 2 == 0 { 500_000 } else { 0 },
            db_size_pages: 900,
        })
        .collect();
    for &commit in &commits {
        builder.push_commit(commit);
    }
    let (bytes, trailer) = builder.finish(&summary(), 0);
    (bytes, trailer, images, commits)
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    &bytes[span.start as usize..span.end as usize]
}

/// Everything that an object holds, with every check that a reader makes.
fn read(bytes: &[u8]) -> Result<(Images, Vec<Commit>, usize), Problem> {
    check_front(bytes)?;
    let trailer = Trailer::decode(bytes, bytes.len() as u64)?;
    let mut images = Images::new();
    for info in trailer.page_blocks(slice(bytes, trailer.page_index_span()))? {
        let mut reader = BlockReader::new(&info, slice(bytes, info.span.clone()), trailer.page_size)?;
        while let Some((page_no, frame_no, image)) = reader.next_image()? {
            images.push((page_no, frame_no, image.to_vec()));
        }
    }
    let mut commits = Vec::new();
    for info in trailer.commit_blocks(slice(bytes, trailer.commit_index_span()))? {
        let mut reader = CommitReader::new(&info, slice(bytes, info.span.clone()))?;
        while let Some(commit) = reader.next_commit()? {
            commits.push(commit);
        }
    }
    let parts = trailer.parts(slice(bytes, trailer.parts_span()))?;
    Ok((images, commits, parts.len()))
}

#[test]
fn what_goes_in_comes_out() {
    let (bytes, trailer, images, commits) = object();
    assert_eq!(Trailer::decode(&bytes, bytes.len() as u64), Ok(trailer));
    assert_eq!(trailer.object_size(), bytes.len() as u64);
    assert_eq!(trailer.image_count, images.len() as u64);
    assert_eq!(trailer.commit_count, commits.len() as u64);
    assert_eq!(trailer.min_commit_us, commits.iter().map(|c| c.commit_us).min().unwrap());
    assert_eq!(read(&bytes), Ok((images, commits, 0)));
}

#[test]
fn repeated_images_of_a_page_take_few_bytes() {
    let (bytes, _, images, _) = object();
    assert!(bytes.len() < images.len() * 512 / 3, "{} bytes for {} images", bytes.len(), images.len());
}

/// A small object with every section: images of several pages and frames, commits, and a list of parts.
fn small() -> Vec<u8> {
    let mut builder = ObjectBuilder::new(page_size());
    for (page_no, frame_no) in [(1, 11), (1, 14), (2, 12), (7, 13)] {
        builder.push_image(page_no, frame_no, &image(u64::from(page_no)));
    }
    builder.push_commit(Commit { frame_no: 3000, commit_us: 77, db_size_pages: 900 });
    builder.push_commit(Commit { frame_no: 3010, commit_us: 55, db_size_pages: 900 });
    let mut part = ObjectBuilder::new(page_size());
    part.push_image(1, 11, &image(1));
    let (bytes, trailer) = part.finish(&summary(), 1);
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
    builder.finish(&summary(), 0).0
}

#[test]
fn every_bit_of_a_small_object_counts() {
    let bytes = small();
    assert!(read(&bytes).is_ok());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "bit {bit} of byte {at} of {}", bytes.len());
        }
    }
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "cut to {len} bytes");
        assert!(read(&bytes[bytes.len() - len..]).is_err(), "the last {len} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(read(&longer).is_err());
}

/// Put the right checksum into a trailer that was tampered with: a hostile writer can do that, too.
fn forge(bytes: &mut [u8]) {
    let at = bytes.len() - TRAILER_SIZE;
    let crc = trailer_crc(&bytes[at..]);
    let crc_at = at + std::mem::offset_of!(RawTrailer, crc);
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn a_forged_trailer_is_refused_or_harmless() {
    let bytes = small();
    let at = bytes.len() - TRAILER_SIZE;
    let mut read_anyway = 0;
    for offset in 0..TRAILER_SIZE {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            if bytes[at + offset] == value {
                continue;
            }
            let mut bad = bytes.clone();
            bad[at + offset] = value;
            forge(&mut bad);
            // Not a panic, and no allocation beyond the size of the object: that is all that can be asked.
            read_anyway += u32::from(read(&bad).is_ok());
        }
    }
    // Ids, the nonce, the last time and the size of the database can be anything; most of the rest cannot.
    assert!(read_anyway < 400, "{read_anyway}");
    let set = |name: usize, value: &[u8]| {
        let mut bad = bytes.clone();
        bad[at + name..at + name + value.len()].copy_from_slice(value);
        forge(&mut bad);
        read(&bad).is_ok()
    };
    assert!(set(0, &[1]));
    // Frames the wrong way round, or too large; lengths that do not add up, overflow, or swap sections.
    assert!(!set(32, &5000u64.to_be_bytes()));
    assert!(!set(40, &(u64::MAX).to_be_bytes()));
    assert!(!set(40, &(1u64 << 62).wrapping_add(1).to_be_bytes()));
    for lengths in [96, 104, 112, 116, 120] {
        assert!(!set(lengths, &[0xff; 4]), "{lengths}");
        assert!(!set(lengths, &[0; 8]), "{lengths}");
    }
    let pages_len = u64::from_be_bytes(bytes[at + 96..at + 104].try_into().unwrap());
    let both = [(pages_len + 1).to_be_bytes(), (u64::MAX).to_be_bytes()].concat();
    assert!(!set(96, &both));
}

#[test]
fn hostile_indexes_are_refused_before_anything_is_allocated() {
    let (bytes, trailer, ..) = object();
    let index = slice(&bytes, trailer.page_index_span());
    let with = |record: usize, offset: usize, value: u32| {
        let mut bad = index.to_vec();
        let at = record * BLOCK_INFO_SIZE + offset;
        bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let forged = Trailer { page_index_crc: crc32(0, &[&bad]), ..trailer };
        forged.page_blocks(&bad)
    };
    let count = index.len() / BLOCK_INFO_SIZE;
    assert!(count > 2);
    for (offset, value) in [
        (0, 0), // the first page
        (0, u32::MAX),
        (4, 0), // the last page
        (8, 0), // images
        (8, 513),
        (8, u32::MAX),
        (12, u32::MAX), // length of the directory
        (16, 0),        // length
        (16, u32::MAX),
        (16, 1 << 20),
        (24, u32::MAX), // the newest frame, high half
    ] {
        for record in [0, 1, count - 1] {
            // The first block begins with page 1, and its first page may be anything below its last one.
            assert!(with(record, offset, value).is_err(), "{offset} {value} of record {record}");
        }
    }
    // Blocks that swap places.
    let mut swapped = index.to_vec();
    swapped[..2 * BLOCK_INFO_SIZE].rotate_left(BLOCK_INFO_SIZE);
    let forged = Trailer { page_index_crc: crc32(0, &[&swapped]), ..trailer };
    assert!(forged.page_blocks(&swapped).is_err());
    // In a bundle of last images no page comes twice.
    let forged = Trailer { content: Content::LastImages, ..trailer };
    let mut doubled = index.to_vec();
    let first_last: [u8; 4] = doubled[4..8].try_into().unwrap();
    doubled[BLOCK_INFO_SIZE..BLOCK_INFO_SIZE + 4].copy_from_slice(&first_last);
    let forged = Trailer { page_index_crc: crc32(0, &[&doubled]), ..forged };
    assert!(forged.page_blocks(&doubled).is_err());
}

#[test]
fn a_decompression_bomb_is_refused() {
    // A stored image that says it is one page, and expands to far more.
    let bomb = lz4_flex::block::compress(&vec![0; 64 << 20]);
    let short = lz4_flex::block::compress(&[0; 511]);
    let right = lz4_flex::block::compress(&[0; 512]);
    let decode = |images: &[&[u8]], image_count: u32, step: u64| {
        let mut bytes = Vec::new();
        for (at, image) in images.iter().enumerate() {
            varint::put(&mut bytes, if at == 0 { 0 } else { step });
            varint::put_difference(&mut bytes, if at == 0 { 0 } else { at as u64 }, at as u64 + 1);
            varint::put(&mut bytes, (image.len() as u64) << 2 | 1);
        }
        let directory_len = bytes.len() as u32;
        images.iter().for_each(|image| bytes.extend_from_slice(image));
        let info =
            block::test_info(1, 1 + (image_count - 1) * step as u32, image_count, directory_len, &bytes);
        let mut reader = BlockReader::new(&info, &bytes, page_size())?;
        let mut count = 0;
        while reader.next_image()?.is_some() {
            count += 1;
        }
        Ok::<_, Problem>(count)
    };
    assert_eq!(decode(&[&right, &right], 2, 1), Ok(2));
    assert!(decode(&[&bomb], 1, 1).is_err());
    assert!(decode(&[&short], 1, 1).is_err());
    // More pages than a block may decode to, and images left over.
    let many: Vec<&[u8]> = vec![&right; 513];
    assert!(decode(&many[..512], 512, 1).is_ok());
    assert!(decode(&many, 513, 1).is_err());
    assert!(decode(&[&right, &right], 1, 1).is_err());
    // A page number that overflows.
    assert!(decode(&[&right, &right], 2, u64::from(u32::MAX) * 2).is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_is_pushed_comes_out(
        pages in proptest::collection::btree_map((1u32..2000, 11u64..3010), (0u64..1000, 0usize..4), 0..300),
        commits in proptest::collection::btree_map(11u64..3010, (proptest::prelude::any::<u64>(), proptest::prelude::any::<u32>()), 0..300),
        page_bits in 9u32..17,
    ) {
        let page_size = PageSize::new(1 << page_bits).unwrap();
        let mut builder = ObjectBuilder::new(page_size);
        let mut images = Images::new();
        for (&(page_no, frame_no), &(seed, kind)) in &pages {
            let mut bytes = match kind {
                0 => vec![0; page_size.bytes()],
                1 => vec![seed as u8; page_size.bytes()],
                _ => image(seed).into_iter().cycle().take(page_size.bytes()).collect(),
            };
            bytes[page_size.bytes() - 1] = frame_no as u8;
            builder.push_image(page_no, frame_no, &bytes);
            images.push((page_no, frame_no, bytes));
        }
        let commits: Vec<Commit> = commits.into_iter()
            .map(|(frame_no, (commit_us, db_size_pages))| Commit { frame_no, commit_us, db_size_pages })
            .collect();
        commits.iter().for_each(|&commit| builder.push_commit(commit));
        let (bytes, trailer) = builder.finish(&summary(), 0);
        proptest::prop_assert_eq!(Trailer::decode(&bytes, bytes.len() as u64), Ok(trailer));
        proptest::prop_assert!(read(&bytes) == Ok((images, commits, 0)));
    }

    #[test]
    fn noise_is_never_an_object_and_never_a_panic(
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..1000),
        from in 0usize..1000,
    ) {
        proptest::prop_assert!(read(&noise).is_err());
        // Noise in the middle of an object, under a trailer that is right in itself.
        let mut bytes = small();
        let end = bytes.len() - TRAILER_SIZE;
        let from = from % end;
        let len = noise.len().min(end - from);
        let is_same = bytes[from..from + len] == noise[..len];
        bytes[from..from + len].copy_from_slice(&noise[..len]);
        proptest::prop_assert_eq!(read(&bytes).is_ok(), is_same);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (bytes, ..) = object();
    // Every byte of the tail, and a sample of the blocks: those are under one checksum each.
    let tail = bytes.len() - 1500;
    for at in (0..tail).step_by(1999).chain(0..FRONT_SIZE).chain(tail..bytes.len()) {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(read(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let (bytes, ..) = object();
    for len in (0..bytes.len()).step_by(997).chain(bytes.len() - 300..bytes.len()) {
        assert!(read(&bytes[..len]).is_err(), "{len} bytes");
    }
}
