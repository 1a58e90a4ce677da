//! Which directory storage is in.
//!
//! A path names another directory, or none, when a disk is unmounted or a directory is renamed or replaced. What is put
//! there then is in the wrong place, and is missing when the right one is back. So the first directory that is found is
//! remembered, and every operation looks whether the path still names it.
//!
//! The directory is not held open: a disk could not be unmounted then. A new mount of the same disk may have another device
//! number; whoever knows what should be there looks again, and decides by that ([`Place`]).

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::format::crc32;
use crate::options::{Scheme, StorageUrl};
use crate::storage::probe::PROBE_KEY;

/// What tells a directory from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// A directory that is made after another one was removed often gets its inode number. `None`: the file system does not
    /// keep it.
    born: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity { device: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() }
    }
}

/// What is known of the directory, and what may be done when nothing is.
#[derive(Debug)]
pub(in crate::storage) struct Known {
    identity: Option<Identity>,
    /// It may be made, when none is known.
    makes: bool,
    /// The object [`PROBE_KEY`] was in it, which every storage has and nothing deletes.
    marked: bool,
}

impl Known {
    /// Nothing is known: the first directory that is found is the one, and the first put makes it if there is none.
    pub fn at_first_sight() -> Arc<Mutex<Known>> {
        Arc::new(Mutex::new(Known { identity: None, makes: true, marked: false }))
    }
}

/// Bit of the numbers of what is no directory.
const BUCKET: u32 = 1 << 31;

/// The directory of a `file:` URL as the two tasks that ship a log know it. The shipper looks whether the log is there, and
/// the keeper works in the directory that the shipper has found right, and in no other. For other stores it means nothing.
#[derive(Debug)]
pub(crate) struct Place {
    shipper: Arc<Mutex<Known>>,
    keeper: Arc<Mutex<Known>>,
}

impl Default for Place {
    fn default() -> Self {
        let known = || Arc::new(Mutex::new(Known { identity: None, makes: false, marked: false }));
        Place { shipper: known(), keeper: known() }
    }
}

impl Place {
    /// A number for the place that a URL names, by which the metadata remembers it: of 31 bits for a directory, above that for a bucket.
    /// 0: it ends with the process.
    pub fn number(url: &StorageUrl) -> u32 {
        let number = (crc32(0, &[url.to_string().as_bytes()]) >> 1).max(1);
        match url.scheme() {
            Scheme::File => number,
            Scheme::Memory => 0,
            _ => number | BUCKET,
        }
    }

    /// Whether it is a directory, whose place another one, or none, can take.
    pub fn is_directory(number: u32) -> bool {
        number != 0 && number & BUCKET == 0
    }

    /// The shipper is about to ask what is there: whatever directory it finds now is the one that it asks.
    pub fn look_again(&self) {
        *self.shipper.lock() = Known { identity: None, makes: false, marked: false };
    }

    /// This log has nothing to lose there, so that the directory may be made.
    pub fn allow_making(&self) {
        self.shipper.lock().makes = true;
    }

    /// The shipper has found the log there, or has begun it. The keeper begins after that.
    pub fn settle(&self) {
        let mut known = self.shipper.lock();
        known.makes = false;
        let mut keeper = self.keeper.lock();
        (keeper.identity, keeper.marked) = (known.identity, known.marked);
    }

    pub(in crate::storage) fn of_shipper(&self) -> Arc<Mutex<Known>> {
        Arc::clone(&self.shipper)
    }

    pub(in crate::storage) fn of_keeper(&self) -> Arc<Mutex<Known>> {
        Arc::clone(&self.keeper)
    }
}

/// The directory that storage is in.
pub(super) struct Root {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
}

impl Root {
    pub fn new(path: PathBuf, known: Arc<Mutex<Known>>) -> Root {
        Root { path, known }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory is there; `false`: none is, and none was seen before.
    ///
    /// An error when another one is in its place, when it is not there any more, or when the one above is missing too, which
    /// may be a disk that is not mounted.
    pub fn check(&self) -> io::Result<bool> {
        let found = match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Identity::of(&metadata),
            Ok(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.missing(),
            Err(error) => return Err(error),
        };
        let mut known = self.known.lock();
        match known.identity {
            Some(identity) if identity == found => Ok(true),
            Some(_) => Err(away(
                "this is another directory than the one that storage is in (was that one unmounted or replaced?): \
                                 bring that one back",
            )),
            None => {
                known.identity = Some(found);
                known.marked = fs::symlink_metadata(self.path.join(PROBE_KEY)).is_ok();
                Ok(true)
            }
        }
    }

    /// Returns an error when the object that every storage has has gone since it was seen: whoever removed it has removed others, too.
    /// It stays an error until the directory is looked at anew ([`Place::look_again`]).
    pub fn check_mark(&self) -> io::Result<()> {
        let is_there = match fs::symlink_metadata(self.path.join(PROBE_KEY)) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let mut known = self.known.lock();
        if known.marked && !is_there {
            return Err(away(
                "objects that were there are not there any more (was storage emptied?): bring them back",
            ));
        }
        known.marked = is_there;
        Ok(())
    }

    fn missing(&self) -> io::Result<bool> {
        if self.known.lock().identity.is_some() {
            return Err(away(
                "the directory that storage is in is not there any more (was it unmounted or renamed?): bring it back",
            ));
        }
        match self.path.parent().map(Path::try_exists) {
            Some(Ok(false)) => Err(missing_above(&self.path)),
            _ => Ok(false),
        }
    }

    /// Makes the directory, unless it is there. Only the last part of its path: what is above may be the place of a disk that
    /// is not mounted.
    pub fn make(&self) -> io::Result<()> {
        if self.check()? {
            return Ok(());
        }
        if !self.known.lock().makes {
            return Err(away("there is no directory, and it is not made: is a disk not mounted?"));
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing_above(&self.path)),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match self.check()? {
            true => Ok(()),
            false => Err(away("it cannot be made: a symbolic link to nowhere is in its place")),
        }
    }
}

/// The error of a directory that is away and may come back. Its kind is not `NotFound`: a caller that looks for an object takes
/// that for an object that was deleted.
pub(super) fn away(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, what)
}

fn missing_above(root: &Path) -> io::Error {
    let above = root.parent().unwrap_or(root).display();
    let what = format!("the directory '{above}' does not exist, and is not made: is a disk not mounted?");
    io::Error::new(io::ErrorKind::NotFound, what)
}
