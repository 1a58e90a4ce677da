//! Power loss during a restore: the target is not there, or all of it is, and what was noted as done is gone on with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mutation::gate;
use super::rig::{Content, HOME, PAGE, Rig};
use super::sweep::{Crash, Plan, Recording, Recovered, Subject, campaign};
use crate::error::{Error, Result};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::restore_journal::{Progress, RESTORE_TEXT_OFFSET};
use crate::io::{Io, OpenMode, SyncSite};
use crate::restore::{Restore, Restored, Target};
use crate::ship::ship_once;
use crate::storage::Storage;
use crate::testing::io::{Disks, Fault, FileId, Image, Kind, Mark, Node, Op, Record, TestIo, splitmix};
use crate::testing::storage::{TestStorage, block_on};

const TARGET: &str = "/db/new.db";
const LEFT: &str = "/db/.new.db.vwal-restore";
const JOURNAL: &str = "/db/.new.db.vwal-restore/journal";
/// Files of others, which stay as they are.
const FOREIGN: [&str; 2] = ["/db/other.db", "/db/.new.db.vwal-restore/theirs"];
/// Where the restored database is moved to.
const KEPT: &str = "/db/kept.db";

/// Progress is noted after so many bytes.
const PIECE: usize = 2 * PAGE;

/// What there is to restore.
#[derive(Clone)]
struct World {
    storage: Arc<TestStorage>,
    /// The state that is wanted, and another one.
    plans: [Target; 2],
    /// The file that the first one makes.
    expected: Vec<u8>,
    /// So many bundles are merged at once.
    merged: usize,
    without: Option<SyncSite>,
}

impl World {
    /// A log of ten commits, one of which leaves a page that nobody ever wrote.
    fn new(merged: usize, without: Option<SyncSite>) -> World {
        let storage = TestStorage::new();
        let shared: Arc<dyn Storage> = Arc::clone(&storage) as _;
        let db = Rig::new().with("vwal_storage", "memory://unused").open().unwrap();
        let mut content = Content::first();
        let mut holes = Vec::new();
        let mut early = 0;
        for k in 1..=10u32 {
            let size = content.pages.len() as u32 + 1 + u32::from(k == 7);
            let pages = [1, 2, size];
            content = content.after(k, &pages, size);
            if k == 7 {
                holes.push(size as usize - 2);
            }
            db.commit(k, &pages, size, true).unwrap();
            ship_once(db.wal.log(), &shared).unwrap();
            if k == 5 {
                early = db.log().published_frame_no();
            }
        }
        let mut expected = content.bytes();
        holes.iter().for_each(|at| expected[at * PAGE..][..PAGE].fill(0));
        let mut world =
            World { storage, plans: [Target::Latest, Target::Frame(early)], expected, merged, without };
        let io = TestIo::after(Disks::new(foreign()));
        let restored = world.restore(&io, 0).unwrap();
        let made = io.live().read(Path::new(TARGET)).unwrap().to_vec();
        let (pages, footer) = made.split_at(made.len() - FOOTER_SIZE);
        assert_eq!(pages, world.expected);
        let footer = Footer::decode(footer).unwrap();
        assert_eq!(
            (footer.frame_no, footer.log_id, footer.db_size_pages as usize),
            (restored.resolved.commit.frame_no, db.log().log_id(), content.pages.len())
        );
        assert_eq!(holes.len(), 1);
        world.expected = made;
        world
    }

    fn restore(&self, io: &TestIo, plan: usize) -> Result<Restored> {
        let storage: Arc<dyn Storage> = Arc::clone(&self.storage) as _;
        let restore = Restore::new(&"memory://unused".parse().unwrap()).target(self.plans[plan]);
        let restore = restore.in_pieces(PIECE, self.merged);
        block_on(restore.run_over(Arc::new(io.clone()), &storage, Path::new(TARGET), &mut |_| ()))
    }

    fn io(&self, disks: Disks) -> TestIo {
        let io = TestIo::after(disks);
        if let Some(site) = self.without {
            io.skip_sync(site);
        }
        io
    }
}

/// A disk with the files of others.
fn foreign() -> Image {
    let mut image = Image::default();
    image.names.insert(HOME.into(), Node::Directory);
    image.put(Path::new(FOREIGN[0]), vec![7; 100]);
    image
}

/// A disk on which somebody has put a file where a restore works.
fn foreign_inside() -> Image {
    let mut image = foreign();
    image.names.insert(LEFT.into(), Node::Directory);
    image.put(Path::new(FOREIGN[1]), vec![8; 100]);
    image
}

/// Progress that was noted, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    sequence: u64,
    text: String,
}

/// What was noted as done behind each line of a trace, and was durable then.
fn claims(start: &Image, trace: &[Record], first: Option<Claim>) -> Vec<Option<Claim>> {
    let mut journals: BTreeMap<FileId, PathBuf> = BTreeMap::new();
    if let Some(Node::File(id)) = start.names.get(Path::new(JOURNAL)) {
        journals.insert(*id, JOURNAL.into());
    }
    let bytes = start.read(Path::new(JOURNAL)).unwrap_or_default();
    let mut text = bytes.get(RESTORE_TEXT_OFFSET as usize..).map(text_of).unwrap_or_default();
    let mut claim = first;
    let mut written = None;
    let mut claims = vec![claim.clone()];
    for record in trace {
        // Behind a slot comes its fsync, or, when that is left out, something else: either way it has been told.
        let told = written.take().filter(|_| !record.failed);
        claim = told.or(claim);
        match &record.op {
            Op::Create { file, path } if path == Path::new(JOURNAL) => {
                journals.insert(*file, path.clone());
            }
            Op::Write { file, offset, data } if journals.contains_key(file) => {
                if *offset == RESTORE_TEXT_OFFSET {
                    text = text_of(data);
                } else if let Ok(progress) = Progress::decode(data, &text)
                    && progress.sequence > 0
                {
                    written = Some(Claim { sequence: progress.sequence, text: text.clone() });
                }
            }
            // Another restore begins, or this one ends.
            Op::Remove { path } if path.starts_with(LEFT) => claim = None,
            Op::SetLen { file, .. } if journals.contains_key(file) => claim = None,
            Op::Sync { file, .. } if record.failed && journals.contains_key(file) => claim = None,
            _ => {}
        }
        claims.push(claim.clone());
    }
    claims
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Finds what a crash left, and restores again.
struct Restoring {
    world: World,
    claims: Vec<Option<Claim>>,
    /// What is at [`FOREIGN`].
    foreign: Vec<(PathBuf, Vec<u8>)>,
}

impl Restoring {
    fn new(world: &World, recording: &Recording, first: Option<Claim>) -> Restoring {
        let start = recording.start.crash_hard();
        let foreign = FOREIGN.iter().filter_map(|path| {
            let bytes = start.read(Path::new(path))?;
            Some((PathBuf::from(path), bytes.to_vec()))
        });
        let foreign = foreign.collect();
        let live = TestIo::after(recording.start.clone()).live();
        Restoring { world: world.clone(), claims: claims(&live, &recording.trace, first), foreign }
    }

    /// Whether the target is there; then it must be whole.
    fn is_there(&self, image: &Image) -> Result<bool, String> {
        for (path, bytes) in &self.foreign {
            if image.read(path) != Some(bytes) {
                return Err(format!("{} is not what it was", path.display()));
            }
        }
        match image.read(Path::new(TARGET)) {
            None => Ok(false),
            Some(bytes) if bytes == self.world.expected => Ok(true),
            Some(bytes) => {
                let differs = bytes.iter().zip(&self.world.expected).position(|(a, b)| a != b);
                Err(format!(
                    "the target has {} bytes and is not what was restored at {differs:?}",
                    bytes.len()
                ))
            }
        }
    }

    /// What was noted must be there. Whether the wanted restore goes on from it.
    fn check_claim(&self, image: &Image, at: usize) -> Result<bool, String> {
        let Some(claim) = &self.claims[at] else { return Ok(false) };
        let bytes = image.read(Path::new(JOURNAL)).unwrap_or_default();
        match Progress::of_journal(bytes, &claim.text) {
            Some(progress) if progress.sequence >= claim.sequence => {}
            found => return Err(format!("slot {} was noted, and there is {found:?}", claim.sequence)),
        }
        // The other state ends at an earlier frame.
        Ok(self.names_wanted(&claim.text))
    }

    fn names_wanted(&self, text: &str) -> bool {
        let footer = &self.world.expected[self.world.expected.len() - FOOTER_SIZE..];
        Footer::decode(footer)
            .is_ok_and(|footer| text.starts_with(&format!("frame {} of log ", footer.frame_no)))
    }

    /// The database is moved away and written to. A restore to its former place makes it again, and leaves that one alone.
    fn move_away_and_restore(&self, io: &TestIo) -> Result<(), String> {
        let told = |error: Error| format!("moved away: {error}");
        let kept = Path::new(KEPT);
        io.rename(Path::new(TARGET), kept).map_err(told)?;
        let file = io.open(kept, OpenMode::ReadWrite).map_err(told)?;
        let size = file.size().map_err(told)? as usize;
        file.write_at(&vec![0x55; size], 0).map_err(told)?;
        self.world.restore(io, 0).map_err(told)?;
        let image = io.live();
        if image.read(kept) != Some(&vec![0x55; size][..]) {
            return Err("a restore has written to a database that was moved away".into());
        }
        self.is_there(&image)?.then_some(()).ok_or_else(|| "moved away, and not restored".into())
    }
}

impl Subject for Restoring {
    fn recover(&self, crash: Crash) -> Result<Recovered, String> {
        let io = self.world.io(crash.disks);
        let image = io.live();
        if self.is_there(&image)? {
            match self.world.restore(&io, 0) {
                Err(Error::Target { .. }) => {}
                other => return Err(format!("a restore over what is there: {other:?}")),
            }
            self.is_there(&io.live())?;
            self.move_away_and_restore(&io)?;
            return Ok(Recovered { k: 1, again: None });
        }
        let goes_on = self.check_claim(&image, crash.at)?;
        io.mark(Mark::Attempt(1));
        let restored = self.world.restore(&io, 0).map_err(|error| format!("again: {error}"))?;
        io.mark(Mark::Acknowledged(1));
        if goes_on && !restored.continued {
            return Err("what was noted as done was done again".into());
        }
        for image in [io.live(), io.disks().crash_hard()] {
            if !self.is_there(&image)? {
                return Err("it was restored again, and is not there".into());
            }
        }
        if !crash.again {
            return Ok(Recovered { k: 0, again: None });
        }
        let recording = Recording { start: io.start(), trace: io.trace() };
        let second = Restoring {
            foreign: self.foreign.clone(),
            ..Restoring::new(&self.world, &recording, self.claims[crash.at].clone())
        };
        Ok(Recovered { k: 0, again: Some((recording, Box::new(second))) })
    }

    /// What was noted is part of what is checked.
    fn context(&self, at: usize) -> u64 {
        self.claims[at]
            .as_ref()
            .map_or(0, |claim| 2 * claim.sequence + u64::from(self.names_wanted(&claim.text)))
    }
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// No space is left after so many pieces.
    Full(usize),
    /// The journal's first fsync fails, or the first piece where one goes on.
    Unsynced,
}

/// How many bundles are merged at once, and attempts at one of the two states that come to nothing; then the first one is restored.
fn attempts(seed: u64) -> (&'static str, usize, Vec<(usize, End)>) {
    match seed {
        0 => ("fresh", 8, vec![]),
        1 => ("gone on with", 8, vec![(0, End::Full(2)), (0, End::Full(1))]),
        // In one go, or the last bundles write again the pages that tell the two apart.
        2 => ("another one between", 64, vec![(0, End::Full(1)), (1, End::Full(1))]),
        3 => {
            ("another one between, twice", 64, vec![(0, End::Full(1)), (1, End::Unsynced), (1, End::Full(1))])
        }
        _ => {
            let mut next = seed;
            let count = 1 + splitmix(&mut next) % 4;
            let one = |_| {
                let plan = (splitmix(&mut next) % 2) as usize;
                match splitmix(&mut next) % 4 {
                    0 => (plan, End::Unsynced),
                    // The other state has five pieces, of which four attempts do not do more than four.
                    _ => (plan, End::Full((splitmix(&mut next) % [4, 2][plan]) as usize)),
                }
            };
            let attempts = (0..count).map(one).collect();
            ("random", if seed.is_multiple_of(3) { 8 } else { 64 }, attempts)
        }
    }
}

fn recorded(seed: u64, without: Option<SyncSite>) -> (String, Recording, Box<dyn Subject>) {
    let (label, merged, attempts) = attempts(seed);
    let world = World::new(merged, without);
    let start = if seed.is_multiple_of(2) { foreign() } else { foreign_inside() };
    let io = world.io(Disks::new(start));
    io.mark(Mark::Attempt(1));
    let mut is_done = false;
    for (plan, end) in attempts {
        match end {
            End::Full(pieces) => {
                let fault = Fault { part: 100, ..Fault::on(Kind::Write, libc::ENOSPC).at("/database") };
                io.fail(fault.after(pieces));
            }
            End::Unsynced => {
                io.fail(Fault::on(Kind::Sync, libc::EIO).at("/journal").once());
                io.fail(Fault::on(Kind::Write, libc::EIO).at("/database"));
            }
        }
        let result = world.restore(&io, plan);
        io.heal();
        if result.is_ok() {
            // One that goes on may have less to write than that.
            assert_eq!(plan, 0, "the other state is in the way");
            is_done = true;
            break;
        }
    }
    if !is_done {
        world.restore(&io, 0).unwrap();
    }
    io.mark(Mark::Acknowledged(1));
    let recording = Recording { start: io.start(), trace: io.trace() };
    let subject = Restoring::new(&world, &recording, None);
    (format!("{label}, seed {seed}"), recording, Box::new(subject))
}

#[test]
fn a_restore_survives_a_power_loss() {
    let plan = Plan { seed: 0, states: 0, again: 10, kills: 3, within: 20, shrink: true };
    campaign("restore", [4, 16], [60, 160, 2_000], plan, |seed| recorded(seed, None));
}

#[test]
fn without_any_fsync_of_a_restore_a_power_loss_loses_something() {
    let sites = [
        (SyncSite::RestoreJournal, 2),
        (SyncSite::RestoreNames, 1),
        (SyncSite::RestoreDirectoryName, 0),
        (SyncSite::RestorePages, 0),
        (SyncSite::RestoreProgress, 0),
        (SyncSite::RestoredFile, 0),
        (SyncSite::EndedJournal, 0),
        (SyncSite::RestoredName, 0),
    ];
    gate("restore", &sites, 16, recorded);
}
