//! What every call from C goes through.

use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use libsqlite3_sys as sqlite;

use super::methods::Handle;
use super::{fork, shim};
use crate::error::{Error, Result};

/// Tell SQLite's error log.
pub(super) fn report(error: &Error) {
    log_message(error.sqlite_code(), &error.to_string());
}

pub(super) fn log_message(code: c_int, message: &str) {
    if let Ok(message) = CString::new(message.replace('\0', " ")) {
        // SAFETY: the message is a C string that lives through the call; sqlite3_log copies it.
        unsafe { shim::vwal_log(code, message.as_ptr()) };
    }
}

/// Run `body`; an error is logged and becomes its code, a panic becomes `SQLITE_INTERNAL`, never `SQLITE_OK`.
pub(super) fn guard(body: impl FnOnce() -> Result<c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            report(&error);
            error.sqlite_code()
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            log_message(sqlite::SQLITE_INTERNAL, &format!("panic, please report it: {text}"));
            sqlite::SQLITE_INTERNAL
        }
    }
}

/// Like [`guard`], for the verbs of an open handle. SQLite has no words for an error, so `vwal_status` tells it.
///
/// # Safety
///
/// `handle` is one that `xAttach` returned and `xDetach` has not had.
pub(super) unsafe fn with_handle(handle: *mut Handle, body: impl FnOnce(&Handle) -> Result<c_int>) -> c_int {
    // SAFETY: the caller's promise. Shared access only: SQLite may call from several threads for shared caches.
    let handle = unsafe { &*handle };
    if handle.generation != fork::generation() {
        return sqlite::SQLITE_IOERR;
    }
    guard(|| body(handle).inspect_err(|error| handle.log().note_refusal(error)))
}

/// Like [`guard`], with the error's text for the caller in C.
///
/// # Safety
///
/// `message` is null or points to a pointer that may be written.
pub(super) unsafe fn guard_with_message(
    message: *mut *mut c_char,
    body: impl FnOnce() -> Result<c_int>,
) -> c_int {
    let mut text = None;
    let code = guard(|| {
        body().or_else(|error| {
            text = Some(format!("vwal: {error}"));
            Ok(error.sqlite_code())
        })
    });
    if let (Some(text), false) = (text, message.is_null()) {
        // SAFETY: the caller's promise.
        unsafe { *message = shim::sqlite_string(&text) };
    }
    code
}
