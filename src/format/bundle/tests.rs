use super::*;
use uuid::Uuid;

fn page_size() -> PageSize {
    PageSize::new(512).unwrap()
}

fn image(seed: u64) -> Vec<u8> {
    // Half text, half noise, so that both encodings occur.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut page = vec![b'a'; 512];
    for byte in page.iter_mut().skip(if seed % 3 == 0 { 0 } else { 256 }) {
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
