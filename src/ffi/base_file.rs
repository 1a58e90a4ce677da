//! The base file, through the VFS that vwal stands on.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libsqlite3_sys as sqlite;

use super::shim::{self, VwalBase};
use crate::error::{Error, FileOp, Result};
use crate::io::{File, SyncSite};

/// Bytes that one call of the VFS moves: the largest page. The unix VFS cannot write more than 131071 at once
/// (`seekAndWriteFd` in `os_unix.c` keeps 17 bits of the length), as SQLite itself never does.
const MAX_CALL: usize = 1 << 16;

/// `SQLITE_IOERR_DATA`: the checksum of a page is wrong, says a VFS that keeps some.
const IOERR_DATA: c_int = sqlite::SQLITE_IOERR | (32 << 8);
/// `SQLITE_IOERR_CORRUPTFS`: the file system says that it is damaged.
const IOERR_CORRUPTFS: c_int = sqlite::SQLITE_IOERR | (33 << 8);

pub(super) struct BaseFile {
    path: PathBuf,
    base: *mut VwalBase,
    /// The parent is the unix VFS, and not one that takes each write for one page.
    plain: bool,
    /// The file once more, for its count of names.
    names: Option<std::fs::File>,
}

// SAFETY: the file of a VFS has no thread affinity. The unix VFS reads and writes with pread and pwrite and keeps no
// position. What it changes in its own structure, it changes in writes (the last errno, whether the size has to be updated),
// and those come from one checkpoint pass at a time; reads at most store the last errno, which nobody reads.
unsafe impl Send for BaseFile {}
// SAFETY: as above.
unsafe impl Sync for BaseFile {}

impl BaseFile {
    /// Open the file; `read_only`: for nothing else. Also says whether it can only be read.
    ///
    /// # Safety
    ///
    /// `owner` is what the shim passed to `attach`; `database` and `wal` are names that SQLite's pager has passed to the shim, and still has.
    pub(super) unsafe fn open(
        owner: *const c_void,
        database: *const c_char,
        wal: *const c_char,
        read_only: bool,
    ) -> Result<(BaseFile, bool)> {
        let mut read_only = c_int::from(read_only);
        let mut base = std::ptr::null_mut();
        // SAFETY: the caller's promise; the call copies both names; the out pointers are valid.
        let (path, plain, code) = unsafe {
            let path = PathBuf::from(OsStr::from_bytes(CStr::from_ptr(database).to_bytes()));
            let code = shim::vwal_base_open(owner, database, wal, &mut read_only, &mut base);
            (path, shim::vwal_base_is_plain() != 0, code)
        };
        let mut file = BaseFile { path, base, plain, names: None };
        file.check(FileOp::Open, None, code)?;
        if plain {
            file.names = open_for_names(&file.path).filter(|_| file.is_named(&file.path));
        }
        Ok((file, read_only != 0))
    }

    fn check(&self, op: FileOp, offset: Option<u64>, code: c_int) -> Result<()> {
        if code == sqlite::SQLITE_OK {
            return Ok(());
        }
        if code & 0xff == sqlite::SQLITE_FULL {
            return Err(Error::Full { op, path: self.path.clone() });
        }
        // Another file has its name: the shim has words for that code.
        let is_moved = code == sqlite::SQLITE_READONLY_DBMOVED;
        if code & 0xff == sqlite::SQLITE_READONLY && !is_moved && !op.is_fsync() {
            return Err(Error::ReadOnly { path: self.path.clone() });
        }
        // A failed fsync is one whatever the VFS calls it: it poisons the log. Otherwise only the codes of file operations are
        // replaced, by those of ours: SQLITE_NOMEM, the fault of a checksum and so on are SQLite's to tell.
        let is_io = matches!(code & 0xff, sqlite::SQLITE_IOERR | sqlite::SQLITE_CANTOPEN);
        let is_told = matches!(code, sqlite::SQLITE_IOERR_NOMEM | IOERR_DATA | IOERR_CORRUPTFS);
        if !op.is_fsync() && (!is_io || is_told) {
            return Err(Error::Vfs { op, path: self.path.clone(), offset, code });
        }
        let system = std::io::Error::last_os_error();
        Err(Error::Io {
            op,
            path: self.path.clone(),
            offset,
            kind: std::io::ErrorKind::Other,
            message: format!("SQLite's VFS says {code} (system: {system})"),
        })
    }
}

/// A descriptor that cannot read or write: closing any other would drop the locks that SQLite holds on the file (`locks_remove_posix`
/// in `fs/open.c` of Linux leaves out those that were opened with `O_PATH`). `None`: there is none here.
#[cfg(target_os = "linux")]
fn open_for_names(path: &Path) -> Option<std::fs::File> {
    use rustix::fs::{Mode, OFlags, open};
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok().map(Into::into)
}

#[cfg(not(target_os = "linux"))]
fn open_for_names(_: &Path) -> Option<std::fs::File> {
    None
}

fn signed(offset: u64) -> i64 {
    // Larger than any file; the VFS refuses it.
    i64::try_from(offset).unwrap_or(i64::MAX)
}

impl File for BaseFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        // A short read is told only by its code, so ask for no more than there is.
        let available =
            usize::try_from(self.size()?.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let mut done = 0;
        while done < available {
            let len = (available - done).min(MAX_CALL);
            let at = offset + done as u64;
            // SAFETY: `buf[done..done + len]` is writable; `base` is open until `self` is dropped.
            let code = unsafe {
                shim::vwal_base_read(
                    self.base,
                    buf[done..done + len].as_mut_ptr().cast(),
                    len as c_int,
                    signed(at),
                )
            };
            self.check(FileOp::Read, Some(at), code)?;
            done += len;
        }
        Ok(available)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        for (part, bytes) in buf.chunks(MAX_CALL).enumerate() {
            let at = offset + (part * MAX_CALL) as u64;
            let mut copy = Vec::new();
            let pointer = if self.plain {
                bytes.as_ptr().cast_mut()
            } else {
                // Such a VFS may write its checksum into the buffer.
                copy.extend_from_slice(bytes);
                copy.as_mut_ptr()
            };
            // SAFETY: `pointer` has `bytes.len()` bytes, and the unix VFS changes none of them; `base` is open until `self` is
            // dropped.
            let code =
                unsafe { shim::vwal_base_write(self.base, pointer.cast(), bytes.len() as c_int, signed(at)) };
            self.check(FileOp::Write, Some(at), code)?;
        }
        Ok(())
    }

    fn is_named(&self, _: &Path) -> bool {
        // SAFETY: `base` is open until `self` is dropped.
        unsafe { shim::vwal_base_has_moved(self.base) == 0 }
    }

    fn is_unlinked(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let names = self.names.as_ref().and_then(|file| file.metadata().ok()).map(|meta| meta.nlink());
        names == Some(0)
    }

    fn joins_pages(&self) -> bool {
        self.plain
    }

    fn set_len(&self, len: u64) -> Result<()> {
        // SAFETY: `base` is open until `self` is dropped.
        let code = unsafe { shim::vwal_base_truncate(self.base, signed(len)) };
        self.check(FileOp::Resize, Some(len), code)
    }

    fn size(&self) -> Result<u64> {
        let mut len = 0;
        // SAFETY: `base` is open until `self` is dropped.
        let code = unsafe { shim::vwal_base_size(self.base, &mut len) };
        self.check(FileOp::LookAt, None, code)?;
        Ok(u64::try_from(len).unwrap_or(0))
    }

    fn sync(&self, site: SyncSite) -> Result<()> {
        // SAFETY: `base` is open until `self` is dropped.
        let sync = || unsafe { shim::vwal_base_sync(self.base) };
        #[cfg(test)]
        let code = crate::testing::io::announcing(site, sync);
        #[cfg(not(test))]
        let code = {
            let _ = site;
            sync()
        };
        self.check(FileOp::Sync, None, code)
    }
}

impl Drop for BaseFile {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer; vwal_base_close takes null.
        unsafe { shim::vwal_base_close(self.base) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file was replaced after the connection had looked, and before the second handle was opened.
    #[test]
    fn a_file_that_was_replaced_is_not_called_read_only() {
        let file = BaseFile { path: "a.db".into(), base: std::ptr::null_mut(), plain: true, names: None };
        let code = |code| file.check(FileOp::Open, None, code).unwrap_err().sqlite_code();
        assert_eq!(code(sqlite::SQLITE_READONLY_DBMOVED), sqlite::SQLITE_READONLY_DBMOVED);
        assert_eq!(code(sqlite::SQLITE_READONLY), sqlite::SQLITE_READONLY);
    }
}
