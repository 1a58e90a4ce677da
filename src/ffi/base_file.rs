//! The base file, through the VFS that vwal stands on.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libsqlite3_sys as sqlite;

use super::shim::{self, VwalBase};
use crate::error::{Error, FileOp, Result};
use crate::io::{File, SyncSite};

/// Bytes that one call of the VFS moves: the largest page. The unix VFS cannot write more than 131071 at once
/// (`seekAndWriteFd` in `os_unix.c` keeps 17 bits of the length), as SQLite itself never does.
const MAX_CALL: usize = 1 << 16;

pub(super) struct BaseFile {
    path: PathBuf,
    base: *mut VwalBase,
}

// SAFETY: the file of a VFS has no thread affinity. The unix VFS reads and writes with pread and pwrite and keeps no
// position. What it changes in its own structure, it changes in writes (the last errno, whether the size has to be updated),
// and those come from one checkpoint pass at a time; reads at most store the last errno, which nobody reads.
unsafe impl Send for BaseFile {}
// SAFETY: as above.
unsafe impl Sync for BaseFile {}

impl BaseFile {
    /// Open the file. Also says whether it can only be read.
    pub(super) fn open(database: &Path, wal: &Path) -> Result<(BaseFile, bool)> {
        let c_string = |path: &Path| {
            CString::new(path.as_os_str().as_bytes())
                .map_err(|_| Error::Usage(format!("the path '{}' has a NUL in it", path.display())))
        };
        let (database_name, wal_name) = (c_string(database)?, c_string(wal)?);
        let mut read_only = 0;
        let mut base = std::ptr::null_mut();
        // SAFETY: both names are C strings that live through the call, which copies them; the out pointers are valid.
        let code = unsafe {
            shim::vwal_base_open(database_name.as_ptr(), wal_name.as_ptr(), &mut read_only, &mut base)
        };
        let file = BaseFile { path: database.to_owned(), base };
        file.check(FileOp::Open, None, code)?;
        Ok((file, read_only != 0))
    }

    fn check(&self, op: FileOp, offset: Option<u64>, code: c_int) -> Result<()> {
        if code == sqlite::SQLITE_OK {
            return Ok(());
        }
        if code & 0xff == sqlite::SQLITE_FULL {
            return Err(Error::Full { op, path: self.path.clone() });
        }
        if code & 0xff == sqlite::SQLITE_READONLY && !op.is_fsync() {
            return Err(Error::ReadOnly { path: self.path.clone() });
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
            // SAFETY: `bytes` is readable; `base` is open until `self` is dropped.
            let code = unsafe {
                shim::vwal_base_write(self.base, bytes.as_ptr().cast(), bytes.len() as c_int, signed(at))
            };
            self.check(FileOp::Write, Some(at), code)?;
        }
        Ok(())
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
        let code = crate::io::testing::announcing(site, sync);
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
