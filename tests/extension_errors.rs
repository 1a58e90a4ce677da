//! An extension that refuses to load leaves nothing behind: SQLite unloads it, and the host must live on.

#[path = "common/extension.rs"]
mod extension;

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn a_wrong_variable_of_the_environment_is_an_error_and_not_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sqlite3")
        .current_dir(dir.path())
        .env("VWAL_SWOP", "frames>=5")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the sqlite3 shell runs (Debian: apt-get install sqlite3)");
    let load = format!(".load {}\n", extension::path().display());
    // Twice, since the first attempt must not leave anything that the second one trips over.
    let script = format!("{load}{load}.open x.db\nSELECT 'alive';\n");
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.code().is_some(), "the shell was killed: {:?}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "alive\n");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("VWAL_SWOP is no option of vwal"), "{complaint}");
}
