//! An open file in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{FileId, Inner, Kind, Op, Record};
use crate::error::{FileOp, Result};
use crate::io::{File, Mapping, SyncSite};

pub(super) struct TestFile {
    pub(super) inner: Arc<Inner>,
    pub(super) path: PathBuf,
    pub(super) id: FileId,
}

impl File for TestFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn map(&self, _: u64, len: usize) -> Result<Box<dyn Mapping>> {
        let line = || Line([const { AtomicU64::new(0) }; 16]);
        Ok(Box::new(Region((0..len.div_ceil(128)).map(|_| line()).collect())))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.inner.state.lock();
        let most = match state.fault(Kind::Read, &self.path) {
            Some(fault) if fault.lies => fault.part,
            Some(fault) => return Err(fault.told(FileOp::Read, &self.path, Some(offset))),
            None => usize::MAX,
        };
        let data = &state.live.files[&self.id].data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len()).min(most);
        buf[..len].copy_from_slice(&rest[..len]);
        state.read += len as u64;
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut state = self.inner.state.lock();
        let fault = state.fault(Kind::Write, &self.path);
        let written = fault.map_or(buf.len(), |fault| fault.part.min(buf.len()));
        if written > 0 {
            state.content(self.id).write(offset, &buf[..written]);
            if !self.is_worthless() {
                state.record(Op::Write { file: self.id, offset, data: buf[..written].into() });
            }
        }
        match fault {
            None => Ok(()),
            Some(fault) => Err(fault.told(FileOp::Write, &self.path, Some(offset))),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.inner.state.lock();
        state.check(Kind::SetLen, FileOp::Resize, &self.path, Some(len))?;
        state.content(self.id).set_len(len);
        if !self.is_worthless() {
            state.record(Op::SetLen { file: self.id, len });
        }
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.inner.state.lock().live.files[&self.id].data.len() as u64)
    }

    fn sync(&self, site: SyncSite) -> Result<()> {
        self.sync_for(Some(site))
    }
}

impl TestFile {
    /// The wal-index, which nobody reads after a crash: what is written there needs no place in the trace.
    fn is_worthless(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "shm")
    }

    /// `None`: SQLite's own fsync of one of its files.
    pub(super) fn sync_for(&self, site: Option<SyncSite>) -> Result<()> {
        let mut state = self.inner.state.lock();
        if site.is_some_and(|site| state.skipped.contains(&site)) {
            return Ok(());
        }
        state.held += 1;
        self.inner.changed.notify_all();
        while state.hold {
            self.inner.changed.wait(&mut state);
        }
        state.held -= 1;
        let (works, result) = state.check_sync(Kind::Sync, FileOp::Sync, &self.path);
        state.trace.push(Record { op: Op::Sync { file: self.id, site }, failed: !works });
        result
    }
}

/// A region of the wal-index. Nothing of it is on the disk.
struct Region(Box<[Line]>);

/// As much as anything in it may want to be aligned to.
#[repr(align(128))]
struct Line(#[expect(dead_code, reason = "it is reached by its address")] [AtomicU64; 16]);

impl Mapping for Region {
    fn pointer(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }
}
