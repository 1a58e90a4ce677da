//! A local directory as an object store.
//!
//! An object is written into a temporary file beside it (`key#1`), fsync, hard link, fsync of the directory. Objects hold
//! pages of a database, so each is private to the user (mode 0600). `object_store`'s own backend deletes. This module sees to
//!
//! - the directory itself, which is made when the first object is put there, private to the user, and which stays the same one
//!   (`root.rs`);
//! - what is no regular file in the place of an object: it is refused without being opened, which could wait for ever;
//! - durability of what an earlier process left half done: an object that is found there already, with the same bytes, is
//!   written again, since nobody knows whether its fsync worked, and the directories above are fsynced once;
//! - deletions that stay deleted after a power cut;
//! - listings: sorted, and not ended by a file that is none of ours.

mod object_file;
mod prepare;
mod root;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
pub(super) use object_file::NO_LINK;
use object_file::{is_same, not_regular, object_name, write};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
pub(super) use root::Known;
pub(crate) use root::Place;
use root::Root;
use tokio::sync::Semaphore;

/// Directories below directories are followed this far: symbolic links may lead round in circles.
const DEEPEST: usize = 8;

/// So many directories are remembered as durable.
const REMEMBERED: usize = 1024;

/// So many files are looked at in one go while listing.
const LOOKED_AT: usize = 256;

/// A directory whose files are the objects.
#[derive(Clone)]
pub(super) struct LocalStore {
    inner: Arc<Inner>,
    /// Whoever has it may ask the disk. `None`: everybody may.
    turn: Option<Arc<Semaphore>>,
}

struct Inner {
    root: Root,
    /// Directories that have been fsynced, with all above them.
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    /// The store in the directory `root`, an absolute path, of which so much is known. Nothing is touched yet.
    pub fn new(root: PathBuf, known: Arc<Mutex<Known>>) -> Self {
        let inner = Inner { root: Root::new(root, known), durable: Mutex::default() };
        Self { inner: Arc::new(inner), turn: None }
    }

    /// The same, and it is asked one thing at a time: where a disk does not answer, no more than one thread waits for it, however
    /// often it is asked again.
    pub fn one_at_a_time(mut self) -> Self {
        self.turn = Some(Arc::new(Semaphore::new(1)));
        self
    }

    /// Runs `work` where waiting for a disk holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        let turn = match &self.turn {
            Some(turn) => Arc::clone(turn).acquire_owned().await.ok(),
            None => None,
        };
        let work = move || {
            let result = work(&inner);
            // Not when the caller gives up: this thread has still been waiting.
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
    }
}

impl Inner {
    /// Whether there is a directory: see [`Root::check`].
    fn is_there(&self) -> Result<bool> {
        self.root.check().map_err(|error| failed(self.root.path(), error))
    }

    fn missing(&self, key: &Key) -> Error {
        let source = format!("the directory '{}' does not exist", self.root.path().display());
        Error::NotFound { path: key.to_string(), source: source.into() }
    }

    /// The files and directories of the directory that `prefix` names, sorted as keys are.
    ///
    /// A directory sorts as if its name ended with a slash, which its keys have there.
    fn entries(&self, prefix: &Key) -> io::Result<Vec<(String, bool)>> {
        if !self.root.check()? {
            return Ok(Vec::new());
        }
        let mut directory = self.root.path().to_owned();
        directory.extend(prefix.parts().map(|part| part.as_ref().to_owned()));
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(name) = object_name(&entry.file_name()) else { continue };
            // What is not there any more, or is a link to nowhere, is no object.
            let Ok(mut kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                let (Ok(here), Ok(target)) = (fs::canonicalize(&directory), fs::canonicalize(entry.path()))
                else {
                    continue;
                };
                // Round in a circle: everything there is listed already.
                if here.starts_with(&target) {
                    continue;
                }
                let Ok(metadata) = fs::metadata(target) else { continue };
                kind = metadata.file_type();
            }
            if kind.is_dir() {
                found.push((format!("{name}/"), true));
            } else if kind.is_file() {
                found.push((name, false));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The keys below `prefix` that are greater than `after`, ascending; at most `limit`.
    fn keys(
        &self,
        prefix: &Key,
        after: &str,
        limit: usize,
        deep: usize,
        keys: &mut Vec<Key>,
    ) -> io::Result<()> {
        for (name, is_directory) in self.entries(prefix)? {
            if keys.len() >= limit {
                break;
            }
            let Ok(key) = Key::parse(format!("{prefix}/{name}")) else { continue };
            if !is_directory {
                if key.as_ref() > after {
                    keys.push(key);
                }
            // Keys below begin with this one and a slash: all of them may be before `after`.
            } else if deep < DEEPEST && (after < key.as_ref() || below_or_after(&key, after)) {
                self.keys(&key, after, limit, deep + 1, keys)?;
            }
        }
        Ok(())
    }

    fn meta(&self, key: Key, metadata: &fs::Metadata) -> Result<ObjectMeta> {
        let modified = metadata.modified().map_err(|error| failed(&self.path_of(&key), error))?;
        Ok(ObjectMeta {
            location: key,
            last_modified: modified.into(),
            size: metadata.len(),
            e_tag: None,
            version: None,
        })
    }

    fn describe(&self, key: Key) -> Result<Option<ObjectMeta>> {
        let path = self.path_of(&key);
        match fs::metadata(&path) {
            Ok(metadata) => self.meta(key, &metadata).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// The object, open for reading. Nothing but a regular file is opened: a FIFO would make this thread wait for ever.
    fn open(&self, key: &Key) -> Result<(File, ObjectMeta)> {
        let path = self.path_of(key);
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                Error::NotFound { path: key.to_string(), source: Box::new(error) }
            }
            _ => failed(&path, error),
        };
        let is_regular = |metadata: &fs::Metadata| match metadata.is_file() {
            true => Ok(()),
            // A key of which others are the continuation.
            false if metadata.is_dir() => Err(gone(io::Error::from(io::ErrorKind::NotFound))),
            false => Err(failed(&path, not_regular())),
        };
        is_regular(&fs::metadata(&path).map_err(gone)?)?;
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(gone)?;
        let metadata = file.metadata().map_err(gone)?;
        is_regular(&metadata)?;
        Ok((file, self.meta(key.clone(), &metadata)?))
    }

    fn path_of(&self, key: &Key) -> PathBuf {
        let mut path = self.root.path().to_owned();
        path.extend(key.parts().map(|part| part.as_ref().to_owned()));
        path
    }
}

/// Whether a key below the directory `key` can be greater than `after`, which is not less than `key`.
fn below_or_after(key: &Key, after: &str) -> bool {
    match after.strip_prefix(key.as_ref()) {
        Some(rest) => rest.as_bytes().first().is_none_or(|&next| next <= b'/'),
        None => key.as_ref() > after,
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    let error = io::Error::new(error.kind(), format!("'{}': {error}", path.display()));
    Error::Generic { store: "directory", source: Box::new(error) }
}

fn unsupported(operation: &str) -> Error {
    Error::NotSupported { source: format!("{operation} in a local directory").into() }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({:?})", self.inner.root.path())
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory '{}'", self.inner.root.path().display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let key = key.clone();
        let create = options.mode == PutMode::Create;
        self.blocking(move |inner| {
            let at = inner.path_of(&key);
            let put = |create| {
                let written = write(&at, &payload, create).map_err(|error| failed(&at, error))?;
                // Not in a directory that took the place of the right one meanwhile.
                inner.root.check().map_err(|error| failed(&at, error))?;
                Ok::<bool, Error>(written)
            };
            inner.prepare(&key).map_err(|error| failed(&at, error))?;
            let done = PutResult { e_tag: None, version: None, extensions: Default::default() };
            if put(create)? {
                return Ok(done);
            }
            if at.is_dir() {
                return Err(failed(&at, io::ErrorKind::IsADirectory.into()));
            }
            // Perhaps by a process that ended, or met an error, before the object was durable. The same bytes in a new file
            // and a new directory entry are, however the fsync of the old ones went.
            let (file, meta) = inner.open(&key)?;
            if meta.size == payload.content_length() as u64
                && is_same(file, &payload).map_err(|error| failed(&at, error))?
            {
                put(false)?;
                return Ok(done);
            }
            let source = "there is another object of that key".into();
            Err(Error::AlreadyExists { path: key.to_string(), source })
        })
        .await
    }

    async fn put_multipart_opts(&self, _: &Key, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("an upload in parts"))
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let key = key.clone();
        self.blocking(move |inner| {
            if !inner.is_there()? {
                return Err(inner.missing(&key));
            }
            let opened = inner.open(&key);
            if matches!(opened, Err(Error::NotFound { .. })) {
                // The object is gone, or the whole directory has gone since.
                inner.is_there()?;
            }
            let (file, meta) = opened?;
            let path = inner.path_of(&key);
            let range = match options.range.filter(|_| !options.head) {
                None => 0..meta.size,
                Some(range) => range
                    .as_range(meta.size)
                    .map_err(|source| Error::Generic { store: "directory", source: Box::new(source) })?,
            };
            Ok(GetResult {
                payload: GetResultPayload::File(file, path),
                meta,
                range,
                attributes: Default::default(),
                extensions: Default::default(),
            })
        })
        .await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        let store = self.clone();
        let deleted = async move {
            let keys: Vec<Result<Key>> = keys.collect().await;
            let results = store.delete_all(keys).await;
            stream::iter(results.unwrap_or_else(|error| vec![Err(error)]))
        };
        stream::once(deleted).flatten().boxed()
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_with_offset(prefix, &Key::default())
    }

    fn list_with_offset(&self, prefix: Option<&Key>, offset: &Key) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        let after = offset.as_ref().to_owned();
        let store = self.clone();
        let listed = async move {
            let keys = store
                .blocking(move |inner| {
                    let mut keys = Vec::new();
                    inner
                        .keys(&prefix, &after, usize::MAX, 0, &mut keys)
                        .map_err(|error| failed(inner.root.path(), error))?;
                    Ok(keys)
                })
                .await;
            // The names are read at once, which is quick. The files are looked at as far as somebody wants to know.
            let (keys, error) = match keys {
                Ok(keys) => (keys, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            let groups: Vec<Vec<Key>> = keys.chunks(LOOKED_AT).map(<[Key]>::to_vec).collect();
            let described = stream::iter(groups).then(move |keys| {
                let store = store.clone();
                async move {
                    let all = store.blocking(move |inner| {
                        let found =
                            keys.into_iter().filter_map(|key| inner.describe(key).transpose()).collect();
                        // A file that is gone was deleted, or all of them have gone.
                        inner.is_there()?;
                        Ok(found)
                    });
                    stream::iter(all.await.unwrap_or_else(|error| vec![Err(error)]))
                }
            });
            stream::iter(error).chain(described.flatten())
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.blocking(move |inner| {
            let mut common_prefixes = BTreeSet::new();
            let mut objects = Vec::new();
            for (name, is_directory) in
                inner.entries(&prefix).map_err(|error| failed(inner.root.path(), error))?
            {
                let Ok(key) = Key::parse(format!("{prefix}/{name}")) else { continue };
                if is_directory {
                    let mut below = Vec::new();
                    inner
                        .keys(&key, "", 1, 1, &mut below)
                        .map_err(|error| failed(inner.root.path(), error))?;
                    if !below.is_empty() {
                        common_prefixes.insert(key);
                    }
                } else {
                    objects.extend(inner.describe(key)?);
                }
            }
            // What was not found is gone, or the whole directory has gone since.
            inner.is_there()?;
            Ok(ListResult {
                common_prefixes: common_prefixes.into_iter().collect(),
                objects,
                extensions: Default::default(),
            })
        })
        .await
    }

    async fn copy_opts(&self, _: &Key, _: &Key, _: CopyOptions) -> Result<()> {
        Err(unsupported("a copy"))
    }
}

impl LocalStore {
    /// The backend that deletes; `None`: there is no directory.
    async fn files(&self) -> Result<Option<LocalFileSystem>> {
        self.blocking(|inner| {
            if !inner.is_there()? {
                return Ok(None);
            }
            let files = LocalFileSystem::new_with_prefix(inner.root.path())?;
            Ok(Some(files.with_fsync(true).with_automatic_cleanup(true)))
        })
        .await
    }

    async fn delete_all(&self, keys: Vec<Result<Key>>) -> Result<Vec<Result<Key>>> {
        let Some(files) = self.files().await? else { return Ok(keys) };
        // Directories go with their last object.
        self.inner.durable.lock().clear();
        let mut results = Vec::with_capacity(keys.len());
        let mut touched = HashSet::new();
        for key in keys {
            let result = match key {
                Ok(key) => files.delete(&key).await.map(|()| key),
                Err(error) => Err(error),
            };
            if let Ok(key) = &result {
                touched.extend(self.inner.path_of(key).parent().map(Path::to_owned));
            }
            results.push(result);
        }
        self.blocking(move |inner| {
            for directory in touched {
                // It goes with its last object; then the one above has changed.
                let mut at = directory.as_path();
                loop {
                    match File::open(at).and_then(|directory| directory.sync_all()) {
                        Ok(()) => break,
                        Err(error) if error.kind() == io::ErrorKind::NotFound && at != inner.root.path() => {
                            match at.parent() {
                                Some(above) => at = above,
                                None => break,
                            }
                        }
                        Err(error) => return Err(failed(at, error)),
                    }
                }
            }
            Ok(())
        })
        .await?;
        Ok(results)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_holds_one_thread_however_often_it_is_asked() {
        let store = LocalStore::new("/nothing/is/here".into(), Known::at_first_sight()).one_at_a_time();
        let (release, gate) = mpsc::channel::<()>();
        let began = Arc::new(AtomicU32::new(0));
        let limit = Duration::from_millis(50);
        crate::storage::runtime().expect("a runtime").block_on(async {
            let asked = Arc::clone(&began);
            let hung = store.blocking(move |_| {
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = gate.recv();
                Ok(())
            });
            assert!(tokio::time::timeout(limit, hung).await.is_err());
            let ask = || {
                let asked = Arc::clone(&began);
                store.blocking(move |_| Ok(asked.fetch_add(1, Ordering::SeqCst)))
            };
            for _ in 0..10 {
                assert!(tokio::time::timeout(Duration::from_millis(5), ask()).await.is_err());
            }
            assert_eq!(began.load(Ordering::SeqCst), 1, "nobody else waits for the disk");
            release.send(()).expect("it waits");
            assert_eq!(ask().await.expect("it answers"), 1);
        });
    }
}
