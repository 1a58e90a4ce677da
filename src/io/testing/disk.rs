//! What a disk may hold after a power loss.
//!
//! A [`Disks`] is fed the operations of a program one by one. It knows what must be on the disk now (the durable image),
//! and the *units* that may be there or not: each piece of a write within one 4096-byte block, each change of a size, each
//! name made, moved or removed. An fsync of a file makes its writes and size durable, not its name; the fsync of a
//! directory makes the names in it durable. What a failed fsync of a file was to write is never made durable by a later one,
//! since the kernel takes it for clean. (Names are in a journal, and after an error there the file system is read-only: they
//! stay as they are.)

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::io::SyncSite;

/// What the disk writes as one.
pub const SECTOR: usize = 512;
/// What the page cache writes as one.
const BLOCK: usize = 4096;

/// Names a file, whatever its path is.
pub type FileId = usize;

/// Bytes of a file.
#[derive(Default, Debug)]
pub struct Content {
    pub data: Vec<u8>,
    hash: OnceLock<u64>,
}

impl Clone for Content {
    fn clone(&self) -> Self {
        Content { data: self.data.clone(), hash: OnceLock::new() }
    }
}

impl Content {
    pub fn new(data: Vec<u8>) -> Content {
        Content { data, hash: OnceLock::new() }
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[start..end].copy_from_slice(bytes);
        self.hash = OnceLock::new();
    }

    pub fn set_len(&mut self, len: u64) {
        self.data.resize(len as usize, 0);
        self.hash = OnceLock::new();
    }

    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.data.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    File(FileId),
    Directory,
}

/// Files and names: what a disk holds, or what a running program sees.
#[derive(Clone, Default, Debug)]
pub struct Image {
    pub names: BTreeMap<PathBuf, Node>,
    pub files: BTreeMap<FileId, Arc<Content>>,
}

impl Image {
    /// The content of the file at `path`.
    pub fn read(&self, path: &Path) -> Option<&[u8]> {
        match self.names.get(path)? {
            Node::File(id) => Some(&self.files[id].data),
            Node::Directory => None,
        }
    }

    /// Put a file at `path`, or replace its content.
    pub fn put(&mut self, path: &Path, data: Vec<u8>) {
        let id = self.next_id();
        self.files.insert(id, Arc::new(Content::new(data)));
        self.names.insert(path.to_owned(), Node::File(id));
    }

    pub fn next_id(&self) -> FileId {
        self.files.keys().next_back().map_or(0, |id| id + 1)
    }

    /// Names of the files in a directory, in order.
    pub fn list<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.names.keys().map(PathBuf::as_path).filter(move |path| path.parent() == Some(dir))
    }

    /// Equal images have the same.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, node) in &self.names {
            path.hash(&mut hasher);
            match node {
                Node::File(id) => self.files[id].hash().hash(&mut hasher),
                Node::Directory => 0.hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    fn file(&mut self, id: FileId) -> &mut Content {
        Arc::make_mut(self.files.entry(id).or_default())
    }

    /// Drop what no name leads to: a directory that was lost takes everything in it along.
    fn prune(mut self) -> Image {
        let kept: BTreeMap<PathBuf, Node> = self
            .names
            .iter()
            .filter(|(path, _)| {
                path.ancestors()
                    .skip(1)
                    .all(|above| above.parent().is_none() || self.names.get(above) == Some(&Node::Directory))
            })
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let named: BTreeSet<FileId> = kept
            .values()
            .filter_map(|node| if let Node::File(id) = node { Some(*id) } else { None })
            .collect();
        self.files.retain(|id, _| named.contains(id));
        self.names = kept;
        self
    }
}

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
        site: SyncSite,
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
    Write { offset: u64, data: Arc<[u8]>, from: usize, to: usize },
    SetLen(u64),
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

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
    /// The blocks were allocated, the bytes not written: zeros, where the file had no bytes before.
    Zeros,
}

/// See the module.
#[derive(Clone)]
pub struct Disks {
    durable: Image,
    units: Vec<Unit>,
}

impl Disks {
    /// A disk at rest.
    pub fn new(image: Image) -> Disks {
        Disks { durable: image, units: Vec::new() }
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
                let mut from = 0;
                while from < data.len() {
                    let at = *offset as usize + from;
                    let to = data.len().min(from + BLOCK - at % BLOCK);
                    let change = Change::Write { offset: *offset, data: Arc::clone(data), from, to };
                    self.push(Object::File(*file), change);
                    from = to;
                }
            }
            Op::SetLen { file, len } => self.push(Object::File(*file), Change::SetLen(*len)),
            Op::Sync { file, .. } => self.sync(&Object::File(*file), record.failed),
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
        // What is durable, with nothing doubtful before it, goes into the image.
        let mut open: BTreeSet<Object> = BTreeSet::new();
        let mut rest = Vec::new();
        for unit in std::mem::take(&mut self.units) {
            if unit.state == State::Durable && !open.contains(&unit.object) {
                put(&mut self.durable, &unit, Fate::Kept);
            } else {
                open.insert(unit.object.clone());
                rest.push(unit);
            }
        }
        self.units = rest;
    }

    /// How many units may be there or not.
    pub fn open_units(&self) -> usize {
        self.units.iter().filter(|unit| unit.state != State::Durable).count()
    }

    /// Whether an open unit is part of a write, and how many sectors it has.
    pub fn sectors(&self, unit: usize) -> Option<usize> {
        match &self.units.iter().filter(|unit| unit.state != State::Durable).nth(unit)?.change {
            Change::Write { offset, from, to, .. } => {
                let (start, end) = (*offset as usize + from, *offset as usize + to);
                Some(end.div_ceil(SECTOR) - start / SECTOR)
            }
            _ => None,
        }
    }

    /// The disk after a crash in which each open unit had the fate that `fate` says.
    pub fn crash(&self, mut fate: impl FnMut(usize) -> Fate) -> Image {
        let mut image = self.durable.clone();
        let mut at = 0;
        for unit in &self.units {
            if unit.state == State::Durable {
                put(&mut image, unit, Fate::Kept);
            } else {
                put(&mut image, unit, fate(at));
                at += 1;
            }
        }
        image.prune()
    }

    /// Only what was fsynced survives.
    pub fn crash_hard(&self) -> Image {
        self.crash(|_| Fate::Lost)
    }
}

fn put(image: &mut Image, unit: &Unit, fate: Fate) {
    if fate == Fate::Lost {
        return;
    }
    match (&unit.change, &unit.object) {
        (Change::Write { offset, data, from, to }, Object::File(id)) => {
            let (mut from, mut to) = (*from, *to);
            let start = *offset as usize + from;
            // The sector behind the first `sectors` that the write touches.
            let cut = |sectors: usize| ((start / SECTOR + sectors) * SECTOR).saturating_sub(*offset as usize);
            match fate {
                Fate::Head(sectors) => to = to.min(cut(sectors).max(from)),
                Fate::Tail(sectors) => from = from.max(cut(sectors).min(to)),
                Fate::Zeros => {
                    let end = *offset + to as u64;
                    let file = image.file(*id);
                    let len = file.data.len() as u64;
                    return file.set_len(len.max(end));
                }
                Fate::Lost | Fate::Kept => {}
            }
            if from < to {
                image.file(*id).write(*offset + from as u64, &data[from..to]);
            }
        }
        (Change::SetLen(len), Object::File(id)) => image.file(*id).set_len(*len),
        (Change::Link(path, node), _) => {
            if let Node::File(id) = node {
                image.file(*id);
            }
            image.names.insert(path.clone(), *node);
        }
        (Change::Unlink(path), _) => drop(image.names.remove(path)),
        (Change::Rename(from, to, node), _) => {
            if let Node::File(id) = node {
                image.file(*id);
            }
            image.names.remove(from);
            image.names.insert(to.clone(), *node);
        }
        (Change::Write { .. } | Change::SetLen(_), Object::Names(_)) => {
            unreachable!("bytes belong to a file")
        }
    }
}
