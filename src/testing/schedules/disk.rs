//! Files below a model: an fsync takes a while, and covers what was written before it began, and no more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuttle::thread::yield_now;

use crate::error::Result;
use crate::format::segment_header::{SEAL_OFFSET, SEGMENT_HEAD_SIZE};
use crate::io::{File, Holder, Io, LockFile, OpenMode, PathKind, SyncSite};
use crate::log::Log;
use crate::testing::io::TestIo;

/// A write that is not durable.
struct Pending {
    path: PathBuf,
    from: u64,
    to: u64,
    /// Counts the writes.
    number: u64,
}

#[derive(Default)]
struct State {
    number: u64,
    writes: Vec<Pending>,
    /// Names that are not durable, and when they came.
    names: Vec<(PathBuf, u64)>,
}

/// See the module. The mutex is not shuttle's: nobody who holds it can be interrupted.
#[derive(Clone)]
pub struct SlowDisk {
    files: TestIo,
    state: Arc<Mutex<State>>,
}

impl SlowDisk {
    pub fn new(files: TestIo) -> SlowDisk {
        SlowDisk { files, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Panics unless a power loss now would leave every frame up to `frame_no`.
    pub fn assert_durable(&self, log: &Log, frame_no: u64) {
        let segments: Vec<_> = log.view().segments().iter().map(Arc::clone).collect();
        for segment in segments.iter().filter(|segment| segment.start() <= frame_no) {
            let end = segment.frame_offset(frame_no.min(segment.end()) + 1);
            let state = self.state();
            let lacks = |from: u64, to: u64| {
                state
                    .writes
                    .iter()
                    .any(|write| write.path == segment.path() && write.from.max(from) < write.to.min(to))
            };
            let named = !state.names.iter().any(|(path, _)| path == segment.path());
            let whole = !lacks(0, SEAL_OFFSET as u64) && !lacks(SEGMENT_HEAD_SIZE as u64, end);
            assert!(
                named && whole,
                "frame {frame_no} is acknowledged, and '{}' is not durable (name: {named})",
                segment.path().display()
            );
        }
    }
}

impl Io for SlowDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let is_new = self.files.kind(path)? == PathKind::Missing;
        let file = self.files.open(path, mode)?;
        if is_new {
            let mut state = self.state();
            state.number += 1;
            let number = state.number;
            state.names.push((path.to_owned(), number));
        }
        Ok(Arc::new(SlowFile { file, disk: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.files.rename(from, to)?;
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        state.names.push((to.to_owned(), number));
        for write in state.writes.iter_mut().filter(|write| write.path == from) {
            write.path = to.to_owned();
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path, site: SyncSite) -> Result<()> {
        let began = self.state().number;
        yield_now();
        self.files.sync_dir(path, site)?;
        yield_now();
        self.state().names.retain(|(_, number)| *number > began);
        Ok(())
    }

    fn kind(&self, path: &Path) -> Result<PathKind> {
        self.files.kind(path)
    }
    fn identity(&self, path: &Path) -> Result<(u64, u64)> {
        self.files.identity(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.files.list(path)
    }
    fn create_dir(&self, path: &Path) -> Result<()> {
        self.files.create_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.files.remove_dir(path)
    }
    fn remove_file(&self, path: &Path) -> Result<()> {
        self.files.remove_file(path)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.files.rename_new(from, to)
    }
    fn lock(&self, path: &Path, read_only: bool) -> Result<std::result::Result<LockFile, Holder>> {
        self.files.lock(path, read_only)
    }
    fn now_us(&self) -> u64 {
        self.files.now_us()
    }
    fn random_u64(&self) -> u64 {
        self.files.random_u64()
    }
}

struct SlowFile {
    file: Arc<dyn File>,
    disk: SlowDisk,
}

impl File for SlowFile {
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.file.write_at(buf, offset)?;
        let mut state = self.disk.state();
        state.number += 1;
        let number = state.number;
        let (path, to) = (self.path().to_owned(), offset + buf.len() as u64);
        state.writes.push(Pending { path, from: offset, to, number });
        Ok(())
    }

    fn sync(&self, site: SyncSite) -> Result<()> {
        let began = self.disk.state().number;
        yield_now();
        self.file.sync(site)?;
        yield_now();
        let path = self.path();
        self.disk.state().writes.retain(|write| write.path != path || write.number > began);
        Ok(())
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }
    fn size(&self) -> Result<u64> {
        self.file.size()
    }
}
