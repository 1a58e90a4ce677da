//! Opening databases: through vwal, and through SQLite's own VFS.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use vwal::Options;
use vwal::inspect::{Depth, inspect};

use super::Failure;

/// The database file `db`, which must exist: absolute, and with symbolic links resolved, as SQLite does before it
/// appends `-wal`.
pub fn existing(db: &Path) -> Result<PathBuf, Failure> {
    let fail = |what: &str| Failure::new(format!("'{}' {what}", db.display()));
    let path = fs::canonicalize(db).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if log_dir(db).join("meta").is_file() => fail(&format!(
            "does not exist, but there is a log of it in '{}': put the file back that belongs to it",
            log_dir(db).display()
        )),
        io::ErrorKind::NotFound => fail("does not exist"),
        _ => fail(&format!("cannot be opened: {error}")),
    })?;
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(metadata) if metadata.is_dir() => Err(fail("is a directory, not a database file")),
        Ok(_) => Err(fail("is not a regular file")),
        Err(error) => Err(fail(&format!("cannot be opened: {error}"))),
    }
}

/// The log directory of the database at `path`, whether or not it exists.
pub fn log_dir(path: &Path) -> PathBuf {
    let mut dir = OsString::from(path);
    dir.push("-wal");
    dir.into()
}

/// Open the existing database at `path` through vwal. A rollback-mode database becomes a vwal database by this.
/// `params` are URI parameters, "vwal_swap=frames>=100".
pub fn through_vwal(path: &Path, params: &[&str]) -> Result<Connection, Failure> {
    through_vwal_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE, params)
}

/// Open the database at `path`, which has a log, through vwal: no file of it is changed.
pub fn looking_through_vwal(path: &Path) -> Result<Connection, Failure> {
    // Whatever the environment says of storage is not for who only looks.
    through_vwal_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY, &["vwal_read_only=on", "vwal_storage=off"])
}

fn through_vwal_with(path: &Path, access: OpenFlags, params: &[&str]) -> Result<Connection, Failure> {
    static REGISTERED: OnceLock<Result<(), vwal::Error>> = OnceLock::new();
    let registered = REGISTERED.get_or_init(|| {
        // The command names its VFS wherever it opens something, so that a plain open stays plain.
        vwal::register(Options::from_env()?.default_vfs(false))
    });
    registered.clone()?;
    refuse_orphan(path)?;
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut uri = uri(path, "vwal");
    for param in params {
        let (key, value) = param.split_once('=').unwrap_or((param, ""));
        let _ = write!(uri, "&{key}={}", encode(value.as_bytes()));
    }
    let conn = Connection::open_with_flags(&uri, flags).map_err(|error| opening(path, &uri, &error))?;
    // SQLite opens a file lazily: this is where one that is no database is found out.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))
        .map_err(|error| explained(&conn, path, &error))?;
    Ok(conn)
}

/// Refuse an empty database file whose commits are only in its log. To open it would move that log aside, as it does for an
/// application, which has nobody to ask; who gives a command can put the file back first.
fn refuse_orphan(path: &Path) -> Result<(), Failure> {
    let is_empty = fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    if !is_empty || !log_dir(path).is_dir() {
        return Ok(());
    }
    let inspection = inspect(path, Depth::Heads)?;
    // A log that somebody holds is not moved aside: the open is refused, and says who holds it.
    if !inspection.is_orphaned() || inspection.holder.is_some() {
        return Ok(());
    }
    match inspection.findings.iter().find(|finding| finding.path == inspection.path) {
        Some(finding) => Err(Failure::new(finding.to_string())),
        None => Ok(()),
    }
}

/// An error of a statement on a database that is open through vwal: of what its files refused, SQLite tells the text of a result
/// code alone.
pub fn explained(conn: &Connection, path: &Path, error: &rusqlite::Error) -> Failure {
    let failure = named(path, error);
    match conn.query_row("PRAGMA vwal_last_error", [], |row| row.get::<_, String>(0)) {
        Ok(reason) if !failure.to_string().contains(&reason) => Failure::new(format!("{failure}: {reason}")),
        _ => failure,
    }
}

/// Open the existing database at `path` through the operating system's VFS.
pub fn plain(path: &Path, access: OpenFlags) -> Result<Connection, Failure> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let vfs = if cfg!(windows) { "win32" } else { "unix" };
    let uri = uri(path, vfs);
    let conn = Connection::open_with_flags(&uri, flags).map_err(|error| opening(path, &uri, &error))?;
    conn.query_row("PRAGMA schema_version", [], |_| Ok(())).map_err(|error| named(path, &error))?;
    Ok(conn)
}

/// The same, changing no file. `Ok(Err)`: that cannot be done, and why.
pub fn looking_plain(path: &Path, is_wal: bool) -> Result<Result<Connection, String>, Failure> {
    let beside = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        fs::symlink_metadata(&name).is_ok()
    };
    for suffix in ["-wal", "-journal"] {
        if beside(suffix) {
            let why = format!(
                "there is a {suffix} file of SQLite without vwal, and looking at the database with it could change both"
            );
            return Ok(Err(why));
        }
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let vfs = if cfg!(windows) { "win32" } else { "unix" };
    // In WAL mode SQLite makes files even to read. Nobody has it open: there would be a -wal file.
    let uri = uri(path, vfs) + if is_wal { "&immutable=1" } else { "" };
    let conn = Connection::open_with_flags(&uri, flags).map_err(|error| opening(path, &uri, &error))?;
    conn.query_row("PRAGMA schema_version", [], |_| Ok(())).map_err(|error| named(path, &error))?;
    Ok(Ok(conn))
}

/// What `PRAGMA integrity_check` says: empty when all is well.
pub fn integrity_check(conn: &Connection) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    let checked = conn.prepare("PRAGMA integrity_check").and_then(|mut statement| {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            lines.push(row.get(0)?);
        }
        Ok(())
    });
    match checked {
        // A page can be so damaged that the check itself ends with that.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            lines.push(message(&error))
        }
        checked => checked?,
    }
    Ok(if lines == ["ok"] { Vec::new() } else { lines })
}

/// An SQLite error in words: without the frame that SQLite puts round what an extension said at open.
pub fn message(error: &rusqlite::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("automatic extension loading failed: ").unwrap_or(&text);
    text.strip_prefix("vwal: ").unwrap_or(text).to_owned()
}

/// An error of an open, to whose words rusqlite appends the name that was opened: here a URI that nobody has typed.
fn opening(path: &Path, uri: &str, error: &rusqlite::Error) -> Failure {
    named_message(path, message(error).trim_end_matches(uri).trim_end_matches(": "))
}

/// An SQLite error about `path`, which is named if the message does not do so already.
pub fn named(path: &Path, error: &rusqlite::Error) -> Failure {
    named_message(path, &message(error))
}

fn named_message(path: &Path, message: &str) -> Failure {
    let name = path.display().to_string();
    Failure::new(if message.contains(&name) { message.to_owned() } else { format!("'{name}': {message}") })
}

fn uri(path: &Path, vfs: &str) -> String {
    format!("file:{}?vfs={vfs}", encode(path.as_os_str().as_encoded_bytes()))
}

/// Percent-encode all that could mean something in a URI.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                text.push(char::from(byte))
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_holds_any_path() {
        assert_eq!(uri(Path::new("/a b/ü?#&%.db"), "vwal"), "file:/a%20b/%C3%BC%3F%23%26%25.db?vfs=vwal");
    }

    #[test]
    fn an_open_error_is_what_vwal_said() {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        let framed = "automatic extension loading failed: vwal: '/x' is in use by process 7 (sh)";
        let error = rusqlite::Error::SqliteFailure(code, Some(framed.to_owned()));
        assert_eq!(message(&error), "'/x' is in use by process 7 (sh)");
        assert_eq!(named(Path::new("/x"), &error).to_string(), "'/x' is in use by process 7 (sh)");
        assert_eq!(named(Path::new("/y"), &error).to_string(), "'/y': '/x' is in use by process 7 (sh)");
    }
}
