//! What a disk may hold after a power loss.
//!
//! A [`Disks`] is fed the operations of a program one by one. It knows what must be on the disk now (the durable image),
//! and the *units* that may be there or not: each piece of a write within one 4096-byte block, each change of a size, by a write
//! too, each name made, moved or removed. An fsync of a file makes its writes and size durable, not its name; the fsync of a
//! directory makes the names in it durable. What a failed fsync of a file was to write is never made durable by a later one,
//! since the kernel takes it for clean. (Names are in a journal, and after an error there the file system is read-only: they
//! stay as they are.)

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::image::{Content, FileId, Image, Node};
use super::splitmix;
use crate::io::SyncSite;

/// What the disk writes as one.
const SECTOR: usize = 512;
/// What the page cache writes as one.
const BLOCK: usize = 4096;

/// An operation of the program, as it was done.
#[derive(Clone, Debug)]
pub enum Op {
    Create {
        file: FileId,
        path: PathBuf,
    },
    Write {
        file: FileId,
        offset: u64,
        data: Arc<[u8]>,
    },
    SetLen {
        file: FileId,
        len: u64,
    },
    Sync {
        file: FileId,
        /// `None`: SQLite's own, which has no name.
        site: Option<SyncSite>,
    },
    Rename {
        file: FileId,
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    CreateDir {
        path: PathBuf,
    },
    RemoveDir {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
        /// `None`: SQLite's own.
        site: Option<SyncSite>,
    },
    /// Not an operation: what the test wants to find in the trace.
    Mark(Mark),
}

/// What a test notes in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Commit number so and so begins.
    Attempt(u32),
    /// Commits up to this number are durable, the program was told.
    Acknowledged(u32),
    /// Frames up to this number are published.
    Published(u64),
    /// Complete segments up to this frame are sealed, the program was told.
    Sealed(u64),
    /// The log was removed, the program was told.
    Left,
}

/// One line of the trace.
#[derive(Clone, Debug)]
pub struct Record {
    pub op: Op,
    /// An fsync that failed. Other failed operations are not in the trace, since they changed nothing.
    pub failed: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write {
        offset: u64,
        data: Arc<[u8]>,
        from: usize,
        to: usize,
    },
    /// The size that a write beyond the end leaves. Without it the bytes are on the disk, and not in the file.
    Grow(u64),
    SetLen(u64),
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

/// Tells the objects of one [`Disks`] from each other.
pub type ObjectId = usize;

/// A file, or the names in a directory: what one fsync is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    File(FileId),
    Names(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next fsync makes it durable.
    Dirty,
    /// An fsync of it failed: it may be on the disk, but no fsync will bring it there.
    Doubtful,
    Durable,
}

#[derive(Clone, Debug)]
struct Unit {
    object: Object,
    change: Change,
    state: State,
}

/// What becomes of a unit in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Kept,
    /// Only this many sectors of a write, from its start.
    Head(usize),
    /// All of a write but this many sectors from its start.
    Tail(usize),
    /// The blocks were allocated, the bytes not written: zeros.
    Zeros,
    /// Random bytes, by this seed.
    Garbage(u64),
}

/// See the module.
#[derive(Clone)]
pub struct Disks {
    durable: Image,
    units: Vec<Unit>,
    /// How long each file is for the program.
    sizes: BTreeMap<FileId, u64>,
}

impl Disks {
    /// A disk at rest.
    pub fn new(image: Image) -> Disks {
        let sizes = image.files.iter().map(|(&id, content)| (id, content.data.len() as u64)).collect();
        Disks { durable: image, units: Vec::new(), sizes }
    }

    /// A number that no file has had yet.
    pub fn next_id(&self) -> FileId {
        let used = self.units.iter().filter_map(|unit| match (&unit.object, &unit.change) {
            (Object::File(id), _) => Some(*id),
            (_, Change::Link(_, Node::File(id)) | Change::Rename(_, _, Node::File(id))) => Some(*id),
            _ => None,
        });
        used.map(|id| id + 1).max().unwrap_or(0).max(self.durable.next_id())
    }

    fn push(&mut self, object: Object, change: Change) {
        self.units.push(Unit { object, change, state: State::Dirty });
    }

    /// The program did this.
    pub fn apply(&mut self, record: &Record) {
        let names = |path: &Path| Object::Names(path.parent().map(Path::to_owned).unwrap_or_default());
        match &record.op {
            Op::Create { file, path } => {
                self.push(names(path), Change::Link(path.clone(), Node::File(*file)))
            }
            Op::Write { file, offset, data } => {
                let end = *offset + data.len() as u64;
                let size = self.sizes.entry(*file).or_default();
                if end > *size {
                    *size = end;
                    self.push(Object::File(*file), Change::Grow(end));
                }
                let mut from = 0;
                while from < data.len() {
                    let at = *offset as usize + from;
                    let to = data.len().min(from + BLOCK - at % BLOCK);
                    let change = Change::Write { offset: *offset, data: Arc::clone(data), from, to };
                    self.push(Object::File(*file), change);
                    from = to;
                }
            }
            Op::SetLen { file, len } => {
                self.sizes.insert(*file, *len);
                self.push(Object::File(*file), Change::SetLen(*len));
            }
            Op::Sync { file, .. } => self.sync(&Object::File(*file), record.failed),
            // From one directory to another it need not be one thing: where it is done as a link and a removal, it is two.
            Op::Rename { file, from, to } if from.parent() != to.parent() => {
                self.push(names(to), Change::Link(to.clone(), Node::File(*file)));
                self.push(names(from), Change::Unlink(from.clone()));
            }
            Op::Rename { file, from, to } => {
                self.push(names(to), Change::Rename(from.clone(), to.clone(), Node::File(*file)))
            }
            Op::Remove { path } | Op::RemoveDir { path } => {
                self.push(names(path), Change::Unlink(path.clone()))
            }
            Op::CreateDir { path } => self.push(names(path), Change::Link(path.clone(), Node::Directory)),
            Op::SyncDir { path, .. } if !record.failed => self.sync(&Object::Names(path.clone()), false),
            Op::SyncDir { .. } => {}
            Op::Mark(_) => {}
        }
    }

    fn sync(&mut self, object: &Object, failed: bool) {
        for unit in self.units.iter_mut().filter(|unit| unit.object == *object && unit.state == State::Dirty)
        {
            unit.state = if failed { State::Doubtful } else { State::Durable };
        }
        self.forget_removed_directories();
        // What is durable, with nothing doubtful before it, goes into the image.
        let mut open: BTreeSet<Object> = BTreeSet::new();
        let mut rest = Vec::new();
        let mut sizes = BTreeMap::new();
        for unit in std::mem::take(&mut self.units) {
            if unit.state == State::Durable && !open.contains(&unit.object) {
                put(&mut self.durable, &mut sizes, &unit, Fate::Kept);
            } else {
                open.insert(unit.object.clone());
                rest.push(unit);
            }
        }
        cut(&mut self.durable, &sizes);
        self.units = rest;
    }

    /// What was removed in a directory that is gone for good does not come back in another one of that name.
    fn forget_removed_directories(&mut self) {
        for at in 0..self.units.len() {
            let (before, rest) = self.units.split_at_mut(at);
            if let Unit { change: Change::Unlink(path), state: State::Durable, .. } = &rest[0] {
                let inside = Object::Names(path.clone());
                before
                    .iter_mut()
                    .filter(|unit| unit.object == inside)
                    .for_each(|unit| unit.state = State::Durable);
            }
        }
    }

    /// How many units may be there or not.
    pub fn open_units(&self) -> usize {
        self.open().count()
    }

    fn open(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|unit| unit.state != State::Durable)
    }

    /// Whether an open unit is part of a write, and how many sectors it has.
    pub fn sectors(&self, unit: usize) -> Option<usize> {
        self.open().nth(unit)?.sectors()
    }

    /// Of each open unit, which object it is of, and how many sectors it has if it is part of a write.
    pub fn kinds(&self) -> Vec<(ObjectId, Option<usize>)> {
        let mut objects: Vec<&Object> = self.open().map(|unit| &unit.object).collect();
        objects.sort_unstable();
        objects.dedup();
        let place = |unit: &Unit| objects.binary_search(&&unit.object).unwrap_or_default();
        self.open().map(|unit| (place(unit), unit.sectors())).collect()
    }

    /// The disk after a crash in which each open unit had the fate that `fate` says.
    pub fn crash(&self, mut fate: impl FnMut(usize) -> Fate) -> Image {
        let mut image = self.durable.clone();
        let mut sizes = BTreeMap::new();
        let mut at = 0;
        for unit in &self.units {
            if unit.state == State::Durable {
                put(&mut image, &mut sizes, unit, Fate::Kept);
            } else {
                put(&mut image, &mut sizes, unit, fate(at));
                at += 1;
            }
        }
        cut(&mut image, &sizes);
        image.prune()
    }

    /// Only what was fsynced survives.
    pub fn crash_hard(&self) -> Image {
        self.crash(|_| Fate::Lost)
    }
}

impl Unit {
    fn sectors(&self) -> Option<usize> {
        match &self.change {
            Change::Write { offset, from, to, .. } => {
                let (start, end) = (*offset as usize + from, *offset as usize + to);
                Some(end.div_ceil(SECTOR) - start / SECTOR)
            }
            _ => None,
        }
    }
}

/// What the files are long. While units are put, the bytes of a file may be more: those that are on the disk and not in the
/// file, until its size comes.
fn cut(image: &mut Image, sizes: &BTreeMap<FileId, u64>) {
    for (&id, &size) in sizes {
        if image.files.get(&id).is_some_and(|content| content.data.len() as u64 != size) {
            image.file(id).set_len(size);
        }
    }
}

fn put(image: &mut Image, sizes: &mut BTreeMap<FileId, u64>, unit: &Unit, fate: Fate) {
    if fate == Fate::Lost {
        return;
    }
    if let Object::File(id) = unit.object {
        let file = image.file(id);
        let size = sizes.entry(id).or_insert(file.data.len() as u64);
        match &unit.change {
            Change::Write { offset, data, from, to } => {
                if unit.state == State::Durable {
                    // What is on the disk for good is in the file, even where the fsync that was to make it longer failed.
                    *size = (*size).max(*offset + *to as u64);
                }
                write(file, *offset, data, *from..*to, fate);
            }
            Change::Grow(end) => *size = (*size).max(*end),
            Change::SetLen(len) => {
                if file.data.len() as u64 > *len {
                    file.set_len(*len);
                }
                *size = *len;
            }
            Change::Link(..) | Change::Unlink(_) | Change::Rename(..) => {
                unreachable!("names are in a directory")
            }
        }
        return;
    }
    let mut link = |path: &PathBuf, node: Node| {
        if let Node::File(id) = node {
            image.file(id);
        }
        image.names.insert(path.clone(), node);
    };
    match &unit.change {
        Change::Link(path, node) => link(path, *node),
        Change::Unlink(path) => drop(image.names.remove(path)),
        Change::Rename(from, to, node) => {
            link(to, *node);
            image.names.remove(from);
        }
        Change::Write { .. } | Change::Grow(_) | Change::SetLen(_) => unreachable!("bytes belong to a file"),
    }
}

/// The piece `range` of a write of `data` at `offset`, as far as its fate lets it.
fn write(file: &mut Content, offset: u64, data: &[u8], range: Range<usize>, fate: Fate) {
    let Range { start: mut from, end: mut to } = range;
    let first = (offset as usize + from) / SECTOR;
    // The sector behind the first `sectors` that the write touches.
    let cut = |sectors: usize| ((first + sectors) * SECTOR).saturating_sub(offset as usize);
    match fate {
        Fate::Head(sectors) => to = to.min(cut(sectors).max(from)),
        Fate::Tail(sectors) => from = from.max(cut(sectors).min(to)),
        Fate::Zeros => return file.write(offset + from as u64, &vec![0; to - from]),
        Fate::Garbage(mut seed) => {
            let garbage: Vec<u8> = (from..to).map(|_| splitmix(&mut seed) as u8).collect();
            return file.write(offset + from as u64, &garbage);
        }
        Fate::Lost | Fate::Kept => {}
    }
    if from < to {
        file.write(offset + from as u64, &data[from..to]);
    }
}
