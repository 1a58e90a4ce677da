//! Buffers and offsets as SQLite passes them to a VFS.

use std::ffi::{c_int, c_void};

use libsqlite3_sys as sqlite;

use crate::error::{Error, Result};

/// A buffer of SQLite's.
///
/// # Safety
///
/// `buf` points to `len` bytes that may be written.
pub(super) unsafe fn bytes_mut<'a>(buf: *mut c_void, len: c_int) -> &'a mut [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(buf.cast(), usize::try_from(len).unwrap_or(0)) }
}

pub(super) fn unsigned(offset: i64) -> Result<u64> {
    u64::try_from(offset).map_err(|_| Error::Usage(format!("a file offset of {offset}")))
}

/// A read that ended early fills the rest with zeros, as `xRead` must
/// (<https://sqlite.org/c3ref/io_methods.html>).
pub(super) fn short_read(buf: &mut [u8], got: usize) -> c_int {
    if got == buf.len() {
        return sqlite::SQLITE_OK;
    }
    buf[got..].fill(0);
    sqlite::SQLITE_IOERR_SHORT_READ
}
