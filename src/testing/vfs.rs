//! For tests: the VFS that `vwal` stands on, over files in memory (`testing/io/mount.rs`).
//!
//! What SQLite itself does to a database - its rollback journal, a WAL before adoption, the base file - happens on the same
//! simulated disk as what vwal does, so a power loss can be put behind any operation of either. Paths that are not below a
//! mount go to SQLite's own VFS.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Once, OnceLock};

use libsqlite3_sys as sqlite;

use crate::error::{Error, Result};
use crate::ffi::register;
use crate::io::{File, Io, OpenMode, PathKind, parent_dir};
use crate::options::Options;
use crate::testing::io::FileId;
use crate::testing::io::mount::{self, FileLocks, Mounted};

/// Frames of small databases fit, those of larger ones do not.
const CACHE: usize = 256 << 10;

/// SQLite's own VFS.
struct Parent(*mut sqlite::sqlite3_vfs);

// SAFETY: a VFS that is registered for good; SQLite calls it from all threads.
unsafe impl Send for Parent {}
// SAFETY: as above.
unsafe impl Sync for Parent {}

static PARENT: OnceLock<Parent> = OnceLock::new();

fn parent() -> *mut sqlite::sqlite3_vfs {
    PARENT.get().expect("it is installed").0
}

/// Make the simulation the default VFS of this process, and register `vwal` on top of it. Once for all tests.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite is initialised by the look-up; the VFS that is registered is leaked, so it lives for ever.
        unsafe {
            let real = sqlite::sqlite3_vfs_find(ptr::null());
            assert!(!real.is_null(), "SQLite has a VFS");
            PARENT.get_or_init(|| Parent(real));
            let mut vfs = *real;
            vfs.szOsFile = vfs.szOsFile.max(size_of::<SimFile>() as c_int);
            vfs.pNext = ptr::null_mut();
            vfs.zName = c"vwal-sim".as_ptr();
            vfs.xOpen = Some(open);
            vfs.xDelete = Some(delete);
            vfs.xAccess = Some(access);
            vfs.xFullPathname = Some(full_pathname);
            assert_eq!(sqlite::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1), sqlite::SQLITE_OK);
        }
        register(Options::new().cache_size(CACHE)).expect("vwal is registered once");
    });
}

#[repr(C)]
struct SimFile {
    base: sqlite::sqlite3_file,
    open: *mut Open,
}

/// An open file.
struct Open {
    mounted: Arc<Mounted>,
    path: PathBuf,
    id: FileId,
    file: Arc<dyn File>,
    /// The lock that this handle has.
    level: c_int,
    /// The directory is fsynced with the first fsync of the file, as SQLite's own VFS does for a new journal.
    name_is_new: bool,
    delete_on_close: bool,
}

/// # Safety
///
/// `name` is null or a C string.
unsafe fn find(name: *const c_char) -> Option<(Arc<Mounted>, PathBuf)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    mount::find(Path::new(OsStr::from_bytes(bytes)))
}

fn code_of(result: Result<()>, otherwise: c_int) -> c_int {
    match result {
        Ok(()) => sqlite::SQLITE_OK,
        Err(Error::Full { .. }) => sqlite::SQLITE_FULL,
        Err(_) => otherwise,
    }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let _ = vfs;
    // SAFETY: SQLite's arguments: a name or null, and `szOsFile` bytes for the file.
    unsafe {
        let Some((mounted, path)) = find(name) else {
            let real = parent();
            return (*real).xOpen.expect("a VFS opens files")(real, name, file, flags, out_flags);
        };
        (*file).pMethods = ptr::null();
        let is_new = mounted.file_id(&path).is_none();
        let mode = if flags & sqlite::SQLITE_OPEN_CREATE != 0 {
            OpenMode::Create
        } else if flags & sqlite::SQLITE_OPEN_READWRITE != 0 {
            OpenMode::ReadWrite
        } else {
            OpenMode::Read
        };
        if mounted.io.kind(&path).is_ok_and(|kind| kind == PathKind::Directory) {
            return sqlite::SQLITE_CANTOPEN;
        }
        let Ok(opened) = mounted.io.open(&path, mode) else { return sqlite::SQLITE_CANTOPEN };
        let Some(id) = mounted.file_id(&path) else { return sqlite::SQLITE_CANTOPEN };
        let journals =
            sqlite::SQLITE_OPEN_MAIN_JOURNAL | sqlite::SQLITE_OPEN_SUPER_JOURNAL | sqlite::SQLITE_OPEN_WAL;
        let open = Open {
            mounted,
            path,
            id,
            file: opened,
            level: sqlite::SQLITE_LOCK_NONE,
            name_is_new: is_new && flags & journals != 0,
            delete_on_close: flags & sqlite::SQLITE_OPEN_DELETEONCLOSE != 0,
        };
        let made = file.cast::<SimFile>();
        (*made).open = Box::into_raw(Box::new(open));
        (*made).base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        sqlite::SQLITE_OK
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    let _ = vfs;
    // SAFETY: SQLite passes a C string.
    unsafe {
        let Some((mounted, path)) = find(name) else {
            let real = parent();
            return (*real).xDelete.expect("a VFS deletes files")(real, name, sync_dir);
        };
        if mounted.file_id(&path).is_none() {
            return sqlite::SQLITE_IOERR_DELETE_NOENT;
        }
        let removed = mounted.io.remove_file(&path);
        if removed.is_ok() && sync_dir != 0 {
            return code_of(
                mounted.io.sync_dir_for_sqlite(&parent_dir(&path)),
                sqlite::SQLITE_IOERR_DIR_FSYNC,
            );
        }
        code_of(removed, sqlite::SQLITE_IOERR_DELETE)
    }
}

unsafe extern "C" fn access(
    vfs: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let _ = vfs;
    // SAFETY: SQLite passes a C string and a place for the answer.
    unsafe {
        let Some((mounted, path)) = find(name) else {
            let real = parent();
            return (*real).xAccess.expect("a VFS looks for files")(real, name, flags, out);
        };
        // SQLite's own VFS takes an empty file for a missing one here.
        let is_there = match mounted.io.kind(&path) {
            Ok(PathKind::File) => {
                flags != sqlite::SQLITE_ACCESS_EXISTS
                    || !mounted.io.file(&path).size().is_ok_and(|size| size == 0)
            }
            Ok(PathKind::Missing) | Err(_) => false,
            Ok(_) => true,
        };
        *out = c_int::from(is_there);
        sqlite::SQLITE_OK
    }
}

unsafe extern "C" fn full_pathname(
    vfs: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    len: c_int,
    out: *mut c_char,
) -> c_int {
    let _ = vfs;
    // SAFETY: SQLite passes a C string and `len` bytes for the answer.
    unsafe {
        if find(name).is_none() {
            let real = parent();
            return (*real).xFullPathname.expect("a VFS knows paths")(real, name, len, out);
        }
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > usize::try_from(len).unwrap_or(0) {
            return sqlite::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
        sqlite::SQLITE_OK
    }
}

static METHODS: sqlite::sqlite3_io_methods = sqlite::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
///
/// `file` was opened by [`open`] and is not closed.
unsafe fn of<'a>(file: *mut sqlite::sqlite3_file) -> &'a mut Open {
    // SAFETY: the caller's promise. SQLite uses a file from one thread at a time.
    unsafe { &mut *(*file.cast::<SimFile>()).open }
}

unsafe extern "C" fn close(file: *mut sqlite::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once.
    let open = unsafe {
        set_level(of(file), sqlite::SQLITE_LOCK_NONE);
        (*file).pMethods = ptr::null();
        Box::from_raw((*file.cast::<SimFile>()).open)
    };
    if open.delete_on_close {
        let _ = open.mounted.io.remove_file(&open.path);
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite::sqlite3_file,
    buf: *mut c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: an open file, and `len` bytes that may be written.
    let (open, buf) = unsafe {
        (of(file), std::slice::from_raw_parts_mut(buf.cast::<u8>(), usize::try_from(len).unwrap_or(0)))
    };
    match open.file.read_at(buf, offset.unsigned_abs()) {
        Ok(got) if got == buf.len() => sqlite::SQLITE_OK,
        Ok(got) => {
            buf[got..].fill(0);
            sqlite::SQLITE_IOERR_SHORT_READ
        }
        Err(_) => sqlite::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite::sqlite3_file,
    buf: *const c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: an open file, and `len` bytes.
    let (open, buf) = unsafe {
        (of(file), std::slice::from_raw_parts(buf.cast::<u8>(), usize::try_from(len).unwrap_or(0)))
    };
    code_of(open.file.write_at(buf, offset.unsigned_abs()), sqlite::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut sqlite::sqlite3_file, len: i64) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { of(file) };
    code_of(open.file.set_len(len.unsigned_abs()), sqlite::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut sqlite::sqlite3_file, flags: c_int) -> c_int {
    let _ = flags;
    // SAFETY: an open file.
    let open = unsafe { of(file) };
    let code = code_of(open.mounted.io.sync_for_sqlite(open.id, &open.path), sqlite::SQLITE_IOERR_FSYNC);
    if code == sqlite::SQLITE_OK && open.name_is_new {
        open.name_is_new = false;
        return code_of(
            open.mounted.io.sync_dir_for_sqlite(&parent_dir(&open.path)),
            sqlite::SQLITE_IOERR_DIR_FSYNC,
        );
    }
    code
}

unsafe extern "C" fn file_size(file: *mut sqlite::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: an open file, and a place for the answer.
    unsafe {
        let Ok(size) = of(file).file.size() else { return sqlite::SQLITE_IOERR_FSTAT };
        *out = size.cast_signed();
    }
    sqlite::SQLITE_OK
}

/// Give locks back until the handle has `level`, NONE or SHARED.
fn set_level(open: &mut Open, level: c_int) {
    let mut locks = open.mounted.locks.lock();
    let file = locks.entry(open.id).or_default();
    if open.level > sqlite::SQLITE_LOCK_SHARED {
        file.exclusive &= open.level != sqlite::SQLITE_LOCK_EXCLUSIVE;
        file.pending &= open.level < sqlite::SQLITE_LOCK_PENDING;
        file.reserved = false;
    }
    if level == sqlite::SQLITE_LOCK_NONE && open.level >= sqlite::SQLITE_LOCK_SHARED {
        file.shared -= 1;
    }
    open.level = open.level.min(level);
}

unsafe extern "C" fn lock(file: *mut sqlite::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { of(file) };
    if open.level >= level {
        return sqlite::SQLITE_OK;
    }
    let mut locks = open.mounted.locks.lock();
    let file: &mut FileLocks = locks.entry(open.id).or_default();
    match level {
        sqlite::SQLITE_LOCK_SHARED => {
            if file.pending || file.exclusive {
                return sqlite::SQLITE_BUSY;
            }
            file.shared += 1;
        }
        sqlite::SQLITE_LOCK_RESERVED => {
            if file.reserved || file.pending || file.exclusive {
                return sqlite::SQLITE_BUSY;
            }
            file.reserved = true;
        }
        _ => {
            if file.pending && open.level < sqlite::SQLITE_LOCK_PENDING {
                return sqlite::SQLITE_BUSY;
            }
            if file.reserved && open.level < sqlite::SQLITE_LOCK_RESERVED {
                return sqlite::SQLITE_BUSY;
            }
            file.pending = true;
            open.level = sqlite::SQLITE_LOCK_PENDING;
            if file.shared > 1 {
                return sqlite::SQLITE_BUSY;
            }
            file.exclusive = true;
        }
    }
    open.level = level;
    sqlite::SQLITE_OK
}

unsafe extern "C" fn unlock(file: *mut sqlite::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let open = unsafe { of(file) };
    if open.level > level {
        set_level(open, level);
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: an open file, and a place for the answer.
    unsafe {
        let open = of(file);
        *out = c_int::from(
            open.mounted.locks.lock().get(&open.id).is_some_and(|file| file.reserved || file.pending),
        );
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut sqlite::sqlite3_file, op: c_int, arg: *mut c_void) -> c_int {
    if op != sqlite::SQLITE_FCNTL_HAS_MOVED {
        return sqlite::SQLITE_NOTFOUND;
    }
    // SAFETY: an open file; this file control has an int as its argument.
    unsafe {
        let open = of(file);
        *arg.cast::<c_int>() = c_int::from(open.mounted.file_id(&open.path) != Some(open.id));
    }
    sqlite::SQLITE_OK
}

unsafe extern "C" fn sector_size(_: *mut sqlite::sqlite3_file) -> c_int {
    // That of SQLite's own VFS (`unixSectorSize`), whatever the disk has.
    4096
}

unsafe extern "C" fn device_characteristics(_: *mut sqlite::sqlite3_file) -> c_int {
    sqlite::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
