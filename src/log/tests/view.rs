//! The view beside the cache and passes.

use super::simulated::simulated;
use super::{Log, Place, View};
use crate::cache::PageKey;
use crate::log::ViewRead;
use crate::page_index::{Content, Modulus};

pub(super) const PAGE: usize = 512;
pub(super) const PAGES: u32 = 24;

pub(super) fn commit(log: &Log, db_size_pages: u32, pages: &[(u32, u8)]) {
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

pub(super) fn absorb(log: &Log) {
    log.checkpointer().absorb(log.published_frame_no()).unwrap();
    log.checkpointer().set_generation_base(log.published_frame_no());
}

pub(super) fn pass(log: &Log) {
    absorb(log);
    log.checkpointer().checkpoint().unwrap();
    assert_eq!(log.checkpointed_frame_no(), log.published_frame_no());
}

fn offset(page_no: u32) -> u64 {
    u64::from(page_no - 1) * PAGE as u64
}

/// Whether the page comes from the cache or the log, and its bytes if all are the same.
pub(super) fn look(log: &Log, view: &View, page_no: u32) -> (Option<u8>, ViewRead) {
    let mut page = [0; PAGE];
    let place = view.read_view(&mut page, offset(page_no)).unwrap();
    let got = match place {
        ViewRead::Here(got) => got,
        ViewRead::InBase(_) => log.base().read_at(&mut page, offset(page_no)).unwrap(),
    };
    assert!(page[..got].iter().all(|&byte| byte == page[0]), "page {page_no} is of two versions");
    ((got == PAGE).then_some(page[0]), place)
}

/// The page as a connection reads it, which keeps a copy of what it found in the base file. `meanwhile` happens before that is kept.
fn read(log: &Log, page_no: u32, meanwhile: impl FnOnce()) -> (Option<u8>, ViewRead) {
    let (byte, place) = look(log, log.view(), page_no);
    if let (ViewRead::InBase(content), Some(byte)) = (place, byte) {
        meanwhile();
        log.view().keep_base_page(&[byte; PAGE], offset(page_no), content);
    }
    (byte, place)
}

/// Commits, absorption, passes and reads in random order: the view is always that of the last absorbed commit, whatever
/// the cache, which has room for two thirds of the pages, keeps. Of a page that the database has got without that it was written nothing is
/// expected, but that it is never from a cache: nobody tells that when the file changes.
fn random_run(log: &Log, seed: u64) {
    let mut state = seed;
    let mut random = |below: u64| crate::testing::io::splitmix(&mut state) % below;
    // Page 1 is the header of the database, and stays as it is.
    let mut published = vec![Some(0); 2];
    let mut absorbed = published.clone();
    for _ in 0..600 {
        if log.published_frame_no() - log.checkpointed_frame_no() + 2 * u64::from(PAGES)
            > log.view().index.window() / 2
        {
            pass(log);
            absorbed.clone_from(&published);
        }
        match random(10) {
            0..3 => {
                let size = 2 + random(u64::from(PAGES) - 1) as u32;
                let mut pages: Vec<(u32, u8)> =
                    (published.len() as u32 + 1..=size).map(|page_no| (page_no, random(256) as u8)).collect();
                pages.retain(|_| random(4) > 0);
                for _ in 0..=random(3) {
                    pages.push((2 + random(u64::from(size) - 1) as u32, random(256) as u8));
                }
                commit(log, size, &pages);
                published.resize(size as usize, None);
                for (page_no, byte) in pages {
                    published[page_no as usize - 1] = Some(byte);
                }
            }
            3 => {
                absorb(log);
                absorbed.clone_from(&published);
            }
            4 => drop(log.checkpointer().checkpoint().unwrap()),
            _ => {
                let page_no = 2 + random(absorbed.len() as u64 - 1) as u32;
                let with_a_pass = random(8) == 0;
                let (found, place) = read(log, page_no, || {
                    if with_a_pass {
                        pass(log);
                    }
                });
                match absorbed[page_no as usize - 1] {
                    None => assert!(
                        matches!(place, ViewRead::Here(0) | ViewRead::InBase(_)),
                        "page {page_no}, which nobody wrote, is from the cache, seed {seed}"
                    ),
                    expected => assert_eq!(found, expected, "page {page_no}, seed {seed}"),
                }
                if with_a_pass {
                    absorb(log);
                    absorbed.clone_from(&published);
                }
            }
        }
    }
}

#[test]
fn the_cache_never_shows_an_old_page() {
    for seed in 1..=60 {
        random_run(&simulated(16 * 4096), seed);
    }
}

#[test]
fn the_cache_never_shows_an_old_page_however_often_the_window_of_frames_is_full() {
    for seed in 1..=60 {
        let log = Modulus::set_to(241, || simulated(16 * 4096));
        random_run(&log, seed);
        assert!(log.view().index.retired() > 2, "seed {seed}");
    }
}

#[test]
fn a_log_that_could_not_be_told_apart_does_not_grow() {
    let place = Place::new();
    let log = Modulus::set_to(41, || place.open().unwrap());
    for _ in 0..2 {
        (0..20).for_each(|byte| commit(&log, 2, &[(2, byte)]));
        let refused = log.writer().write(log.published_frame_no() + 1, 0, &[0; 24]).unwrap_err();
        assert_eq!(refused.sqlite_code(), libsqlite3_sys::SQLITE_FULL);
        pass(&log);
    }
}

#[test]
fn what_a_pass_brought_to_the_base_file_is_still_in_the_cache() {
    let place = Place::new();
    let log = place.open_caching(1 << 20).unwrap();
    commit(&log, 9, &(2..=9).map(|page_no| (page_no, page_no as u8)).collect::<Vec<_>>());
    absorb(&log);
    let cached = |page_no: u32| {
        assert_eq!(look(&log, log.view(), page_no), (Some(page_no as u8), ViewRead::Here(PAGE)))
    };
    (2..=9).for_each(cached);
    pass(&log);
    (2..=9).for_each(cached);
    commit(&log, 9, &[(2, 2)]);
    pass(&log);
    (2..=9).for_each(cached);
}

#[test]
fn a_page_from_the_base_file_is_known_as_the_frame_that_it_came_from() {
    let place = Place::new();
    let log = place.open_caching(1 << 20).unwrap();
    commit(&log, 2, &[(2, 5)]);
    pass(&log);
    log.view().cache().remove_frames(1..=1);
    assert_eq!(read(&log, 2, || {}), (Some(5), ViewRead::InBase(Content::Frame(1))));
    assert_eq!(look(&log, log.view(), 2), (Some(5), ViewRead::Here(PAGE)));
    let mut page = [0; PAGE];
    log.view().read_page(1, 0, &mut page).unwrap();
    assert_eq!(page, [5; PAGE], "the segment is gone, and the frame is here");
}

/// A reader was sent to the base file for a page as of frame 1, and a pass brought a newer one there before it read.
#[test]
fn what_a_pass_changed_before_it_was_read_is_not_kept_as_what_was_wanted() {
    let place = Place::new();
    let log = place.open_caching(1 << 20).unwrap();
    let wanted = |page_no| match look(&log, log.view(), page_no).1 {
        ViewRead::InBase(content) => content,
        here => panic!("{here:?}"),
    };
    let never_written = wanted(2);
    commit(&log, 3, &[(2, 5), (3, 6)]);
    pass(&log);
    log.view().cache().remove_frames(1..=2);
    let (page_2, page_3) = (wanted(2), wanted(3));
    assert_eq!((page_2, page_3), (Content::Frame(1), Content::Frame(2)));
    commit(&log, 2, &[(2, 7)]);
    pass(&log);
    for (page_no, content) in [(2, page_2), (2, never_written), (3, page_3)] {
        log.view().keep_base_page(&[7; PAGE], offset(page_no), content);
    }
    for (frame_no, byte) in [(1, 5), (2, 6)] {
        let mut page = [0; PAGE];
        log.view().read_page(frame_no, 0, &mut page).unwrap();
        assert_eq!(page, [byte; PAGE], "frame {frame_no}");
    }
    let base = PageKey::Base { page_no: 2, since: 0 };
    assert!(!log.view().cache().read(base, 0, &mut [0; PAGE]));
}

/// Pages that were cut off and that the database has again: what they were once is not shown, whether the log or only the base file had it.
#[test]
fn a_page_that_was_cut_off_and_not_written_again_is_not_what_it_was() {
    for absorbs_at_once in [false, true] {
        let place = Place::new();
        let log = place.open_caching(1 << 20).unwrap();
        commit(&log, 9, &(2..=9).map(|page_no| (page_no, 1)).collect::<Vec<_>>());
        pass(&log);
        drop(log);
        // This one has written page 8, and has read page 7.
        let log = place.open_caching(1 << 20).unwrap();
        commit(&log, 9, &[(8, 2)]);
        pass(&log);
        for page_no in 7..=8 {
            assert!(matches!(read(&log, page_no, || {}).0, Some(1 | 2)));
            assert_eq!(look(&log, log.view(), page_no).1, ViewRead::Here(PAGE));
        }
        commit(&log, 4, &[(2, 3)]);
        if !absorbs_at_once {
            pass(&log);
            assert_eq!(look(&log, log.view(), 8), (None, ViewRead::Here(0)));
        }
        commit(&log, 12, &[(12, 4)]);
        pass(&log);
        for page_no in [7, 8] {
            let (byte, place) = read(&log, page_no, || {});
            assert_eq!(place, ViewRead::InBase(Content::Cut));
            assert!(absorbs_at_once || byte == Some(0), "the file was cut there: {byte:?}");
            assert_eq!(look(&log, log.view(), page_no).1, place, "it was kept");
        }
        commit(&log, 12, &[(8, 5)]);
        absorb(&log);
        assert_eq!(
            (look(&log, log.view(), 8).0, look(&log, log.view(), 12).0, look(&log, log.view(), 4).0),
            (Some(5), Some(4), Some(1))
        );
    }
}
