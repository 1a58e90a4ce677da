//! The verbs of `c/vwal.h` that SQLite's file methods become.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libsqlite3_sys as sqlite;
use parking_lot::Mutex;

use super::base_file::BaseFile;
use super::buffers::{bytes_mut, short_read, unsigned};
use super::fork::PerProcess;
use super::guard::{guard, guard_with_message, report, with_handle};
use super::shim::{VwalMethods, VwalParam};
use super::shm::ShmFile;
use super::{fork, register, sql};
use crate::db::{Claim, Database, OpenRequest, Registry, SegmentInfo};
use crate::error::{Error, Result};
use crate::io::{Io, PathKind, SyncSite, SystemIo, parent_dir};
use crate::log::{Log, LogSource};
use crate::options::Options;
use crate::shm::Process;
use crate::wal::{DbRead, LockKind, SharedIndex, WalHandle};

pub(super) static REGISTRY: PerProcess<Registry> = PerProcess::new();

fn registry() -> &'static Registry {
    REGISTRY.get(Registry::default)
}

/// `vwal_handle`: one open database file.
pub(super) struct Handle {
    /// See `fork.rs`.
    pub(super) generation: u64,
    pub(super) wal: WalHandle,
    claim: Option<Claim>,
    /// What `xSegmentCount` saw.
    pub(super) segments: Mutex<Vec<SegmentInfo>>,
    /// What `xProcessCount` saw.
    pub(super) processes: Mutex<Vec<Process>>,
}

impl Handle {
    pub(super) fn log(&self) -> &Log {
        self.wal.log()
    }

    pub(super) fn database(&self) -> Option<Database> {
        self.claim.as_ref().map(|claim| Database::new(Arc::clone(&claim.database)))
    }
}

pub(super) static METHODS: VwalMethods = VwalMethods {
    version: 1,
    check_params,
    attach,
    detach,
    has_left,
    wal_kind,
    delete_wal,
    created,
    db_read,
    db_keep,
    db_size,
    db_leave,
    can_leave,
    exclusive,
    committed,
    ckpt_start,
    ckpt_done,
    wal_opened,
    wal_closed,
    wal_read,
    wal_write,
    wal_truncate,
    wal_sync,
    wal_size,
    shm_map,
    shm_lock,
    shm_barrier,
    shm_unmap,
    log_id: sql::log_id,
    frame_no: sql::frame_no,
    durable_frame_no: sql::durable_frame_no,
    checkpointed_frame_no: sql::checkpointed_frame_no,
    flush: sql::flush,
    drain: sql::drain,
    metrics: sql::metrics,
    status: sql::status,
    segment_count: sql::segment_count,
    segment: sql::segment,
    process_count: sql::process_count,
    process: sql::process,
};

/// The files around a database; `system` says how, where they are those of the system.
fn io_for(path: &Path, system: impl FnOnce(&Path) -> SystemIo) -> Arc<dyn Io> {
    #[cfg(test)]
    if let Some(io) = crate::testing::io::mount::io_for(path) {
        return io;
    }
    Arc::new(system(path))
}

/// # Safety
///
/// `text` is a C string.
unsafe fn path_of(text: *const c_char) -> PathBuf {
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

/// The options of the process, changed by URI parameters.
///
/// # Safety
///
/// `params` points to `count` entries of C strings.
unsafe fn options_of(params: *const VwalParam, count: c_int) -> Result<Options> {
    let mut options = register::defaults().for_database();
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller's promise; a value that is missing is an empty one.
        let (key, value) = unsafe {
            let param = &*params.add(at);
            let value = if param.value.is_null() { c"" } else { CStr::from_ptr(param.value) };
            (CStr::from_ptr(param.key), value)
        };
        options.set_param(&key.to_string_lossy(), &value.to_string_lossy())?;
    }
    Ok(options)
}

unsafe extern "C" fn check_params(
    params: *const VwalParam,
    count: c_int,
    message: *mut *mut c_char,
) -> c_int {
    // SAFETY: the shim passes `count` parameters and a valid out pointer.
    unsafe {
        guard_with_message(message, || {
            fork::check_open()?;
            options_of(params, count).map(|_| sqlite::SQLITE_OK)
        })
    }
}

const ATTACH_CREATE: c_int = 0x01;

unsafe extern "C" fn attach(
    file: *const c_void,
    database_name: *const c_char,
    dir_name: *const c_char,
    flags: c_int,
    params: *const VwalParam,
    count: c_int,
    handle: *mut *mut Handle,
    message: *mut *mut c_char,
) -> c_int {
    let body = || {
        // SAFETY: the shim passes C strings, `count` parameters and valid out pointers.
        let (database, dir, options) = unsafe {
            *handle = std::ptr::null_mut();
            (path_of(database_name), path_of(dir_name), options_of(params, count)?)
        };
        fork::check_open()?;
        // The log may be open already: what its files are to be like is looked up when it is not.
        let io = io_for(&database, |_| SystemIo::masked());
        let source = |options: Options| {
            // SAFETY: the shim passes its database file and names of SQLite's pager, which live until that is closed.
            let (base, read_only) =
                unsafe { BaseFile::open(file, database_name, dir_name, options.read_only)? };
            Ok(LogSource {
                io: io_for(&database, SystemIo::like),
                database: database.clone(),
                dir: dir.clone(),
                base: Arc::new(base),
                cache: register::cache(),
                options,
                report,
                read_only,
                create: flags & ATTACH_CREATE != 0,
            })
        };
        let index = |log: &Arc<Log>| Ok(Box::new(ShmFile::new(log)) as Box<dyn SharedIndex>);
        let request = OpenRequest { io: &*io, database: &database, options, source: &source, index: &index };
        let Some(claim) = registry().attach(&request)? else { return Ok(sqlite::SQLITE_OK) };
        let made = Box::new(Handle {
            generation: fork::generation(),
            wal: WalHandle::new(Arc::clone(claim.database.wal())),
            claim: Some(claim),
            segments: Mutex::default(),
            processes: Mutex::default(),
        });
        // SAFETY: a valid out pointer, as above.
        unsafe { *handle = Box::into_raw(made) };
        Ok(sqlite::SQLITE_OK)
    };
    // SAFETY: `message` is a valid out pointer.
    unsafe { guard_with_message(message, body) }
}

unsafe extern "C" fn detach(handle: *mut Handle) {
    // SAFETY: the shim passes a handle of `attach`, once.
    if unsafe { &*handle }.generation != fork::generation() {
        // The parent's threads and locks are not here. Nothing is flushed, and nothing freed.
        return;
    }
    guard(|| {
        // SAFETY: as above; it was made by Box::into_raw.
        let mut handle = unsafe { Box::from_raw(handle) };
        handle.wal.unmap_index();
        if let Some(claim) = handle.claim.take() {
            registry().detach(claim);
        }
        Ok(sqlite::SQLITE_OK)
    });
}

unsafe extern "C" fn has_left(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    let handle = unsafe { &*handle };
    c_int::from(handle.generation == fork::generation() && handle.wal.wal().has_left())
}

unsafe extern "C" fn wal_kind(dir: *const c_char) -> c_int {
    // SAFETY: the shim passes a C string.
    let dir = unsafe { path_of(dir) };
    guard(|| {
        Ok(match io_for(&dir, |_| SystemIo::masked()).kind(&dir) {
            Ok(PathKind::Directory) => 1,
            Ok(PathKind::File) => 2,
            Ok(PathKind::Other) => 3,
            // A path that cannot be looked at cannot be opened either, and then the reason is told.
            Ok(PathKind::Missing) | Err(_) => 0,
        })
    })
}

unsafe extern "C" fn delete_wal(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            if !handle.wal.wal().has_left() {
                handle.wal.wal().end_generation()?;
            }
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn created(database: *const c_char) -> c_int {
    // SAFETY: the shim passes a C string.
    let database = unsafe { path_of(database) };
    guard(|| {
        io_for(&database, |_| SystemIo::masked())
            .sync_dir(&parent_dir(&database), SyncSite::CreatedDatabase)
            .map(|()| sqlite::SQLITE_OK)
    })
}

/// `VWAL_IN_BASE` and `VWAL_IN_BASE_KEEP` of `c/vwal.h`.
const IN_BASE: c_int = 1;
const IN_BASE_KEEP: c_int = 2;

unsafe extern "C" fn db_read(
    handle: *mut Handle,
    buf: *mut c_void,
    len: c_int,
    offset: i64,
    base: *mut c_int,
) -> c_int {
    // SAFETY: the shim passes an open handle, SQLite's buffer and a valid out pointer.
    unsafe {
        with_handle(handle, |handle| {
            let buf = bytes_mut(buf, len);
            Ok(match handle.wal.read_db(buf, unsigned(offset)?)? {
                DbRead::Here(got) => short_read(buf, got),
                DbRead::InBase { keep } => {
                    *base = if keep { IN_BASE_KEEP } else { IN_BASE };
                    sqlite::SQLITE_OK
                }
            })
        })
    }
}

unsafe extern "C" fn db_keep(handle: *mut Handle, buf: *const c_void, len: c_int, offset: i64) {
    // SAFETY: the shim passes an open handle, and `len` bytes of SQLite's that nobody changes meanwhile.
    unsafe {
        with_handle(handle, |handle| {
            let page = std::slice::from_raw_parts(buf.cast::<u8>(), usize::try_from(len).unwrap_or(0));
            handle.wal.keep_page(page, unsigned(offset)?);
            Ok(sqlite::SQLITE_OK)
        })
    };
}

unsafe extern "C" fn db_size(handle: *mut Handle, size: *mut i64) -> c_int {
    // SAFETY: an open handle and a valid out pointer.
    unsafe {
        with_handle(handle, |handle| {
            *size = i64::from(handle.log().view_pages()) * i64::from(handle.log().page_size().get());
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn db_leave(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            let claim = handle.claim.as_ref().ok_or(Error::Forked)?;
            claim.database.leave(&handle.wal)?;
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn can_leave(handle: *mut Handle, message: *mut *mut c_char) -> c_int {
    // SAFETY: an open handle, and an out pointer.
    unsafe {
        with_handle(handle, |handle| {
            if handle.wal.wal().has_left() {
                return Ok(sqlite::SQLITE_OK);
            }
            let log = handle.log();
            let body = || log.checkpointer().check_can_leave().map(|()| sqlite::SQLITE_OK);
            // The message reaches the application for a PRAGMA alone, so it is said in the other places as well.
            let told = || {
                body().inspect_err(|error| {
                    report(error);
                    log.note_refusal(error);
                })
            };
            let code = guard_with_message(message, told);
            if code == sqlite::SQLITE_OK {
                log.end_refusal_to_leave();
            }
            Ok(code)
        })
    }
}

unsafe extern "C" fn exclusive(handle: *mut Handle, exclusive: c_int) {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            handle.wal.set_exclusive(exclusive != 0);
            Ok(sqlite::SQLITE_OK)
        })
    };
}

unsafe extern "C" fn committed(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            handle.wal.committed()?;
            handle.log().end_refusal_of_commits();
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn ckpt_start(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            Ok(if handle.wal.begin_checkpoint()? { sqlite::SQLITE_OK } else { sqlite::SQLITE_BUSY })
        })
    }
}

unsafe extern "C" fn ckpt_done(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            handle.wal.checkpoint_done()?;
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn wal_opened(handle: *mut Handle, read_only: *mut c_int) -> c_int {
    // SAFETY: an open handle and a valid out pointer.
    unsafe {
        with_handle(handle, |handle| {
            handle.wal.open_wal();
            *read_only = c_int::from(handle.log().is_read_only());
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn wal_closed(handle: *mut Handle) {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            handle.wal.close_wal();
            Ok(sqlite::SQLITE_OK)
        })
    };
}

unsafe extern "C" fn wal_read(handle: *mut Handle, buf: *mut c_void, len: c_int, offset: i64) -> c_int {
    // SAFETY: an open handle and SQLite's buffer.
    unsafe {
        with_handle(handle, |handle| {
            let buf = bytes_mut(buf, len);
            let got = handle.wal.read_wal(buf, unsigned(offset)?)?;
            Ok(short_read(buf, got))
        })
    }
}

unsafe extern "C" fn wal_write(handle: *mut Handle, buf: *const c_void, len: c_int, offset: i64) -> c_int {
    // SAFETY: an open handle, and `len` bytes of SQLite's that nobody changes meanwhile.
    unsafe {
        with_handle(handle, |handle| {
            let bytes = std::slice::from_raw_parts(buf.cast::<u8>(), usize::try_from(len).unwrap_or(0));
            handle.wal.write_wal(bytes, unsigned(offset)?).map(|()| sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn wal_truncate(handle: *mut Handle, size: i64) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| handle.wal.truncate_wal(unsigned(size)?).map(|()| sqlite::SQLITE_OK))
    }
}

unsafe extern "C" fn wal_sync(handle: *mut Handle) -> c_int {
    // SAFETY: an open handle.
    unsafe { with_handle(handle, |handle| handle.wal.sync_wal().map(|()| sqlite::SQLITE_OK)) }
}

unsafe extern "C" fn wal_size(handle: *mut Handle, size: *mut i64) -> c_int {
    // SAFETY: an open handle and a valid out pointer.
    unsafe {
        with_handle(handle, |handle| {
            *size = i64::try_from(handle.wal.wal_size()).unwrap_or(i64::MAX);
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn shm_map(
    handle: *mut Handle,
    region: c_int,
    size: c_int,
    extend: c_int,
    pointer: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open handle and a valid out pointer.
    unsafe {
        *pointer = std::ptr::null_mut();
        with_handle(handle, |handle| {
            let (region, size) = (usize::try_from(region), usize::try_from(size));
            let (Ok(region), Ok(size)) = (region, size) else { return Ok(sqlite::SQLITE_IOERR_SHMMAP) };
            if let Some(mapped) = handle.wal.map_index(region, size, extend != 0)? {
                *pointer = mapped.cast();
            }
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn shm_lock(handle: *mut Handle, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            let (first, count) = (usize::try_from(first), usize::try_from(count));
            let (Ok(first), Ok(count)) = (first, count) else { return Ok(sqlite::SQLITE_IOERR_SHMLOCK) };
            let kind =
                if flags & sqlite::SQLITE_SHM_SHARED != 0 { LockKind::Shared } else { LockKind::Exclusive };
            if flags & sqlite::SQLITE_SHM_UNLOCK != 0 {
                handle.wal.unlock(first, count, kind);
            } else if !handle.wal.lock(first, count, kind) {
                return Ok(sqlite::SQLITE_BUSY);
            }
            Ok(sqlite::SQLITE_OK)
        })
    }
}

unsafe extern "C" fn shm_barrier(_handle: *mut Handle) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(handle: *mut Handle, _delete: c_int) -> c_int {
    // SAFETY: an open handle.
    unsafe {
        with_handle(handle, |handle| {
            handle.wal.unmap_index();
            Ok(sqlite::SQLITE_OK)
        })
    }
}
