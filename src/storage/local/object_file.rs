//! An object as a file: its name, how it is written, and whether it is there already.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use object_store::PutPayload;
use object_store::path::Path as Key;

/// Writes an object and makes it durable. With `create`, an existing one stays as it is, and the answer is `false`.
pub(super) fn write(path: &Path, payload: &PutPayload, create: bool) -> io::Result<bool> {
    let (temporary, mut file) = new_beside(path)?;
    let written =
        payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all()).and_then(
            |()| match create {
                true => linked(&temporary, path),
                false => fs::rename(&temporary, path).map(|()| true),
            },
        );
    if create || written.is_err() {
        // Left over, it is no object, and takes room: that is no reason to fail.
        let _ = fs::remove_file(&temporary);
    }
    if matches!(written, Ok(true)) {
        File::open(path.parent().unwrap_or(path))?.sync_all()?;
    }
    written
}

/// The part of a key that a file or directory of this name is; `None`: it is no object.
pub(super) fn object_name(name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    // The temporary files of `object_store`.
    let temporary = name
        .rsplit_once('#')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()));
    let key = Key::parse(name).ok()?;
    (!temporary && key.as_ref() == name).then(|| name.to_owned())
}

/// Whether the file holds the bytes of `payload`, and nothing behind them is looked at.
pub(super) fn is_same(file: File, payload: &PutPayload) -> io::Result<bool> {
    let mut file = BufReader::new(file);
    for part in payload.iter() {
        let mut there = vec![0; part.len()];
        match file.read_exact(&mut there) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if there != *part {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A new file beside `path`, whose name no object has ([`object_name`]).
fn new_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 1_u64;
    loop {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!("#{number}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
            // Left over from a process that was killed, or another one is writing the same object.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            file => return Ok((temporary.into(), file?)),
        }
    }
}

/// Gives the file `from` the name `to` as well, unless something has it.
fn linked(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(io::Error::new(error.kind(), format!("{NO_LINK}: {error}"))),
    }
}

/// How an error says that a hard link could not be made.
pub(in crate::storage) const NO_LINK: &str = "a hard link cannot be made";

pub(super) fn not_regular() -> io::Error {
    let what = "this is a FIFO, a device or a socket, where a file with an object should be: move it away";
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
