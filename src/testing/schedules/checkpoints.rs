//! Checkpoints against readers and writers: passes, absorption, swaps, seals, and the freeing of segments.

use std::path::Path;
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::disk::SlowDisk;
use super::mini_wal::{Connection, ForLog, Index, PAGES};
use super::{explore, must_fail};
use crate::cache::FrameCache;
use crate::error::Result;
use crate::log::{Log, LogSource};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::testing::faults::rig::{BASE, DIR, Rig};
use crate::testing::io::TestIo;
use crate::wal::{Wal, WalHandle};

const CI: u64 = 20_000;
const WRITERS: u32 = 2;
const COMMITS: u32 = 2;
const READERS: u32 = 2;
const READS: u32 = 2;
const ROUNDS: u32 = 4;

/// What the background does once.
type Background = fn(&Wal) -> Result<()>;

struct Database {
    files: TestIo,
    disk: SlowDisk,
    wal: Arc<Wal>,
    index: Arc<Index>,
    /// The last commit that was acknowledged.
    acknowledged: AtomicU32,
}

impl Database {
    fn open(hides_marks: bool, cache: usize) -> Database {
        let rig = Rig::new().with("vwal_swap", "frames>=2");
        let disk = SlowDisk::new(rig.io.clone());
        let source = LogSource {
            io: Arc::new(disk.clone()),
            database: BASE.into(),
            dir: DIR.into(),
            base: rig.io.file(Path::new(BASE)),
            cache: Arc::new(FrameCache::new(cache)),
            options: rig.options.clone(),
            report: |_| {},
            read_only: false,
            create: true,
        };
        let log = Log::open(source).expect("it opens").expect("there is a log");
        let index = Index::new(hides_marks);
        let wal = Arc::new(Wal::new(Arc::new(log), Box::new(ForLog(Arc::clone(&index)))));
        Database { files: rig.io, disk, wal, index, acknowledged: AtomicU32::new(0) }
    }

    fn connect(&self) -> Connection {
        let handle = WalHandle::new(Arc::clone(&self.wal));
        handle.open_wal();
        handle.map_index(0, 32768, true).expect("the index is there");
        Connection { handle, index: Arc::clone(&self.index), files: self.files.clone() }
    }

    /// A commit that is made at some time.
    fn commit(&self, connection: &Connection) {
        let full = thread_rng().r#gen();
        loop {
            if let Some(k) =
                connection.try_commit(full).unwrap_or_else(|error| panic!("a commit fails: {error}"))
            {
                let log = self.wal.log();
                if full {
                    // At least its own frames; of those behind them nothing is said.
                    self.disk.assert_durable(log, log.synced_frame_no());
                }
                self.acknowledged.fetch_max(k, Ordering::SeqCst);
                return;
            }
            thread::yield_now();
        }
    }

    /// A read transaction: every page is that of one commit, none of the last one that was acknowledged before is missing.
    fn read(&self, connection: &Connection, before: &mut u32) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let snapshot = connection.begin_read(false);
        assert!(
            snapshot.k() >= acknowledged.max(*before),
            "the snapshot is older than what was acknowledged"
        );
        *before = snapshot.k();
        for page_no in (1..=PAGES).chain([2]) {
            connection.check_page(&snapshot, page_no);
        }
        connection.end_read(&snapshot);
    }
}

fn real(wal: &Wal) -> Result<()> {
    let log = wal.log();
    match thread_rng().gen_range(0..6) {
        0 => log.writer().look_after_current(&mut Some(log.published_frame_no())).map(drop),
        1 => log.writer().seal_segments(),
        _ => {
            wal.absorb_passively();
            log.checkpointer().checkpoint().map(drop)
        }
    }
}

fn model(hides_marks: bool, background: Background) {
    // Room for all pages, for some, or for none.
    let cache = [0, 4, 64][thread_rng().gen_range(0..3)] * 4096;
    let database = Database::open(hides_marks, cache);
    let first = database.connect();
    database.commit(&first);
    // Some frames are part of the view already, and what is read need not be in the WAL.
    if thread_rng().r#gen() {
        database.wal.absorb_passively();
    }
    drop(first);
    thread::scope(|scope| {
        let database = &database;
        for _ in 0..WRITERS {
            scope.spawn(move || {
                let connection = database.connect();
                (0..COMMITS).for_each(|_| database.commit(&connection));
            });
        }
        for _ in 0..READERS {
            scope.spawn(move || {
                let connection = database.connect();
                let mut before = 0;
                (0..READS).for_each(|_| database.read(&connection, &mut before));
            });
        }
        scope.spawn(move || {
            for _ in 0..ROUNDS {
                background(&database.wal).unwrap_or_else(|error| panic!("the background fails: {error}"));
                thread::yield_now();
            }
        });
    });
    // Everything goes to the base file, and is still the same.
    let connection = database.connect();
    for _ in 0..2 {
        let mut before = 1 + WRITERS * COMMITS;
        database.read(&connection, &mut before);
        assert_eq!(before, 1 + WRITERS * COMMITS);
        database.wal.absorb_passively();
        database.wal.log().checkpointer().checkpoint().expect("a pass");
    }
    let log = database.wal.log();
    assert_eq!(log.checkpointed_frame_no(), log.published_frame_no());
}

#[test]
fn every_page_of_a_reader_is_that_of_its_snapshot() {
    explore("checkpoint against readers", CI, || model(false, real));
}

#[test]
fn a_checkpoint_that_ignores_read_marks_is_found() {
    must_fail(CI, None, "the snapshot of commit", || model(true, real));
}

#[test]
fn a_segment_that_is_freed_while_it_is_read_is_found() {
    // Whoever comes first: a reader finds the frame in no segment, or an fsync finds no file under a name that it has just seen.
    must_fail(CI, None, "/db/app.db-wal", || {
        model(false, |wal| {
            real(wal)?;
            // With their files, or they would be found again by their names.
            let freed = wal
                .log()
                .writer()
                .take_segments(wal.log().checkpointed_frame_no())
                .expect("nobody else has it");
            freed.iter().try_for_each(|segment| wal.log().io().remove_file(segment.path()))
        });
    });
}

#[test]
fn an_absorption_without_the_locks_is_found() {
    must_fail(CI, None, "the snapshot of commit", || {
        model(false, |wal| {
            wal.log().checkpointer().absorb(wal.log().published_frame_no())?;
            real(wal)
        });
    });
}
