//! Crashes and races of the log, without SQLite: frames are written by hand, a crash is a copy of the directory.

mod names;
mod others;
mod recorder;
mod simulated;
mod view;
mod wakes;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use recorder::Recorder;
use simulated::two_pages;

use super::{Log, LogSource, View, ViewRead};
use crate::cache::FrameCache;
use crate::error::{Error, Result};
use crate::format::meta::StoredIn;
use crate::io::{Io, OpenMode, SyncSite, SystemIo};
use crate::options::{Options, SwapPolicy};
use crate::types::CommitId;

const PAGE: usize = 512;

pub(super) struct Place {
    temporary: tempfile::TempDir,
}

impl Place {
    /// A database of two pages, in WAL mode.
    pub(super) fn new() -> Place {
        let place = Place { temporary: tempfile::tempdir().unwrap() };
        fs::write(place.database(), two_pages()).unwrap();
        place
    }

    fn database(&self) -> PathBuf {
        self.temporary.path().join("a.db")
    }

    fn dir(&self) -> PathBuf {
        self.temporary.path().join("a.db-wal")
    }

    pub(super) fn open_with(&self, options: Options) -> Result<Log> {
        self.open_on(Arc::new(SystemIo::like(&self.database())), options)
    }

    /// With so many bytes for the frame cache.
    fn open_caching(&self, bytes: usize) -> Result<Log> {
        let io = Arc::new(SystemIo::like(&self.database()));
        self.open_from(io, Options::new(), Arc::new(FrameCache::new(bytes)))
    }

    fn open_on(&self, io: Arc<dyn Io>, options: Options) -> Result<Log> {
        self.open_from(io, options, Arc::new(FrameCache::new(0)))
    }

    fn open_from(&self, io: Arc<dyn Io>, options: Options, cache: Arc<FrameCache>) -> Result<Log> {
        let source = LogSource {
            base: io.open(&self.database(), OpenMode::ReadWrite)?,
            io,
            database: self.database(),
            dir: self.dir(),
            cache,
            options,
            report: |_| {},
            read_only: false,
            create: true,
        };
        Ok(Log::open(source)?.unwrap())
    }

    fn open(&self) -> Result<Log> {
        self.open_with(Options::new())
    }

    /// What a crash now leaves.
    fn crash(&self) -> Place {
        let after = Place { temporary: tempfile::tempdir().unwrap() };
        fs::copy(self.database(), after.database()).unwrap();
        fs::create_dir(after.dir()).unwrap();
        for name in self.names() {
            fs::copy(self.dir().join(&name), after.dir().join(&name)).unwrap();
        }
        after
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn segments(&self) -> Vec<PathBuf> {
        self.names().iter().filter(|name| name.ends_with(".seg")).map(|name| self.dir().join(name)).collect()
    }
}

/// Write the frames of a transaction that leaves two pages: page 2, filled with each of `bytes`. Nothing is published.
fn write(log: &Log, from: u64, bytes: &[u8]) -> u64 {
    let mut frame_no = from;
    for (at, &byte) in bytes.iter().enumerate() {
        let mut header = [0; 24];
        header[3] = 2;
        header[7] = if at + 1 == bytes.len() { 2 } else { 0 };
        log.writer().write(frame_no, 0, &header).unwrap();
        log.writer().write(frame_no, 24, &[byte; PAGE]).unwrap();
        frame_no += 1;
    }
    frame_no - 1
}

/// A transaction that is committed. Returns its last frame.
pub(super) fn commit(log: &Log, bytes: &[u8]) -> u64 {
    let last = write(log, log.published_frame_no() + 1, bytes);
    log.writer().end_transaction(last);
    assert_eq!(log.published_frame_no(), last);
    last
}

/// A pass to `frame_no` begins.
fn intend(log: &Log, frame_no: u64) {
    log.checkpointer().intend(frame_no).unwrap();
}

/// The first byte of page 2 in the view.
fn page_2(log: &Log) -> u8 {
    let mut byte = [0; PAGE];
    match log.view().read_view(&mut byte, PAGE as u64).unwrap() {
        ViewRead::Here(got) => assert_eq!(got, PAGE),
        ViewRead::InBase(_) => assert_eq!(log.base().read_at(&mut byte, PAGE as u64).unwrap(), PAGE),
    }
    byte[0]
}

fn frames_per_segment(count: u64) -> Options {
    Options::new().swap(SwapPolicy::Frames(count))
}

#[test]
fn a_commit_that_was_dropped_at_the_end_of_a_segment_leaves_no_trace_in_the_chain() {
    let place = Place::new();
    let log = place.open().unwrap();
    commit(&log, &[1, 2]);
    // Tentative, and dropped; it stays in the file behind frame 2.
    drop_commit(&log, &[3]);
    log.writer().retire_current();
    // The next segment begins, and the crash comes before its first commit.
    write_uncommitted(&log, 4);
    let after = place.crash();
    let log = after.open().unwrap();
    assert_eq!(log.published_frame_no(), 2);
    assert_eq!(page_2(&log), 2);
    commit(&log, &[5]);
    let again = after.crash();
    let log = again.open().unwrap();
    assert_eq!((log.published_frame_no(), page_2(&log)), (3, 5));
}

#[test]
fn a_segment_that_was_begun_in_vain_leaves_no_trace_in_the_chain() {
    let place = Place::new();
    let log = place.open_with(frames_per_segment(2)).unwrap();
    commit(&log, &[1, 2]);
    // The swap is due: this transaction begins a segment, and is rolled back.
    write_uncommitted(&log, 3);
    log.writer().end_transaction(2);
    // A drain gives the empty segment up, and gets no further.
    log.writer().retire_current();
    let last = commit(&log, &[4]);
    log.durability().sync_to(last, SyncSite::UnaskedFrames).unwrap();
    let after = place.crash();
    let log = after.open().unwrap();
    assert_eq!((log.published_frame_no(), page_2(&log)), (3, 4));
}

fn drop_commit(log: &Log, bytes: &[u8]) {
    let published = log.published_frame_no();
    write(log, published + 1, bytes);
    log.writer().end_transaction(published);
    assert_eq!(log.published_frame_no(), published);
}

fn write_uncommitted(log: &Log, byte: u8) {
    let mut header = [0; 24];
    header[3] = 2;
    let frame_no = log.published_frame_no() + 1;
    log.writer().write(frame_no, 0, &header).unwrap();
    log.writer().write(frame_no, 24, &[byte; PAGE]).unwrap();
}

#[test]
fn a_crash_in_a_pass_that_follows_a_pass_that_crashed_behind_its_footer_loses_nothing() {
    let place = Place::new();
    let log = place.open().unwrap();
    let first = commit(&log, &[1]);
    log.durability().sync_to(first, SyncSite::UnaskedFrames).unwrap();
    // The first pass ends behind its footer: as after `checkpoint`, but with the metadata of before, and the segments.
    let segments = place.crash();
    log.checkpointer().absorb(first).unwrap();
    log.checkpointer().checkpoint().unwrap();
    let meta = log.checkpointer().meta().unwrap();
    drop(log);
    fs::copy(place.database(), segments.database()).unwrap();
    let mut intent =
        crate::log::read_meta(&SystemIo::like(&segments.database()), &segments.dir()).unwrap().unwrap();
    intent.intent_frame_no = meta.checkpointed_frame_no;
    super::meta_file::MetaFile::open(&SystemIo::like(&segments.database()), &segments.dir(), intent)
        .unwrap()
        .put(intent, SyncSite::Intent, |_| {})
        .unwrap();
    // It is recovered, and goes on.
    let log = segments.open().unwrap();
    assert_eq!((log.published_frame_no(), log.checkpointed_frame_no()), (1, 0));
    let second = commit(&log, &[2]);
    log.durability().sync_to(second, SyncSite::UnaskedFrames).unwrap();
    // The second pass ends behind its intent.
    intend(&log, second);
    let after = segments.crash();
    let log = after.open().unwrap();
    assert_eq!((log.published_frame_no(), page_2(&log)), (2, 2));
}

#[test]
fn segments_whose_names_were_never_durable_may_be_lost_in_any_order() {
    let place = Place::new();
    let log = place.open_with(frames_per_segment(2)).unwrap();
    for byte in 1..=3 {
        commit(&log, &[byte, byte]);
    }
    assert_eq!(place.segments().len(), 3);
    // Nothing was ever fsynced, so the first file's name may be lost while the others are there.
    let after = place.crash();
    fs::remove_file(&after.segments()[0]).unwrap();
    let opened = after.open().unwrap();
    assert_eq!((opened.published_frame_no(), page_2(&opened)), (0, 0));
    drop(opened);
    // The first is sealed, but nothing behind it was fsynced.
    let place = Place::new();
    let log = place.open_with(frames_per_segment(2)).unwrap();
    commit(&log, &[1, 1]);
    log.durability().sync_to(2, SyncSite::UnaskedFrames).unwrap();
    log.writer().retire_current();
    log.writer().seal_segments().unwrap();
    // What is written next says that frame 2 was fsynced, and no more.
    commit(&log, &[2, 2]);
    commit(&log, &[3, 3]);
    let after = place.crash();
    assert_eq!(after.segments().len(), 3);
    fs::remove_file(&after.segments()[1]).unwrap();
    let opened = after.open().unwrap();
    assert_eq!((opened.published_frame_no(), page_2(&opened)), (2, 1));
    drop(opened);
    // With frames of the third fsynced, the second must have been, too.
    log.durability().sync_to(6, SyncSite::UnaskedFrames).unwrap();
    commit(&log, &[4]);
    let after = place.crash();
    fs::remove_file(&after.segments()[1]).unwrap();
    assert!(after.open().is_err());
    let after = place.crash();
    fs::remove_file(&after.segments()[0]).unwrap();
    assert!(after.open().is_err());
}

#[test]
fn frames_that_are_written_anew_have_to_be_fsynced_anew() {
    let place = Place::new();
    let log = place.open().unwrap();
    commit(&log, &[1]);
    // A commit that is fsynced while it is tentative, as without group commit, and then overwritten: wal.c in
    // locking_mode=EXCLUSIVE tells nobody that it rolled back.
    let last = write(&log, 2, &[2, 2]);
    log.durability().sync_to(last, SyncSite::UnaskedFrames).unwrap();
    write(&log, 2, &[3, 3]);
    assert!(log.synced_frame_no() < 2, "frames up to {} count as durable", log.synced_frame_no());
}

/// Hammer what the background tasks do while segments come and go.
#[test]
fn the_current_segment_is_neither_freed_nor_sealed_while_it_begins() {
    let place = Place::new();
    let log = place.open_with(frames_per_segment(1)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    log.checkpointer().free_segments_between_passes().unwrap();
                }
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    log.writer().seal_segments().unwrap();
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        for round in 0..300u32 {
            let last = commit(&log, &[round as u8]);
            let current = log.writer().current_start().unwrap();
            let current = log.view().find_segment(current).unwrap().unwrap();
            assert!(
                log.view().find_segment(last).unwrap().is_some(),
                "round {round}: frame {last} is in no segment"
            );
            assert!(current.path().exists(), "round {round}: the current segment's file is gone");
            assert!(!current.is_sealed(), "round {round}: the current segment is sealed");
            if round % 2 == 0 {
                log.checkpointer().drain().unwrap();
            }
        }
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static REPORTED: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn a_log_without_its_file_is_moved_aside_and_that_is_told() {
    let place = Place::new();
    let log = place.open().unwrap();
    commit(&log, &[1, 2]);
    let killed = place.crash();
    let (names, log_id) = (killed.names(), log.log_id());
    fs::write(killed.database(), b"").unwrap();
    let io: Arc<dyn Io> = Arc::new(SystemIo::like(&killed.database()));
    let source = LogSource {
        base: io.open(&killed.database(), OpenMode::ReadWrite).unwrap(),
        io,
        database: killed.database(),
        dir: killed.dir(),
        cache: Arc::new(FrameCache::new(0)),
        options: Options::new(),
        report: |error| REPORTED.with_borrow_mut(|reported| reported.push(error.to_string())),
        read_only: false,
        create: false,
    };
    assert!(Log::open(source).unwrap().is_none(), "there is no log now");
    let aside = PathBuf::from(format!("{}.{log_id}", killed.dir().display()));
    assert!(!killed.dir().exists());
    let mut kept: Vec<String> = fs::read_dir(&aside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, names, "nothing was removed");
    let reported = REPORTED.take();
    assert_eq!(reported.len(), 1, "{reported:?}");
    let names_both = |text: &String| {
        [&killed.dir(), &aside].iter().all(|path| text.contains(&format!("'{}'", path.display())))
    };
    assert!(names_both(&reported[0]) && reported[0].contains("frames 1 to 2"), "{reported:?}");
}

#[test]
fn the_metadata_outlives_the_segments() {
    let place = Place::new();
    let io = Recorder::new(&place);
    let log = place.open_on(Arc::clone(&io) as Arc<dyn Io>, frames_per_segment(1)).unwrap();
    for byte in 1..=8 {
        commit(&log, &[byte]);
    }
    io.done.lock().clear();
    log.checkpointer().leave().unwrap();
    let spare =
        io.done.lock().iter().rev().find(|op| op.ends_with(".free") && op.starts_with("remove")).cloned();
    assert!(io.synced_between(&spare.unwrap(), "remove meta"));
    assert!(io.at("remove meta") < io.at("remove lock"));
    // The first try, before anything is removed, only finds out whether the directory could go.
    assert_eq!(io.done.lock().iter().filter(|op| *op == "rmdir a.db-wal").count(), 2);
    assert_eq!(io.done.lock().iter().rev().find(|op| !op.starts_with("sync")).unwrap(), "rmdir a.db-wal");
}

#[test]
fn what_is_behind_a_torn_tail_is_gone_for_good_before_the_tail_is_sealed() {
    let place = Place::new();
    let log = place.open_with(frames_per_segment(1)).unwrap();
    for byte in 1..=4 {
        commit(&log, &[byte]);
    }
    let after = place.crash();
    let segments = after.segments();
    // The page of frame 2 never reached the disk.
    let torn = fs::read(&segments[1]).unwrap();
    fs::write(&segments[1], &torn[..torn.len() - PAGE]).unwrap();
    let io = Recorder::new(&after);
    let log = after.open_on(io.clone(), frames_per_segment(1)).unwrap();
    log.writer().seal_segments().unwrap();
    assert_eq!((log.published_frame_no(), page_2(&log)), (1, 1));
    let name = |at: usize| segments[at].file_name().unwrap().to_str().unwrap();
    let [newest, other] = [3, 2].map(|at| format!("remove {}", name(at)));
    assert!(io.at(&newest) < io.at(&other) && io.synced_between(&other, &format!("rename to {}", name(0))));
}

#[test]
fn a_directory_that_cannot_be_fsynced_is_not_trusted_again() {
    let place = Place::new();
    let io = Recorder::new(&place);
    let log = place.open_on(Arc::clone(&io) as Arc<dyn Io>, frames_per_segment(1)).unwrap();
    for byte in 1..=3 {
        let last = commit(&log, &[byte]);
        log.durability().sync_to(last, SyncSite::UnaskedFrames).unwrap();
    }
    // Freeing segments fails; what else was pending in the directory, nobody knows any more.
    io.fail_sync_dir.store(true, Ordering::Relaxed);
    assert!(log.checkpointer().drain().is_err());
    io.fail_sync_dir.store(false, Ordering::Relaxed);
    assert!(matches!(log.durability().check_poison(), Err(Error::Poisoned { .. })));

    let place = Place::new();
    let io = Recorder::new(&place);
    let log = place.open_on(Arc::clone(&io) as Arc<dyn Io>, Options::new()).unwrap();
    commit(&log, &[1]);
    io.fail_sync_dir.store(true, Ordering::Relaxed);
    assert!(log.writer().prepare_spare().is_err());
    assert!(matches!(log.durability().check_poison(), Err(Error::Poisoned { .. })));
}

#[test]
fn segments_that_are_freed_together_do_not_fill_the_directory_with_spares() {
    let place = Place::new();
    // A pass frees a segment or two: that many spares are worth keeping, and a few more.
    let log = place.open_with(frames_per_segment(1).checkpoint_size(1)).unwrap();
    for byte in 1..=30 {
        commit(&log, &[byte]);
    }
    log.checkpointer().drain().unwrap();
    let spares = place.names().iter().filter(|name| name.ends_with(".free")).count();
    assert!((1..=4).contains(&spares), "{spares} spares");
}

#[test]
fn invariant_08_a_pass_that_crashed_is_completed_as_a_whole_or_not_at_all_while_storage_is_behind() {
    let place = Place::new();
    let log = place.open().unwrap();
    let first = commit(&log, &[1]);
    let second = commit(&log, &[2]);
    log.durability().sync_to(second, SyncSite::UnaskedFrames).unwrap();
    // A pass to the second commit crashes in the middle: page 2 is written, the footer is not.
    intend(&log, second);
    let after = place.crash();
    let mut base = fs::read(after.database()).unwrap();
    base[PAGE..].fill(2);
    fs::write(after.database(), base).unwrap();
    let url = "memory://invariant-08".parse().unwrap();
    let log = Arc::new(after.open_with(Options::new().storage(url)).unwrap());
    // Nobody knows yet how far storage is; then it has the first commit only.
    log.checkpointer().checkpoint().unwrap();
    assert_eq!(log.checkpointer().interrupted_pass().unwrap(), Some(second));
    log.remote().set_found_stored(StoredIn { place: 0, commit: CommitId { frame_no: first, commit_us: 1 } });
    log.checkpointer().checkpoint().unwrap();
    assert_eq!(
        (log.checkpointed_frame_no(), log.checkpointer().interrupted_pass().unwrap()),
        (0, Some(second))
    );
    assert_eq!(page_2(&log), 2);
    let (base, mut page) = (log.checkpointer().pin_base().unwrap(), [0; PAGE]);
    base.read_pages(2, &mut page).unwrap();
    assert_eq!(u64::from(page[0]), base.commit().frame_no, "what is pinned is the state of one commit");
    assert_eq!((log.checkpointed_frame_no(), log.checkpointer().interrupted_pass().unwrap()), (second, None));
}

#[test]
fn invariant_08_what_storage_has_lost_is_forgotten_before_a_pass_can_rely_on_it() {
    let place = Place::new();
    let url = "memory://invariant-08-lost".parse().unwrap();
    let log = place.open_with(Options::new().storage(url)).unwrap();
    let first = commit(&log, &[1]);
    let second = commit(&log, &[2]);
    log.checkpointer().absorb(second).unwrap();
    let stored = |frame_no| StoredIn { place: 0, commit: CommitId { frame_no, commit_us: 1 } };
    log.remote().set_found_stored(stored(second));
    log.checkpointer().forget_stored_above(second);
    assert_eq!(log.shared.pass_target(), second);
    log.checkpointer().forget_stored_above(first);
    assert_eq!((log.shared.pass_target(), log.remote().stored()), (0, None));
    log.remote().set_found_stored(stored(first));
    assert_eq!(log.shared.pass_target(), first);
}
