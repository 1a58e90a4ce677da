//! Base files that do not belong to the log beside them: cut after an interrupted pass, and swapped.

use std::path::Path;

use super::Sweep;
use super::wholes::all;
use crate::error::Error;
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::testing::faults::campaign::Campaign;
use crate::testing::faults::rig::{BASE, Content, History, PAGE, Rig, check_bytes};
use crate::testing::io::{Fault, Image, Kind};

/// A database in which a pass was interrupted: `sizes` are those of its commits, of which the first is checkpointed, and `writes`
/// writes of the base file succeed. `None`: the pass has no more.
fn interrupted(sizes: &[u32], writes: usize) -> Option<(Image, History)> {
    let rig = Rig::new();
    let db = rig.open().expect("it opens");
    let mut history = History::from([(0, Content::first())]);
    for (k, &size) in (1..).zip(sizes) {
        let before = history[&(k - 1)].pages.len() as u32;
        let pages: Vec<u32> = [2, 1].into_iter().chain(before + 1..=size).collect();
        history.insert(k, history[&(k - 1)].after(k, &pages, size));
        db.commit(k, &pages, size, true).expect("a commit");
        if k == 1 {
            db.pass().expect("a pass");
        }
    }
    rig.io.fail(Fault::on(Kind::Write, libc::EIO).at("app.db").after(writes));
    db.pass().err()?;
    drop(db);
    Some((rig.io.live(), history))
}

fn replaced(image: &Image, base: Vec<u8>) -> Image {
    let mut image = image.clone();
    image.put(Path::new(BASE), base);
    image
}

/// Open a database, which must hold the last commit.
fn holds_all(image: Image, history: &History) -> Result<(), String> {
    let (db, k) = Rig::from(image).open_and_check(history)?;
    let last = *history.keys().next_back().expect("commits");
    if k != last {
        return Err(format!("commit {k} is there, {last} was acknowledged"));
    }
    db.pass().map_err(|error| format!("a pass: {error}"))?;
    check_bytes(&db.view().map_err(|error| error.to_string())?, history).map(drop)
}

/// Open a database, which must be refused as foreign and not changed.
fn is_refused(image: Image) -> Result<(), String> {
    let hash = image.hash();
    let rig = Rig::from(image);
    match rig.open() {
        Err(Error::Foreign { .. }) if rig.io.live().hash() == hash => Ok(()),
        Err(Error::Foreign { .. }) => Err("it was refused and changed".into()),
        Err(error) => Err(format!("another error: {error}")),
        Ok(db) => Err(format!("it opens, with {:?}", db.view().map(|bytes| bytes.len()))),
    }
}

#[test]
fn every_length_of_a_base_file_after_an_interrupted_pass() {
    let mut campaign = Campaign::all("corruption", "lengths of a base file in a pass");
    let step = campaign.scale(31, 1, 1);
    let mut sweep = Sweep::default();
    // About each end of a page and of a footer, and some of the others.
    let is_tried = |length: &usize| {
        [0, 1, FOOTER_SIZE - 1, FOOTER_SIZE, FOOTER_SIZE + 1].contains(&(length % PAGE))
            || length.is_multiple_of(step)
    };
    for sizes in [&[4, 5, 7][..], &[4, 4], &[7, 5, 3], &[6, 3, 8], &[6, 8, 3]] {
        for writes in 0.. {
            let Some((image, history)) = interrupted(sizes, writes) else {
                assert!(writes > 1, "the pass of {sizes:?} was not interrupted");
                break;
            };
            let base = image.read(Path::new(BASE)).expect("a base file").to_vec();
            for length in (0..=base.len()).filter(is_tried) {
                let image = replaced(&image, base[..length].to_vec());
                let what = || format!("{sizes:?}, {writes} writes, {length} of {} bytes", base.len());
                // A footer, or what is left of one, after as many pages as a commit of the pass has.
                let (pages, rest) = (length / PAGE, length % PAGE);
                let fits = (1..=FOOTER_SIZE).contains(&rest) && sizes.contains(&(pages as u32));
                sweep.case(what, || if fits { holds_all(image, &history) } else { is_refused(image) });
            }
        }
    }
    campaign.count(sweep.held());
}

#[test]
fn base_files_that_were_swapped() {
    let mut campaign = Campaign::all("corruption", "swapped base files");
    let mut sweep = Sweep::default();
    for whole in all() {
        if whole.segments.iter().all(|segment| segment.frames == 0) {
            // No frame is at stake: a new log begins, whatever the file is.
            continue;
        }
        let own = whole.bytes(Path::new(BASE)).to_vec();
        let footer = Footer::decode(&own[own.len() - FOOTER_SIZE..]).expect("its footer");
        for (k, content) in &whole.history {
            let pages = content.bytes();
            // The header of the right file on the pages of another one.
            let forged = [&own[..PAGE], &pages[PAGE..]].concat();
            for (kind, pages) in [("pages", pages), ("forged pages", forged)] {
                let what = |footer: &str| format!("{}, {kind} of commit {k} {footer}", whole.name);
                sweep.case(|| what("alone"), || is_refused(replaced(&whole.image, pages.clone())));
                let filled = pages.len() + PAGE;
                let rounded = |footer: Footer| {
                    let mut bytes = [&pages[..], &footer.encode()].concat();
                    bytes.resize(filled, 0);
                    replaced(&whole.image, bytes)
                };
                sweep.case(|| what("and a footer in a page"), || is_refused(rounded(footer)));
                for (name, other) in [
                    (
                        "of another log",
                        Footer { log_id: crate::types::LogId(uuid::Uuid::from_u128(9)), ..footer },
                    ),
                    ("of an older frame", Footer { frame_no: footer.frame_no - 1, ..footer }),
                    ("of a newer frame", Footer { frame_no: footer.frame_no + 1000, ..footer }),
                    ("of another time", Footer { commit_us: footer.commit_us + 1, ..footer }),
                ] {
                    let bytes = [&pages[..], &other.encode()].concat();
                    sweep.case(|| what(name), || is_refused(replaced(&whole.image, bytes)));
                }
            }
        }
    }
    campaign.count(sweep.held());
}
