//! The memory itself: the file `shm` in the log directory, mapped.

use std::io::ErrorKind;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use super::control::{CONTROL_SIZE, Control};
use super::log_state::LogState;
use super::positions::Positions;
use super::processes::Liveness;
use crate::error::{Error, Result};
use crate::io::{File, Io, Mapping, OpenMode, PathKind, this_program};
use crate::memory;
use crate::sync::atomic::{AtomicU32, AtomicU64};

/// The name of the file in the log directory.
pub const SHM_NAME: &str = "shm";

/// What the processes that have a database open agree on, as this process sees it.
pub struct SharedMemory {
    /// `None`: it is the memory of this process alone, since its directory cannot be written, or is removed.
    file: Option<Arc<dyn File>>,
    control: Backing,
    liveness: Arc<dyn Liveness>,
    slot: usize,
    /// The slots that a thread of this process looks at, or cleans up after: a bit for each.
    pub(super) probing: AtomicU64,
}

enum Backing {
    #[cfg_attr(all(test, shuttle), expect(dead_code, reason = "shuttle's atomics are no plain memory"))]
    Mapped(Box<dyn Mapping>),
    /// Of this process; in tests also of others that are made up.
    Own(Arc<Control>),
}

/// A region without a file.
struct Heap(Box<[AtomicU32]>);

impl Mapping for Heap {
    fn pointer(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut().cast()
    }
}

impl SharedMemory {
    /// Make the memory of a log that has just been recovered, and take a slot in it. The caller holds the lock of the log: nobody else
    /// has it open. `read_only`: no file is made.
    pub fn create(
        io: &dyn Io,
        dir: &Path,
        liveness: Arc<dyn Liveness>,
        read_only: bool,
    ) -> Result<SharedMemory> {
        let file = if read_only { None } else { make_file(io, &dir.join(SHM_NAME))? };
        let control = match &file {
            Some(file) => Backing::of(&**file).inspect_err(|_| {
                // On a full disk its blocks are of use to others.
                let _ = io.remove_file(&dir.join(SHM_NAME));
            })?,
            None => Backing::Own(Arc::new(Control::new())),
        };
        let mut memory = SharedMemory { file, control, liveness, slot: 0, probing: AtomicU64::new(0) };
        if read_only {
            memory.control().use_slot(0);
        } else {
            memory.slot = memory.take_slot(std::process::id(), &this_program(), io.now_us())?;
        }
        Ok(memory)
    }

    /// Have the memory of a log that other processes have open, and take a slot in it. The caller keeps processes from coming and going.
    ///
    /// Errors: [`Error::Corrupt`] when it is not there, or is not what this version of vwal knows; [`Error::Usage`] when all slots are taken.
    pub fn join(io: &dyn Io, dir: &Path, liveness: Arc<dyn Liveness>) -> Result<SharedMemory> {
        let path = dir.join(SHM_NAME);
        let file = io.open(&path, OpenMode::ReadWrite).map_err(|error| {
            if !error.is_not_found() {
                return error;
            }
            let what = "it is missing, although processes have the database open: close it in all of them";
            Error::corrupt(&path, None, what)
        })?;
        if file.size()? < CONTROL_SIZE {
            return Err(Error::corrupt(&path, None, "it is too short to be the shared memory of a log"));
        }
        let control = Backing::existing(&*file)?;
        let mut memory =
            SharedMemory { file: Some(file), control, liveness, slot: 0, probing: AtomicU64::new(0) };
        memory.control().check().map_err(|what| Error::corrupt(&path, 0, what))?;
        memory.slot = memory.take_slot(std::process::id(), &this_program(), io.now_us())?;
        memory.state().join();
        Ok(memory)
    }

    /// Memory of this process, which nobody else has.
    #[cfg(test)]
    pub(crate) fn alone() -> SharedMemory {
        struct Alone;
        impl Liveness for Alone {
            fn take(&self, _: usize) -> Result<bool> {
                Ok(false)
            }
            fn give_back(&self, _: usize) {}
        }
        let memory = SharedMemory {
            file: None,
            control: Backing::Own(Arc::new(Control::new())),
            liveness: Arc::new(Alone),
            slot: 0,
            probing: AtomicU64::new(0),
        };
        memory.control().use_slot(0);
        memory
    }

    /// Another process has it open, too, of which `liveness` knows.
    #[cfg(all(test, shuttle))]
    pub(super) fn in_another_process(&self, liveness: Arc<dyn Liveness>, pid: u32) -> Result<SharedMemory> {
        let Backing::Own(control) = &self.control else { unreachable!("a model has no mapping") };
        let control = Backing::Own(Arc::clone(control));
        let mut memory = SharedMemory { file: None, control, liveness, slot: 0, probing: AtomicU64::new(0) };
        memory.slot = memory.take_slot(pid, "model", 0)?;
        Ok(memory)
    }

    /// Everything is as it was found on disk.
    pub fn complete(&self) {
        self.control().complete();
    }

    /// The last process is about to give the log up: the file is of no use to anybody. When it stays, since this process is killed or may
    /// not remove it, the next one makes it anew.
    pub fn remove_file(&self, io: &dyn Io, dir: &Path) {
        if self.file.is_some() {
            let _ = io.remove_file(&dir.join(SHM_NAME));
        }
    }

    pub(super) fn control(&self) -> &Control {
        match &self.control {
            Backing::Own(control) => control,
            // SAFETY: the mapping is `CONTROL_SIZE` bytes long, which is at least the size of `Control`, begins at a multiple of a
            // page, which is one of the alignment of `Control`, and stays where it is for as long as `self`. Its bytes were
            // zeros, or written through a `Control`, and every field is an atomic: any bits are a value, and other processes may
            // change them at any time.
            Backing::Mapped(mapping) => unsafe { &*mapping.pointer().cast::<Control>() },
        }
    }

    pub(super) fn liveness(&self) -> &dyn Liveness {
        &*self.liveness
    }

    /// The slot of this process.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// What the processes leave to each other of the log.
    pub fn state(&self) -> &LogState {
        &self.control().state
    }

    /// Whether other processes can have it mapped, too.
    pub fn is_shared(&self) -> bool {
        self.file.is_some()
    }

    /// Region `index` of the wal-index, of `size` bytes. `None`: there is none, and it is not to be made. A new one is all zeros. The holder
    /// of the write lock makes new ones.
    pub fn region(&self, index: usize, size: usize, extend: bool) -> Result<Option<Box<dyn Mapping>>> {
        let is_made = index < self.state().regions();
        let Some(file) = &self.file else {
            if !extend {
                return Ok(None);
            }
            let words = memory::filled(size / 4, "the wal-index", || AtomicU32::new(0))?;
            self.state().made_region(index);
            return Ok(Some(Box::new(Heap(words))));
        };
        if !is_made && !extend {
            return Ok(None);
        }
        let offset = CONTROL_SIZE + (index * size) as u64;
        if !is_made {
            write_zeros(&**file, offset, size)?;
            self.state().made_region(index);
        }
        file.map(offset, size).map(Some)
    }
}

impl Backing {
    #[cfg(not(all(test, shuttle)))]
    fn existing(file: &dyn File) -> Result<Backing> {
        file.map(0, CONTROL_SIZE as usize).map(Backing::Mapped)
    }

    #[cfg(all(test, shuttle))]
    fn existing(_: &dyn File) -> Result<Backing> {
        unreachable!("a model has no mapping")
    }

    #[cfg(not(all(test, shuttle)))]
    fn of(file: &dyn File) -> Result<Backing> {
        write_zeros(file, 0, CONTROL_SIZE as usize)?;
        file.map(0, CONTROL_SIZE as usize).map(Backing::Mapped)
    }

    #[cfg(all(test, shuttle))]
    fn of(_: &dyn File) -> Result<Backing> {
        Ok(Backing::Own(Arc::new(Control::new())))
    }
}

/// Written, not just extended: on a full disk this is an error, where touching a hole in the mapping would be a SIGBUS in the host.
fn write_zeros(file: &dyn File, offset: u64, size: usize) -> Result<()> {
    let mut zeros = Vec::new();
    memory::resize(&mut zeros, size, "the wal-index")?;
    file.write_at(&zeros, offset)
}

/// `None`: there can be none, and memory of this process is enough, since nobody else can open the database. Whether the next open
/// would find a commit is looked at before each fsync is reported (`log/place.rs`), and not here.
fn make_file(io: &dyn Io, path: &Path) -> Result<Option<Arc<dyn File>>> {
    // Made anew: an old file of this name may be a link to somebody else's file, or somebody else may have it mapped and change it.
    let remove = || match io.kind(path)? {
        PathKind::Missing => Ok(()),
        _ => io.remove_file(path),
    };
    match remove().and_then(|()| io.open(path, OpenMode::Create)) {
        Ok(file) => Ok(Some(file)),
        Err(Error::Io { kind: ErrorKind::NotFound | ErrorKind::PermissionDenied, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The positions of a log, where all processes have them.
pub struct SharedPositions(pub Arc<SharedMemory>);

impl Deref for SharedPositions {
    type Target = Positions;
    fn deref(&self) -> &Positions {
        &self.0.control().positions
    }
}
