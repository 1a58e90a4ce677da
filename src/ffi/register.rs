//! The two ways in: as a loadable extension, and linked into an application.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use libsqlite3_sys as sqlite;
use parking_lot::Mutex;

use super::fork::PerProcess;
use super::methods::METHODS;
use super::{fork, shim};
use crate::cache::FrameCache;
use crate::db::Database;
use crate::error::{Error, Result};
use crate::options::Options;

/// `SQLITE_OK_LOAD_PERMANENTLY`: the extension stays when the connection that loaded it is closed.
const OK_LOAD_PERMANENTLY: c_int = 256;
/// `VWAL_FCNTL_HANDLE` of `c/internal.h`.
const FCNTL_HANDLE: c_int = 0x7677_6101;

static DEFAULTS: OnceLock<Options> = OnceLock::new();
/// Held while the shim is made or undone.
pub(super) static INITIALISING: PerProcess<Mutex<()>> = PerProcess::new();
/// Held by [`register`]: a thread that ends it takes the hook away that another one's open would run.
pub(super) static REGISTERING: PerProcess<Mutex<()>> = PerProcess::new();
pub(super) static CACHE: PerProcess<Arc<FrameCache>> = PerProcess::new();

/// The options of the process.
pub(super) fn defaults() -> Options {
    DEFAULTS.get().cloned().unwrap_or_default()
}

/// The frame cache of the process.
pub(super) fn cache() -> Arc<FrameCache> {
    Arc::clone(CACHE.get(|| Arc::new(FrameCache::new(defaults().cache_size))))
}

/// Register with the SQLite behind `api`. The first call decides the options of the process.
///
/// # Safety
///
/// `api` points to SQLite's routines; `message` is null or may be written.
unsafe fn initialise(api: *const c_void, options: Options, message: *mut *mut c_char) -> c_int {
    fork::install();
    // Two threads may load the extension at the same moment, and neither may see the shim half made.
    let _one_at_a_time = INITIALISING.get(Mutex::default).lock();
    let options = DEFAULTS.get_or_init(|| options);
    // SAFETY: the caller's promise; METHODS is static.
    unsafe { shim::vwal_shim_init(api, &METHODS, c_int::from(options.default_vfs), message) }
}

/// The entry point of the loadable extension (<https://sqlite.org/loadext.html>): SQLite finds it by the library's name.
///
/// Its options come from the environment (`VWAL_*`); each database may change its own in its URI (`vwal_*`).
///
/// # Safety
///
/// Called by SQLite: `db` is the connection that loads the extension, `api` points to SQLite's routines.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_vwal_init(
    db: *mut c_void,
    message: *mut *mut c_char,
    api: *const c_void,
) -> c_int {
    // SQLite unloads the library when this returns an error, so nothing may be registered then.
    let options = match std::panic::catch_unwind(Options::from_env) {
        Ok(Ok(options)) => options,
        Ok(Err(error)) => {
            // SAFETY: SQLite's arguments, as above.
            return unsafe { refuse(api, &error, message) };
        }
        Err(_) => return sqlite::SQLITE_INTERNAL,
    };
    // SAFETY: SQLite's arguments, as above.
    unsafe {
        let code = initialise(api, options, message);
        if code != sqlite::SQLITE_OK {
            return code;
        }
        let code = shim::vwal_shim_connection(db, message);
        if code == sqlite::SQLITE_OK {
            PERMANENT.store(true, Ordering::Release);
            return OK_LOAD_PERMANENTLY;
        }
        if !PERMANENT.load(Ordering::Acquire) {
            let _one_at_a_time = INITIALISING.get(Mutex::default).lock();
            shim::vwal_shim_undo();
        }
        code
    }
}

/// An earlier call of the entry point has succeeded, so the library stays.
static PERMANENT: AtomicBool = AtomicBool::new(false);

/// Say why the extension is not loaded.
///
/// # Safety
///
/// `api` points to SQLite's routines; `message` is null or may be written.
unsafe fn refuse(api: *const c_void, error: &Error, message: *mut *mut c_char) -> c_int {
    if let (Ok(text), false) = (CString::new(format!("vwal: {error}")), message.is_null()) {
        // SAFETY: the caller's promise; the text is a C string that is copied.
        unsafe { *message = shim::vwal_shim_message(api, text.as_ptr()) };
    }
    error.sqlite_code()
}

/// The options for [`boot`], which SQLite calls.
static BOOT: OnceLock<Options> = OnceLock::new();

unsafe extern "C" fn boot(
    _db: *mut sqlite::sqlite3,
    message: *mut *mut c_char,
    api: *const sqlite::sqlite3_api_routines,
) -> c_int {
    // SAFETY: SQLite passes its routines and a place for the message.
    unsafe { initialise(api.cast(), BOOT.get().cloned().unwrap_or_default(), message) }
}

/// Register the VFS `vwal` and its SQL surface with the SQLite that is linked into this application. `defaults` are the
/// options of every database that does not say otherwise in its URI.
///
/// Call it once, before the first database is opened. Calling it again with the same options does nothing.
///
/// Errors: [`Error::Register`] when SQLite is too old or was compiled without threads, or when other options are in force
/// already.
pub fn register(defaults: Options) -> Result<()> {
    fork::install();
    let _one_at_a_time = REGISTERING.get(Mutex::default).lock();
    let wanted = BOOT.get_or_init(|| defaults.clone());
    if *wanted != defaults || DEFAULTS.get().is_some_and(|options| *options != defaults) {
        return Err(Error::Register("it is registered already, with other options".into()));
    }
    let mut db = std::ptr::null_mut();
    // SAFETY: `boot` has the signature of an extension's entry point; sqlite3_auto_extension takes it by a plain function
    // pointer type. The connection is closed before the function returns, whether it was opened or not.
    unsafe {
        let code = sqlite::sqlite3_auto_extension(Some(boot));
        if code != sqlite::SQLITE_OK {
            return Err(Error::Register(format!("sqlite3_auto_extension says {code}")));
        }
        let code = sqlite::sqlite3_open_v2(
            c":memory:".as_ptr(),
            &mut db,
            sqlite::SQLITE_OPEN_READWRITE | sqlite::SQLITE_OPEN_MEMORY,
            std::ptr::null(),
        );
        let message = if db.is_null() {
            "out of memory".into()
        } else {
            CStr::from_ptr(sqlite::sqlite3_errmsg(db)).to_string_lossy().into_owned()
        };
        sqlite::sqlite3_close(db);
        // From now on the shim's own callback runs for each connection.
        sqlite::sqlite3_cancel_auto_extension(Some(boot));
        if code == sqlite::SQLITE_OK { Ok(()) } else { Err(Error::Register(message)) }
    }
}

impl Database {
    /// The virtual database that `conn` has open under the name `schema` ("main", or what it was attached as).
    ///
    /// The connection that makes a database writes its first transaction as stock SQLite does, and opens the log when it next
    /// reads. This function reads for it, so that the first committed `CREATE TABLE` is enough.
    ///
    /// Errors: [`Error::NotVirtual`] when it is not one, or not yet: a new database is virtual after its first write.
    pub fn of(conn: &rusqlite::Connection, schema: &str) -> Result<Database> {
        Self::opened(conn, schema).or_else(|error| match error {
            Error::NotVirtual(_) => {
                // Whether the read succeeds does not matter here: what counts is whether there is a log afterwards.
                let _ = conn.pragma_query_value(Some(schema), "schema_version", |_| Ok(()));
                Self::opened(conn, schema)
            }
            error => Err(error),
        })
    }

    /// The virtual database whose log `conn` has open under the name `schema`.
    fn opened(conn: &rusqlite::Connection, schema: &str) -> Result<Database> {
        let not_virtual = || Error::NotVirtual(schema.to_owned());
        let name = CString::new(schema).map_err(|_| not_virtual())?;
        let mut handle: *mut super::methods::Handle = std::ptr::null_mut();
        // SAFETY: the connection is open while `conn` is borrowed. The file control stores a handle, or leaves null.
        let code = unsafe {
            sqlite::sqlite3_file_control(
                conn.handle(),
                name.as_ptr(),
                FCNTL_HANDLE,
                (&raw mut handle).cast::<c_void>(),
            )
        };
        if code != sqlite::SQLITE_OK || handle.is_null() {
            return Err(not_virtual());
        }
        // SAFETY: the handle lives at least as long as the connection has the file open, which it has now.
        let handle = unsafe { &*handle };
        if handle.generation != fork::generation() {
            return Err(Error::Forked);
        }
        handle.database().ok_or_else(not_virtual)
    }
}
