//! The functions and types of `c/vwal.h`, as Rust sees them.

use std::ffi::{c_char, c_int, c_void};

use super::methods::Handle;

/// `vwal_base`
#[repr(C)]
pub(super) struct VwalBase {
    _private: [u8; 0],
}

/// `vwal_param`
#[repr(C)]
pub(super) struct VwalParam {
    pub(super) key: *const c_char,
    pub(super) value: *const c_char,
}

/// `vwal_status_row`
#[repr(C)]
pub(super) struct VwalStatusRow {
    pub(super) path: *mut c_char,
    pub(super) log_id: [c_char; 37],
    pub(super) frame_no: i64,
    pub(super) durable_frame_no: i64,
    pub(super) checkpointed_frame_no: i64,
    pub(super) page_size: i64,
    pub(super) db_size_pages: i64,
    pub(super) segment_count: i64,
    pub(super) log_bytes: i64,
    pub(super) storage: *mut c_char,
    pub(super) last_error: *mut c_char,
}

/// `vwal_segment_row`
#[repr(C)]
pub(super) struct VwalSegmentRow {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) state: *const c_char,
    pub(super) bytes: i64,
    pub(super) path: *mut c_char,
}

/// `vwal_process_row`
#[repr(C)]
pub(super) struct VwalProcessRow {
    pub(super) slot: i64,
    pub(super) pid: i64,
    pub(super) program: *mut c_char,
    pub(super) since: *mut c_char,
}

/// `vwal_methods`, field by field.
#[repr(C)]
pub(super) struct VwalMethods {
    pub(super) version: c_int,
    pub(super) check_params: unsafe extern "C" fn(*const VwalParam, c_int, *mut *mut c_char) -> c_int,
    pub(super) attach: unsafe extern "C" fn(
        *const c_void,
        *const c_char,
        *const c_char,
        c_int,
        *const VwalParam,
        c_int,
        *mut *mut Handle,
        *mut *mut c_char,
    ) -> c_int,
    pub(super) detach: unsafe extern "C" fn(*mut Handle),
    pub(super) has_left: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) wal_kind: unsafe extern "C" fn(*const c_char) -> c_int,
    pub(super) delete_wal: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) created: unsafe extern "C" fn(*const c_char) -> c_int,
    pub(super) db_read: unsafe extern "C" fn(*mut Handle, *mut c_void, c_int, i64, *mut c_int) -> c_int,
    pub(super) db_keep: unsafe extern "C" fn(*mut Handle, *const c_void, c_int, i64),
    pub(super) db_size: unsafe extern "C" fn(*mut Handle, *mut i64) -> c_int,
    pub(super) db_leave: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) can_leave: unsafe extern "C" fn(*mut Handle, *mut *mut c_char) -> c_int,
    pub(super) exclusive: unsafe extern "C" fn(*mut Handle, c_int),
    pub(super) committed: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) ckpt_start: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) ckpt_done: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) wal_opened: unsafe extern "C" fn(*mut Handle, *mut c_int) -> c_int,
    pub(super) wal_closed: unsafe extern "C" fn(*mut Handle),
    pub(super) wal_read: unsafe extern "C" fn(*mut Handle, *mut c_void, c_int, i64) -> c_int,
    pub(super) wal_write: unsafe extern "C" fn(*mut Handle, *const c_void, c_int, i64) -> c_int,
    pub(super) wal_truncate: unsafe extern "C" fn(*mut Handle, i64) -> c_int,
    pub(super) wal_sync: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub(super) wal_size: unsafe extern "C" fn(*mut Handle, *mut i64) -> c_int,
    pub(super) shm_map: unsafe extern "C" fn(*mut Handle, c_int, c_int, c_int, *mut *mut c_void) -> c_int,
    pub(super) shm_lock: unsafe extern "C" fn(*mut Handle, c_int, c_int, c_int) -> c_int,
    pub(super) shm_barrier: unsafe extern "C" fn(*mut Handle),
    pub(super) shm_unmap: unsafe extern "C" fn(*mut Handle, c_int) -> c_int,
    pub(super) log_id: unsafe extern "C" fn(*mut Handle, *mut c_char),
    pub(super) frame_no: unsafe extern "C" fn(*mut Handle) -> i64,
    pub(super) durable_frame_no: unsafe extern "C" fn(*mut Handle) -> i64,
    pub(super) checkpointed_frame_no: unsafe extern "C" fn(*mut Handle) -> i64,
    pub(super) flush: unsafe extern "C" fn(*mut Handle, *mut i64, *mut *mut c_char) -> c_int,
    pub(super) drain: unsafe extern "C" fn(*mut Handle, *mut i64, *mut *mut c_char) -> c_int,
    pub(super) metrics: unsafe extern "C" fn(*mut Handle) -> *mut c_char,
    pub(super) status: unsafe extern "C" fn(*mut Handle, *mut VwalStatusRow) -> c_int,
    pub(super) segment_count: unsafe extern "C" fn(*mut Handle, *mut c_int) -> c_int,
    pub(super) segment: unsafe extern "C" fn(*mut Handle, c_int, *mut VwalSegmentRow) -> c_int,
    pub(super) process_count: unsafe extern "C" fn(*mut Handle, *mut c_int) -> c_int,
    pub(super) process: unsafe extern "C" fn(*mut Handle, c_int, *mut VwalProcessRow) -> c_int,
}

unsafe extern "C" {
    pub(super) fn vwal_shim_init(
        api: *const c_void,
        methods: *const VwalMethods,
        default_vfs: c_int,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(super) fn vwal_shim_undo();
    pub(super) fn vwal_shim_message(api: *const c_void, message: *const c_char) -> *mut c_char;
    pub(super) fn vwal_shim_connection(db: *mut c_void, error: *mut *mut c_char) -> c_int;
    pub(super) fn vwal_base_open(
        file: *const c_void,
        db: *const c_char,
        wal: *const c_char,
        read_only: *mut c_int,
        base: *mut *mut VwalBase,
    ) -> c_int;
    pub(super) fn vwal_base_read(base: *mut VwalBase, buf: *mut c_void, len: c_int, offset: i64) -> c_int;
    pub(super) fn vwal_base_write(base: *mut VwalBase, buf: *mut c_void, len: c_int, offset: i64) -> c_int;
    pub(super) fn vwal_base_is_plain() -> c_int;
    pub(super) fn vwal_base_truncate(base: *mut VwalBase, len: i64) -> c_int;
    pub(super) fn vwal_base_sync(base: *mut VwalBase) -> c_int;
    pub(super) fn vwal_base_size(base: *mut VwalBase, len: *mut i64) -> c_int;
    pub(super) fn vwal_base_has_moved(base: *mut VwalBase) -> c_int;
    pub(super) fn vwal_base_close(base: *mut VwalBase);
    pub(super) fn vwal_log(code: c_int, message: *const c_char);
    pub(super) fn vwal_malloc(len: u64) -> *mut c_void;
}

/// A copy of `text` that the caller in C frees with `sqlite3_free`; null when there is no memory.
pub(super) fn sqlite_string(text: &str) -> *mut c_char {
    // C reads up to a NUL; one inside would cut the text, so it is left out.
    let bytes: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    // SAFETY: vwal_malloc takes any size. It is called only when the shim is initialised: every caller is a verb.
    let copy = unsafe { vwal_malloc(bytes.len() as u64 + 1) }.cast::<u8>();
    if !copy.is_null() {
        // SAFETY: `copy` has room for the bytes and a NUL, and is not part of `bytes`.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
            *copy.add(bytes.len()) = 0;
        }
    }
    copy.cast()
}
