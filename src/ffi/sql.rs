//! The verbs of `c/vwal.h` behind the SQL functions and tables.

use std::ffi::{c_char, c_int};

use libsqlite3_sys as sqlite;

use super::fork;
use super::guard::{guard_with_message, with_handle};
use super::methods::Handle;
use super::shim::{VwalProcessRow, VwalSegmentRow, VwalStatusRow, sqlite_string};
use crate::error::Error;
use crate::types::SegmentState;

/// Frame numbers are below 2^63: a log at a million frames a second gets there in 290,000 years.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Write a UUID's text.
///
/// # Safety
///
/// `out` has room for 37 bytes.
unsafe fn write_log_id(handle: &Handle, out: *mut c_char) {
    let text = handle.log().log_id().to_string();
    // SAFETY: the caller's promise; a hyphenated UUID has 36 characters.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast::<u8>(), text.len().min(36));
        *out.add(text.len().min(36)) = 0;
    }
}

pub(super) unsafe extern "C" fn log_id(handle: *mut Handle, out: *mut c_char) {
    // SAFETY: an open handle; `out` has room for 37 bytes.
    unsafe {
        *out = 0;
        with_handle(handle, |handle| {
            write_log_id(handle, out);
            Ok(sqlite::SQLITE_OK)
        })
    };
}

/// A number of an open handle; -1 in a forked child.
///
/// # Safety
///
/// An open handle.
unsafe fn number(handle: *mut Handle, get: impl FnOnce(&Handle) -> Option<u64>) -> i64 {
    let mut value = None;
    // SAFETY: the caller's promise.
    unsafe {
        with_handle(handle, |handle| {
            value = get(handle);
            Ok(sqlite::SQLITE_OK)
        })
    };
    value.map_or(-1, signed)
}

pub(super) unsafe extern "C" fn frame_no(handle: *mut Handle) -> i64 {
    // SAFETY: an open handle.
    unsafe { number(handle, |handle| handle.database().map(|database| database.frame_no())) }
}

pub(super) unsafe extern "C" fn durable_frame_no(handle: *mut Handle) -> i64 {
    // SAFETY: an open handle.
    unsafe { number(handle, |handle| handle.database().map(|database| database.durable_frame_no())) }
}

pub(super) unsafe extern "C" fn checkpointed_frame_no(handle: *mut Handle) -> i64 {
    // SAFETY: an open handle.
    unsafe { number(handle, |handle| handle.database().map(|database| database.checkpointed_frame_no())) }
}

pub(super) unsafe extern "C" fn metrics(handle: *mut Handle) -> *mut c_char {
    let mut text = std::ptr::null_mut();
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            text = sqlite_string(&handle.database().ok_or(Error::Forked)?.metrics());
            Ok(sqlite::SQLITE_OK)
        })
    };
    text
}

pub(super) unsafe extern "C" fn flush(
    handle: *mut Handle,
    frame_no: *mut i64,
    message: *mut *mut c_char,
) -> c_int {
    // SAFETY: an open handle and valid out pointers.
    unsafe {
        guard_with_message(message, || {
            let handle = &*handle;
            if handle.generation != fork::generation() {
                return Err(Error::Forked);
            }
            *frame_no = signed(handle.database().ok_or(Error::Forked)?.sync()?);
            Ok(sqlite::SQLITE_OK)
        })
    }
}

pub(super) unsafe extern "C" fn drain(
    handle: *mut Handle,
    frame_no: *mut i64,
    message: *mut *mut c_char,
) -> c_int {
    // SAFETY: an open handle and valid out pointers.
    unsafe {
        guard_with_message(message, || {
            let handle = &*handle;
            if handle.generation != fork::generation() {
                return Err(Error::Forked);
            }
            *frame_no = signed(handle.log().checkpointer().checkpoint()?);
            Ok(sqlite::SQLITE_OK)
        })
    }
}

pub(super) unsafe extern "C" fn status(handle: *mut Handle, row: *mut VwalStatusRow) -> c_int {
    // SAFETY: an open handle and a row that may be written.
    unsafe {
        with_handle(handle, |handle| {
            let status = handle.database().ok_or(Error::Forked)?.status();
            let text = |text: &Option<String>| text.as_deref().map_or(std::ptr::null_mut(), sqlite_string);
            let row = &mut *row;
            row.path = sqlite_string(&status.path.to_string_lossy());
            write_log_id(handle, row.log_id.as_mut_ptr());
            row.frame_no = signed(status.frame_no);
            row.durable_frame_no = signed(status.durable_frame_no);
            row.checkpointed_frame_no = signed(status.checkpointed_frame_no);
            row.page_size = i64::from(status.page_size);
            row.db_size_pages = i64::from(status.db_size_pages);
            row.segment_count = signed(status.segment_count);
            row.log_bytes = signed(status.log_bytes);
            row.storage = text(&status.storage);
            row.last_error = text(&status.last_error);
            Ok(sqlite::SQLITE_OK)
        })
    }
}

pub(super) unsafe extern "C" fn segment_count(handle: *mut Handle, count: *mut c_int) -> c_int {
    // SAFETY: an open handle and a valid out pointer.
    unsafe {
        with_handle(handle, |handle| {
            let segments = handle.database().ok_or(Error::Forked)?.segments();
            *count = c_int::try_from(segments.len()).unwrap_or(c_int::MAX);
            *handle.segments.lock() = segments;
            Ok(sqlite::SQLITE_OK)
        })
    }
}

pub(super) unsafe extern "C" fn segment(handle: *mut Handle, at: c_int, row: *mut VwalSegmentRow) -> c_int {
    // SAFETY: an open handle and a row that may be written.
    unsafe {
        with_handle(handle, |handle| {
            let segments = handle.segments.lock();
            let Some(info) = usize::try_from(at).ok().and_then(|at| segments.get(at)) else {
                return Ok(sqlite::SQLITE_DONE);
            };
            let row = &mut *row;
            row.start = signed(info.start_frame_no);
            row.end = signed(info.end_frame_no);
            row.state = match info.state {
                SegmentState::Current => c"current",
                SegmentState::Sealed => c"sealed",
            }
            .as_ptr();
            row.bytes = signed(info.bytes);
            row.path = sqlite_string(&info.path.to_string_lossy());
            Ok(sqlite::SQLITE_OK)
        })
    }
}

pub(super) unsafe extern "C" fn process_count(handle: *mut Handle, count: *mut c_int) -> c_int {
    // SAFETY: an open handle and a valid out pointer.
    unsafe {
        with_handle(handle, |handle| {
            let processes = handle.database().ok_or(Error::Forked)?.processes();
            *count = c_int::try_from(processes.len()).unwrap_or(c_int::MAX);
            *handle.processes.lock() = processes;
            Ok(sqlite::SQLITE_OK)
        })
    }
}

pub(super) unsafe extern "C" fn process(handle: *mut Handle, at: c_int, row: *mut VwalProcessRow) -> c_int {
    // SAFETY: an open handle and a row that may be written.
    unsafe {
        with_handle(handle, |handle| {
            let processes = handle.processes.lock();
            let Some(info) = usize::try_from(at).ok().and_then(|at| processes.get(at)) else {
                return Ok(sqlite::SQLITE_DONE);
            };
            let row = &mut *row;
            row.slot = info.slot as i64;
            row.pid = i64::from(info.pid);
            row.program = sqlite_string(&info.program);
            row.since = sqlite_string(&info.since());
            Ok(sqlite::SQLITE_OK)
        })
    }
}
