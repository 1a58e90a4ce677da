//! The page index by itself: which content it names, for any page and any frame.

use std::collections::HashMap;

use super::small::Modulus;
use super::*;

fn index(checkpointed: u64, pages: u32) -> PageIndex {
    PageIndex::new(checkpointed, pages).expect("memory")
}

/// A transaction of these pages, whose last frame is `to`.
fn absorb(index: &PageIndex, to: u64, before: u32, pages: &[u32], after: u32) {
    pages.iter().for_each(|&page_no| index.prepare(page_no).expect("memory"));
    let mut absorption = index.absorb(to, 0, before, before);
    for (&page_no, left) in pages.iter().zip((0..pages.len() as u64).rev()) {
        absorption.frame(to - left, page_no, if left == 0 { after } else { 0 });
    }
    assert_eq!(absorption.pages(), after);
}

#[test]
fn finds_what_was_set_for_any_page() {
    let index = index(6, u32::MAX);
    for (at, page_no) in [1, 2, 16383, 16384, 8_388_608, u32::MAX - 1].into_iter().enumerate() {
        assert_eq!(index.get(page_no), Content::Base { retired: 0 });
        absorb(&index, 7 + at as u64, u32::MAX, &[page_no], u32::MAX);
        assert_eq!(index.get(page_no), Content::Frame(7 + at as u64));
    }
}

#[test]
fn frame_numbers_beyond_32_bits_are_told_apart() {
    for base in [0, MODULUS - 3, MODULUS, 5 * MODULUS - 1, 1 << 40, (1 << 50) + 12345] {
        let index = index(base, 1000);
        for step in 1..200 {
            absorb(&index, base + step, 1000, &[step as u32], 1000);
        }
        index.absorb(base + index.window() / 4 * 3, base, 1000, 1000);
        for step in 1..200 {
            assert_eq!(index.get(step as u32), Content::Frame(base + step), "base {base}");
        }
    }
}

#[test]
fn pages_beyond_an_end_that_the_database_had_are_cut_off_until_they_are_written() {
    // More than a chunk lies between the two ends, and one of its chunks is not there.
    let (few, many) = (5, 3 * CHUNK as u32);
    let index = index(10, many);
    absorb(&index, 12, many, &[4, many - 1], many);
    absorb(&index, 13, many, &[1], few);
    let beyond = [few + 1, CHUNK as u32, 2 * CHUNK as u32, many - 1, many, many + 1];
    for page_no in beyond {
        assert_eq!(index.get(page_no), Content::Cut, "page {page_no}");
    }
    absorb(&index, 15, few, &[1, many - 1], many);
    for page_no in beyond {
        let expected = if page_no == many - 1 { Content::Frame(15) } else { Content::Cut };
        assert_eq!(index.get(page_no), expected, "page {page_no}");
    }
    assert_eq!((index.get(4), index.get(few)), (Content::Frame(11), Content::Base { retired: 0 }));
}

#[test]
fn a_page_that_a_transaction_wrote_and_cut_off_is_cut_off() {
    let index = index(0, 3);
    absorb(&index, 3, 3, &[2, 900, 3], 3);
    absorb(&index, 4, 3, &[1], 1000);
    assert_eq!((index.get(900), index.get(3)), (Content::Cut, Content::Frame(3)));
}

#[test]
fn a_smaller_size_within_one_absorption_counts() {
    let index = index(0, 9);
    (1..=9).for_each(|page_no| index.prepare(page_no).expect("memory"));
    let mut absorption = index.absorb(5, 0, 9, 9);
    absorption.frame(1, 7, 9);
    absorption.frame(2, 1, 4);
    absorption.frame(3, 8, 0);
    absorption.frame(4, 9, 9);
    assert_eq!(absorption.pages(), 9);
    let now: Vec<Content> = (4..=9).map(|page_no| index.get(page_no)).collect();
    let base = Content::Base { retired: 0 };
    assert_eq!(now, [base, Content::Cut, Content::Cut, Content::Cut, Content::Frame(3), Content::Frame(4)]);
}

/// A window of 60 frames that is gone through dozens of times: what a page is called always leads to what it is, also in a cache that
/// never forgets.
#[test]
fn frames_that_leave_the_window_are_pages_of_the_base_file() {
    const PAGES: u32 = 12;
    for seed in 1..=50 {
        let mut state = seed;
        let mut random = |below: u64| crate::testing::io::splitmix(&mut state) % below;
        let index = Modulus::set_to(61, || index(5, PAGES));
        (1..=PAGES).for_each(|page_no| index.prepare(page_no).expect("memory"));
        let mut truth: HashMap<u32, u64> = HashMap::new();
        let mut seen: HashMap<(Content, u32), u64> = HashMap::new();
        let (mut absorbed, mut checkpointed) = (5, 5);
        for _ in 0..1000 {
            let room = index.window() / 2 - (absorbed - checkpointed);
            let to = absorbed + random(room.min(9) + 1);
            let mut absorption = index.absorb(to, checkpointed, PAGES, PAGES);
            for frame_no in absorbed + 1..=to {
                // One page is written once in a long while.
                let page_no = if random(300) == 0 { 1 } else { 2 + random(u64::from(PAGES) - 1) as u32 };
                absorption.frame(frame_no, page_no, PAGES);
                truth.insert(page_no, frame_no);
            }
            absorbed = to;
            if random(3) == 0 {
                checkpointed += random(absorbed - checkpointed + 1);
            }
            for page_no in 1..=PAGES {
                let frame_no = truth.get(&page_no).copied().unwrap_or(0);
                let content = index.get(page_no);
                match content {
                    Content::Frame(named) => assert_eq!(named, frame_no, "seed {seed}, page {page_no}"),
                    Content::Base { .. } => {
                        assert!(frame_no <= checkpointed, "seed {seed}, page {page_no} is only in the log");
                    }
                    Content::Cut => panic!("seed {seed}, page {page_no} is lost"),
                }
                let before = *seen.entry((content, page_no)).or_insert(frame_no);
                assert_eq!(before, frame_no, "seed {seed}: {content:?} of page {page_no} is of two contents");
            }
        }
        assert!(index.retired() > 20);
    }
}
