//! The Rust code of the README, run as it is on a new path.

use std::path::Path;

use super::read;

/// What an application has that was pasted from the README. The lines between the braces are those of the README, each of them;
/// `the_pasted_code_is_the_readmes` compares.
#[rustfmt::skip]
fn pasted(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Duration;

    use rusqlite::{Connection, OpenFlags};
    use vwal::{Database, Options};

    vwal::register(Options::new().sync_interval(Duration::from_millis(200)))?;

    let uri = format!("file:{}?vfs=vwal&vwal_swap=frames>=200", path.display());
    let conn = Connection::open_with_flags(uri, OpenFlags::default())?;
    conn.execute_batch("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")?;

    // A new database is virtual as soon as it has a table.
    let database = Database::of(&conn, "main")?;
    let frame_no = database.frame_no();
    println!("written up to frame {frame_no}, durable up to frame {}", database.durable_frame_no());
    Ok(())
}

/// The lines of a text that are not empty, without their indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_pasted_code_is_the_readmes() {
    let source = include_str!("snippet.rs");
    let body =
        source.split("fn pasted(").nth(1).and_then(|rest| rest.split("\n}\n").next()).expect("the function");
    let mut body = lines(body);
    assert_eq!((body.remove(0).ends_with('{'), body.pop()), (true, Some("Ok(())")));
    let readme = read("README.md");
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("Rust code");
    assert_eq!(lines(code), body);
}

#[test]
fn the_readmes_rust_code_runs_on_a_new_path_and_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("app.db");
    pasted(&path).expect("on a new path");
    assert!(dir.path().join("app.db-wal").is_dir(), "the database is virtual");
    pasted(&path).expect("on the database that it made");
}
