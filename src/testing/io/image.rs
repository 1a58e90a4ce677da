//! Files and names: what a disk holds, or what a running program sees.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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
            // A power loss is tried in a hundred thousand variants, and each of them is hashed: 16 bytes with one
            // multiplication, as in wyhash (Wang Yi, 2019).
            let fold = |a: u64, b: u64| {
                let product = u128::from(a) * u128::from(b);
                (product ^ (product >> 64)) as u64
            };
            let mut hash = self.data.len() as u64 ^ 0xA076_1D64_78BD_642F;
            let mut words = self.data.chunks_exact(16);
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            for two in &mut words {
                hash = fold(word(&two[..8]) ^ 0xE703_7ED1_A0B4_28DB, word(&two[8..]) ^ hash);
            }
            let mut last = [0; 16];
            last[..words.remainder().len()].copy_from_slice(words.remainder());
            fold(word(&last[..8]) ^ 0xE703_7ED1_A0B4_28DB, word(&last[8..]) ^ hash)
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

    pub(super) fn file(&mut self, id: FileId) -> &mut Content {
        Arc::make_mut(self.files.entry(id).or_default())
    }

    /// Drop what no name leads to: a directory that was lost takes everything in it along.
    pub(super) fn prune(mut self) -> Image {
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
