//! The view beside the cache and passes.

use super::{Log, Place};

const PAGE: usize = 512;
const PAGES: u32 = 24;

fn commit(log: &Log, db_size_pages: u32, pages: &[(u32, u8)]) {
    let from = log.published_frame_no() + 1;
    for (&(page_no, byte), frame_no) in pages.iter().zip(from..) {
        let is_last = frame_no == from + pages.len() as u64 - 1;
        let mut header = [0; 24];
        header[..4].copy_from_slice(&page_no.to_be_bytes());
        header[4..8].copy_from_slice(&if is_last { db_size_pages } else { 0 }.to_be_bytes());
        log.writer().write(frame_no, 0, &header).unwrap();
        log.writer().write(frame_no, 24, &[byte; PAGE]).unwrap();
    }
    log.writer().end_transaction(from + pages.len() as u64 - 1);
}

/// The page as a connection reads it, which keeps a copy of what it found in the base file. `before_keeping` happens in between.
fn read(log: &Log, page_no: u32, before_keeping: impl FnOnce()) -> Option<u8> {
    let offset = u64::from(page_no - 1) * PAGE as u64;
    let mut page = [0; PAGE];
    let got = match log.view().read_view(&mut page, offset).unwrap() {
        Some(got) => got,
        None => {
            let version = log.view().cache().base_version();
            let got = log.base().read_at(&mut page, offset).unwrap();
            before_keeping();
            log.view().keep_base_page(&page[..got], offset, version);
            got
        }
    };
    assert!(page[..got].iter().all(|&byte| byte == page[0]), "page {page_no} is of two versions");
    (got == PAGE).then_some(page[0])
}

/// Commits, absorption, passes and reads in random order: the view is always that of the last absorbed commit, whatever
/// the cache, which has room for two thirds of the pages, keeps.
#[test]
fn the_cache_never_shows_an_old_page() {
    for seed in 1..=60 {
        let mut random = seed;
        let mut random = |below: u64| crate::testing::io::splitmix(&mut random) % below;
        let place = Place::new();
        let log = place.open_caching(16 * 4096).unwrap();
        // Page 1 is the header of the database, and stays as it is.
        let mut published = vec![0; 2];
        let mut absorbed = published.clone();
        for _ in 0..600 {
            match random(10) {
                0..3 => {
                    let size = 2 + random(u64::from(PAGES) - 1) as u32;
                    let mut pages: Vec<(u32, u8)> = (published.len() as u32 + 1..=size)
                        .map(|page_no| (page_no, random(256) as u8))
                        .collect();
                    for _ in 0..=random(3) {
                        pages.push((2 + random(u64::from(size) - 1) as u32, random(256) as u8));
                    }
                    commit(&log, size, &pages);
                    published.resize(size as usize, 0);
                    for (page_no, byte) in pages {
                        published[page_no as usize - 1] = byte;
                    }
                }
                3 => {
                    log.checkpointer().absorb(log.published_frame_no());
                    log.checkpointer().set_generation_base(log.published_frame_no());
                    absorbed.clone_from(&published);
                }
                4 => drop(log.checkpointer().checkpoint().unwrap()),
                _ => {
                    let page_no = 2 + random(absorbed.len() as u64 - 1) as u32;
                    let expected = Some(absorbed[page_no as usize - 1]);
                    let with_a_pass = random(8) == 0;
                    let found = read(&log, page_no, || {
                        if with_a_pass {
                            log.checkpointer().absorb(log.published_frame_no());
                            log.checkpointer().checkpoint().unwrap();
                        }
                    });
                    assert_eq!(found, expected, "page {page_no}, seed {seed}");
                    if with_a_pass {
                        log.checkpointer().absorb(log.published_frame_no());
                        absorbed.clone_from(&published);
                    }
                }
            }
        }
    }
}
