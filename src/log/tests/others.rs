//! Views of a log that did not write its frames, as other processes have them: they are told the positions, and find the rest in the log directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::recorder::Recorder;
use super::simulated::simulated;
use super::view::{PAGE, PAGES, absorb, commit, look, pass};
use super::{Log, Place, View};
use crate::cache::{FrameCache, LogCache};
use crate::io::{Io, OpenMode};
use crate::log::ViewRead;
use crate::options::Options;
use crate::page_index::{Content, PageIndex};
use crate::segment::FrameMark;

/// A view that another process has.
fn other(log: &Log, cache: usize) -> View {
    let cache = LogCache::new(Arc::new(FrameCache::new(cache)), log.page_size());
    let positions = log.positions();
    let index = PageIndex::new(positions.checkpointed(), positions.base_pages()).unwrap();
    View::new(&log.shared, None, index, cache)
}

/// A commit that is written, and taken back before it is published.
fn drop_commit(log: &Log, bytes: &[u8]) {
    let published = log.published_frame_no();
    super::write(log, published + 1, bytes);
    log.writer().end_transaction(published);
    assert_eq!(log.published_frame_no(), published);
}

/// The byte that the page in a frame is filled with.
fn frame(view: &View, frame_no: u64) -> Result<u8, String> {
    let mut page = [0; PAGE];
    view.read_page(frame_no, 0, &mut page).map_err(|error| error.to_string())?;
    assert_eq!(page, [page[0]; PAGE], "frame {frame_no}");
    Ok(page[0])
}

fn damage(log: &Log, frame_no: u64) {
    let segment = log.view().find_segment(frame_no).unwrap().unwrap();
    let file = log.io().open(segment.path(), OpenMode::ReadWrite).unwrap();
    file.write_at(&[9], segment.frame_offset(frame_no) + 100).unwrap();
}

/// A log over files that note what is done to them, and where it is.
fn recorded() -> (Place, Arc<Recorder>, Arc<Log>) {
    let place = Place::new();
    let io = Recorder::new(&place);
    let log = Arc::new(place.open_on(Arc::clone(&io) as Arc<dyn Io>, Options::new()).unwrap());
    (place, io, log)
}

fn starts(view: &View) -> Vec<u64> {
    view.segments().iter().map(|segment| segment.start()).collect()
}

#[test]
fn a_frame_that_was_taken_back_is_not_read_for_the_one_in_the_next_segment() {
    let log = simulated(0);
    let view = other(&log, 0);
    commit(&log, 2, &[(2, 1), (2, 2)]);
    assert_eq!(frame(&view, 2), Ok(2));
    // It stays in the file, whole, as frame 3.
    drop_commit(&log, &[3]);
    log.writer().retire_current();
    commit(&log, 2, &[(2, 4)]);
    assert_eq!((frame(&view, 3), starts(&view)), (Ok(4), vec![1, 3]));
    let mut seen = Vec::new();
    view.for_each_mark_while(1, 3, |frame_no, mark| {
        seen.push((frame_no, mark.page_no));
        true
    })
    .unwrap();
    assert_eq!(seen, [(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn a_segment_that_is_begun_while_the_names_are_listed_is_found_by_the_next_listing() {
    let (_place, io, log) = recorded();
    commit(&log, 2, &[(2, 1)]);
    let writer = Arc::clone(&log);
    *io.after_list.lock() = Some(Box::new(move || {
        drop_commit(&writer, &[3]);
        writer.writer().retire_current();
        commit(&writer, 2, &[(2, 4)]);
    }));
    let view = other(&log, 0);
    assert_eq!((frame(&view, 1), starts(&view)), (Ok(1), vec![1]));
    assert_eq!((frame(&view, 2), starts(&view)), (Ok(4), vec![1, 2]));
}

#[test]
fn a_segment_that_is_freed_while_the_names_are_listed_is_no_error() {
    let (_place, io, log) = recorded();
    commit(&log, 2, &[(2, 1), (2, 2)]);
    log.writer().retire_current();
    commit(&log, 2, &[(2, 3)]);
    let freer = Arc::clone(&log);
    *io.after_list.lock() = Some(Box::new(move || {
        freer.checkpointer().absorb(2).unwrap();
        freer.checkpointer().set_generation_base(2);
        freer.checkpointer().checkpoint().unwrap();
    }));
    let view = other(&log, 0);
    assert_eq!((frame(&view, 3), starts(&view)), (Ok(3), vec![3]));
    assert_eq!(starts(log.view()), [3]);
    assert!(frame(&view, 2).is_err());
    assert_eq!(look(&log, &view, 2).0, Some(2));
}

/// The frame is only in the log when a reader looks; and when it comes to read it, a pass has brought it to the base file and freed the segment.
#[test]
fn a_page_whose_frame_goes_while_it_is_looked_up_is_read_from_the_base_file() {
    let (_place, io, log) = recorded();
    commit(&log, 2, &[(2, 1), (2, 2)]);
    absorb(&log);
    log.writer().retire_current();
    let view = other(&log, 0);
    let passer = Arc::clone(&log);
    *io.after_list.lock() = Some(Box::new(move || pass(&passer)));
    assert_eq!(look(&log, &view, 2), (Some(2), ViewRead::InBase(Content::Base { retired: 1 })));
    assert!(io.after_list.lock().is_none() && starts(log.view()).is_empty());
}

#[test]
fn a_segment_that_somebody_freed_is_forgotten_also_when_its_file_is_used_again() {
    let log = simulated(0);
    let view = other(&log, 0);
    commit(&log, 2, &[(2, 1), (2, 2)]);
    assert_eq!(frame(&view, 1), Ok(1));
    log.writer().retire_current();
    commit(&log, 2, &[(2, 3)]);
    assert_eq!(frame(&view, 3), Ok(3));
    pass(&log);
    assert_eq!((starts(log.view()), starts(&view)), (vec![3], vec![1, 3]));
    // Nobody has looked at the names since, and the file is still that of the frame.
    assert_eq!(frame(&view, 1), Ok(1));
    log.writer().retire_current();
    commit(&log, 2, &[(2, 4), (2, 5)]);
    let error = frame(&view, 1).unwrap_err();
    assert!(error.contains("frame 1 is in none of the segments"), "{error}");
    assert_eq!((starts(log.view()), starts(&view)), (vec![3, 4], vec![3, 4]));
    assert_eq!(frame(&view, 5), Ok(5));
}

#[test]
fn damage_is_still_an_error() {
    let log = simulated(0);
    let view = other(&log, 0);
    commit(&log, 2, &[(2, 1), (2, 2)]);
    assert_eq!(frame(&view, 2), Ok(2));
    damage(&log, 2);
    for view in [&view, log.view()] {
        assert!(frame(view, 2).unwrap_err().contains("checksum"));
    }
    // Its own process knows of which page it is, and another one has to read it.
    assert!(view.absorb(2).is_err());
    assert_eq!(log.absorbed_frame_no(), 0);
    assert!(log.view().absorb(2).unwrap());
}

#[test]
fn a_listing_does_not_forget_the_segment_that_was_just_begun() {
    let log = simulated(0);
    commit(&log, 2, &[(2, 1)]);
    log.checkpointer().absorb(1).unwrap();
    log.checkpointer().checkpoint().unwrap();
    log.writer().retire_current();
    super::write(&log, 2, &[2]);
    damage(&log, 1);
    // Damage is looked up again.
    frame(log.view(), 1).unwrap_err();
    assert_eq!(starts(log.view()), [1, 2]);
    log.writer().end_transaction(2);
    assert_eq!(frame(log.view(), 2), Ok(2));
}

/// One process commits, rolls back, swaps, seals, runs passes and frees; two others read and absorb. One of the others is anew now and then.
#[test]
fn other_processes_find_every_frame_and_every_page() {
    for seed in 1..=150 {
        let mut state = seed;
        let mut random = |below: u64| crate::testing::io::splitmix(&mut state) % below;
        let log = simulated(0);
        let mut others = [other(&log, 0), other(&log, 8 * 4096)];
        // The frames, and the pages of the database as of the last commit and as of the last absorption.
        let mut frames: Vec<(FrameMark, u8)> = Vec::new();
        let mut published = vec![0; 2];
        let mut absorbed = published.clone();
        for _ in 0..200 {
            match random(12) {
                0..4 => {
                    let size = 2 + random(u64::from(PAGES) - 1) as u32;
                    let new = published.len() as u32 + 1..=size;
                    let mut pages: Vec<(u32, u8)> = new.map(|page_no| (page_no, random(256) as u8)).collect();
                    pages.push((2 + random(u64::from(size) - 1) as u32, random(256) as u8));
                    commit(&log, size, &pages);
                    published.resize(size as usize, 0);
                    let count = pages.len();
                    for (at, (page_no, byte)) in pages.into_iter().enumerate() {
                        published[page_no as usize - 1] = byte;
                        let db_size_pages = if at + 1 == count { size } else { 0 };
                        frames.push((FrameMark { page_no, db_size_pages }, byte));
                    }
                }
                4 => drop_commit(&log, &vec![random(256) as u8; 1 + random(3) as usize]),
                5 => log.writer().retire_current(),
                6 => log.writer().seal_segments().unwrap(),
                7 => {
                    let last = log.published_frame_no();
                    match random(3) {
                        0 => log.view().absorb(last),
                        by => others[by as usize - 1].absorb(last),
                    }
                    .unwrap();
                    log.checkpointer().set_generation_base(last);
                    absorbed.clone_from(&published);
                }
                8 => drop(log.checkpointer().checkpoint().unwrap()),
                9 => others[0] = other(&log, 0),
                _ => check(&log, &others[random(2) as usize], &frames, &absorbed),
            }
        }
        absorb(&log);
        others.iter().for_each(|other| check(&log, other, &frames, &published));
    }
}

/// The same with threads that do not wait for each other: nothing that is published is missed, or taken for what was rolled back.
#[test]
fn other_processes_read_what_was_just_written() {
    let log = simulated(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let view = other(&log, 0);
                while !is_over.load(Ordering::Acquire) {
                    let published = log.published_frame_no();
                    for frame_no in published.saturating_sub(9) + 1..=published {
                        match frame(&view, frame_no) {
                            Ok(byte) => assert_eq!(byte, frame_no as u8, "frame {frame_no}"),
                            Err(error) => {
                                let freed = log.checkpointed_frame_no().min(log.generation_base());
                                assert!(frame_no <= freed, "{error}");
                            }
                        }
                    }
                }
            });
        }
        for frame_no in 1..=4000 {
            commit(&log, 2, &[(2, frame_no as u8)]);
            match frame_no % 60 {
                59 => pass(&log),
                58 => log.writer().seal_segments().unwrap(),
                at if at % 7 == 0 => {
                    drop_commit(&log, &[!frame_no as u8, 0]);
                    log.writer().retire_current();
                }
                _ => {}
            }
        }
        is_over.store(true, Ordering::Release);
    });
}

fn check(log: &Log, view: &View, frames: &[(FrameMark, u8)], absorbed: &[u8]) {
    let positions = log.positions();
    let (checkpointed, published) = (positions.checkpointed(), positions.published());
    let freed = checkpointed.min(positions.generation_base());
    for (frame_no, &(_, byte)) in (1..).zip(frames) {
        match frame(view, frame_no) {
            Ok(found) => assert_eq!(found, byte, "frame {frame_no}"),
            Err(error) => assert!(
                frame_no <= freed && error.contains("in none of the segments"),
                "frame {frame_no} of {published}, {freed} may be freed: {error}"
            ),
        }
    }
    let mut marks = Vec::new();
    view.for_each_mark_while(checkpointed + 1, published, |_, mark| {
        marks.push(mark);
        true
    })
    .unwrap();
    assert!(marks.iter().eq(frames[checkpointed as usize..].iter().map(|(mark, _)| mark)));
    let newest = |view: &View| view.newest_frames(checkpointed + 1, positions.absorbed()).unwrap().list;
    assert_eq!(newest(view), newest(log.view()));
    for (page_no, &byte) in (2..).zip(&absorbed[1..]) {
        let (found, place) = look(log, view, page_no);
        assert_eq!(found, Some(byte), "page {page_no}");
        assert_ne!(place, ViewRead::Here(0));
    }
}
