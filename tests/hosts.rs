//! Programs that bring their own SQLite load the extension: the distribution's Python with its `sqlite3` module, and
//! `apsw` from PyPI, which also brings VFSes to be put above and below vwal. What they do is in `tests/hosts/*.py`. What is missing on the machine fails the test, with a
//! message that says how to get it.

#[path = "common/extension.rs"]
mod extension;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The distribution's Python. One from pyenv is often built without `enable_load_extension`.
const PYTHON: &str = "/usr/bin/python3";

/// The release of apsw that is tested.
const APSW: &str = "apsw==3.54.1.0";
/// The same upon SQLite3 Multiple Ciphers, which enciphers databases.
const CIPHERS: &str = "apsw-sqlite3mc==3.54.0.0";

#[test]
fn the_distributions_python() {
    let mut python = Command::new(PYTHON);
    python.arg(script("python_sqlite3.py"));
    succeeds(python);
}

#[test]
fn apsw() {
    succeeds_with(APSW, "python_apsw.py");
}

#[test]
fn another_vfs_above_vwal_is_refused() {
    succeeds_with(APSW, "python_vfs_above.py");
}

#[test]
fn a_vfs_below_vwal_gets_pages_one_by_one() {
    succeeds_with(APSW, "python_vfs_below.py");
}

#[test]
fn cksumvfs_below_vwal() {
    succeeds_with(APSW, "python_cksumvfs.py");
}

#[test]
fn sqlite3_multiple_ciphers() {
    succeeds_with(CIPHERS, "python_ciphers.py");
}

#[test]
fn work_after_sqlite3_shutdown() {
    succeeds_with(APSW, "python_shutdown.py");
}

/// Runs a script with a release of a package that is called `apsw`.
fn succeeds_with(release: &str, name: &str) {
    let mut python = Command::new(PYTHON);
    python.env("PYTHONPATH", installed(release)).arg(script(name));
    succeeds(python);
}

/// On the distribution's SQLite, whatever its version: on one before 3.50 stock SQLite loses commits here.
#[test]
fn a_commit_after_a_rollback_to_over_frames_that_were_overwritten() {
    let mut python = Command::new(PYTHON);
    python.arg(script("python_savepoints.py"));
    succeeds(python);
}

/// The same on one before 3.51.3.
#[test]
fn invariant_03_a_checkpoint_from_before_a_reset_of_the_wal() {
    let mut python = Command::new(PYTHON);
    python.arg(script("wal_reset.py"));
    succeeds(python);
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(name)
}

/// Runs a host in an empty directory, with the extension and the name of a database as its arguments.
fn succeeds(mut host: Command) {
    let home = tempfile::tempdir().expect("a temporary directory");
    host.arg(extension::path()).arg("app.db").current_dir(home.path());
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("VWAL_") {
            host.env_remove(key);
        }
    }
    let output = host.output().unwrap_or_else(|error| {
        panic!("{PYTHON}: {error}; install it (Debian and Ubuntu: `apt-get install python3`)")
    });
    let printed = printed(&output);
    assert!(output.status.success(), "{host:?} ended with {}:\n{printed}", output.status);
    assert!(printed.contains("done with"), "{host:?} did not come to its end:\n{printed}");
}

/// The directory that holds a release of apsw, installed there on the first call; kept in the target directory for the next run.
fn installed(release: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(release.replace("==", "-"));
    if directory.join("apsw").is_dir() {
        return directory;
    }
    // Installed beside and renamed, so that an interrupted installation is not taken for a whole one.
    let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for apsw");
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--target"];
    let output =
        Command::new(PYTHON).args(pip).arg(fresh.path()).arg(release).output().expect("Python starts");
    assert!(
        output.status.success(),
        "{release} cannot be installed from PyPI (is pip there? Debian and Ubuntu: `apt-get install python3-pip`):\n{}",
        printed(&output)
    );
    if let Err(error) = std::fs::rename(fresh.path(), &directory) {
        assert!(directory.join("apsw").is_dir(), "{}: {error}", directory.display());
    }
    directory
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
