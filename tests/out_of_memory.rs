//! SQLite without memory: each allocation of an open fails in turn, and whatever it was for, the code says so.
//!
//! The allocator of SQLite is replaced before SQLite is first used, so this is a process of its own with one test.

use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::ffi;

type Allocate = unsafe extern "C" fn(c_int) -> *mut c_void;
type Reallocate = unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void;

/// SQLite's own allocator.
static REAL: OnceLock<(Allocate, Reallocate)> = OnceLock::new();

thread_local! {
    /// Allocations of this thread until one fails; none: no limit.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    /// Whether those after it fail as well.
    static FOR_EVER: Cell<bool> = const { Cell::new(false) };
    /// Whether one has failed.
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the allocation that is asked for fails.
fn fails() -> bool {
    match LEFT.get() {
        None => false,
        Some(0) => {
            if !FOR_EVER.get() {
                LEFT.set(None);
            }
            FAILED.set(true);
            true
        }
        Some(left) => {
            LEFT.set(Some(left - 1));
            false
        }
    }
}

unsafe extern "C" fn allocate(size: c_int) -> *mut c_void {
    let real = REAL.get().unwrap();
    // SAFETY: SQLite's own function, with SQLite's argument.
    if fails() { std::ptr::null_mut() } else { unsafe { real.0(size) } }
}

unsafe extern "C" fn reallocate(memory: *mut c_void, size: c_int) -> *mut c_void {
    let real = REAL.get().unwrap();
    // SAFETY: as above.
    if fails() { std::ptr::null_mut() } else { unsafe { real.1(memory, size) } }
}

fn replace_allocator() {
    // SAFETY: nothing has used SQLite yet, and these options take a pointer to the methods, which SQLite copies.
    unsafe {
        let mut methods: ffi::sqlite3_mem_methods = std::mem::zeroed();
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods), ffi::SQLITE_OK);
        REAL.set((methods.xMalloc.unwrap(), methods.xRealloc.unwrap())).unwrap();
        methods.xMalloc = Some(allocate);
        methods.xRealloc = Some(reallocate);
        assert_eq!(ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut methods), ffi::SQLITE_OK);
    }
}

/// Opens `path` through vwal and runs `sql`; the extended code of the first error.
fn attempt(path: &Path, sql: &str) -> c_int {
    let uri = CString::new(format!("file:{}?vfs=vwal&vwal_queue_ms=5", path.display())).unwrap();
    let sql = CString::new(sql).unwrap();
    let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_URI;
    let mut db = std::ptr::null_mut();
    // SAFETY: C strings that live through the calls; the connection is closed once.
    unsafe {
        let mut code = ffi::sqlite3_open_v2(uri.as_ptr(), &mut db, flags, std::ptr::null());
        if code == ffi::SQLITE_OK {
            code = ffi::sqlite3_exec(db, sql.as_ptr(), None, std::ptr::null_mut(), std::ptr::null_mut());
        }
        if code != ffi::SQLITE_OK && !db.is_null() {
            code = ffi::sqlite3_extended_errcode(db);
        }
        LEFT.set(None);
        ffi::sqlite3_close(db);
        code
    }
}

/// Lets each allocation of an attempt fail in turn; gives how many did.
fn sweep(path: &Path, sql: &str, for_ever: bool) -> u32 {
    for at in 0.. {
        LEFT.set(Some(at));
        FOR_EVER.set(for_ever);
        let code = attempt(path, sql);
        if !FAILED.take() {
            assert_eq!(code, ffi::SQLITE_OK, "nothing failed");
            return at;
        }
        // SQLite can do without some, if it is one alone.
        let told = [ffi::SQLITE_NOMEM, ffi::SQLITE_IOERR_NOMEM].contains(&code);
        assert!(
            told || (code == ffi::SQLITE_OK && !for_ever),
            "{sql}: allocation {at} failed (for ever: {for_ever}), and the code is {code}"
        );
    }
    unreachable!("a sweep ends")
}

#[test]
fn each_allocation_of_an_open_fails_and_says_so() {
    replace_allocator();
    vwal::register(vwal::Options::new()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let create = "CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)";
    let path = home.path().join("virtual.db");
    std::fs::write(&path, "").unwrap();
    assert_eq!(attempt(&path, create), ffi::SQLITE_OK);
    for for_ever in [false, true] {
        assert!(sweep(&path, "SELECT count(*) FROM t", for_ever) > 50);
        // There and back: the database is converted by each open.
        let converted = "SELECT count(*) FROM t; PRAGMA journal_mode=DELETE";
        assert!(sweep(&path, converted, for_ever) > 50);
        assert_eq!(attempt(&path, create), ffi::SQLITE_OK, "nothing is broken");
    }
}
