//! Arguments, paths and the environment: what is right, what is refused, and with which exit code.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{command, database, log_dir, on, ran, run};

#[test]
fn paths_may_hold_anything() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "with space.db",
        "größe 数据.db",
        "100%25?x=1&y#z.db",
        "file:x.db",
        "-v.db",
        "no-suffix",
        "q'u\"o.db",
    ] {
        let db = database(dir.path(), "plain");
        fs::rename(&db, dir.path().join(name)).unwrap();
        let db = dir.path().join(name);
        let attached = on("attach", &db);
        assert_eq!(attached.code, 0, "{name}: {}", attached.stderr);
        assert_eq!(attached.json()["path"].as_str(), db.canonicalize().unwrap().to_str());
        assert!(log_dir(&db).is_dir(), "{name}");
        assert_eq!(on("verify", &db).code, 0, "{name}");
        // Relative, too.
        let here = ran(command().current_dir(dir.path()).args(["status", "--", name]).output().unwrap());
        assert_eq!(here.code, 0, "{name}: {}", here.stderr);
        let detached = on("detach", &db);
        assert_eq!(detached.code, 0, "{name}: {}", detached.stderr);
        assert!(!log_dir(&db).exists(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_leads_to_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "real.db");
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&db, &link).unwrap();
    assert_eq!(on("attach", &link).code, 0);
    assert!(log_dir(&db).is_dir() && !log_dir(&link).exists());
    assert_eq!(on("status", &link).json()["attached"], true);
    assert_eq!(on("verify", &link).code, 0);
    assert_eq!(on("detach", &link).code, 0);
    assert!(!log_dir(&db).exists());
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    let content = "This is a text, and no database. ".repeat(200);
    fs::write(&text, &content).unwrap();
    let missing = dir.path().join("missing.db");
    for subcommand in ["status", "verify", "attach", "detach", "demo"] {
        let run = on(subcommand, &missing);
        assert!(run.failed().contains("missing.db' does not exist"), "{subcommand}: {}", run.stderr);
        let run = on(subcommand, dir.path());
        assert!(run.failed().contains("is a directory"), "{subcommand}: {}", run.stderr);
        let run = on(subcommand, &text);
        let message = run.failed();
        assert!(message.contains("notes.txt") && message.contains("not a"), "{subcommand}: {message}");
    }
    assert_eq!(fs::read_to_string(&text).unwrap(), content);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"], "nothing was made");
}

#[test]
fn an_empty_file_is_an_empty_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("empty.db");
    fs::write(&db, "").unwrap();
    assert_eq!(on("status", &db).code, 0);
    assert_eq!(on("verify", &db).code, 0);
    let attached = on("attach", &db);
    assert!(attached.failed().contains("empty"), "{}", attached.stderr);
    assert_eq!(on("detach", &db).code, 0);
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    for args in [
        &[][..],
        &["fly"],
        &["status"],
        &["attach"],
        &["status", "a.db", "b.db"],
        &["status", "--fast", "a.db"],
        &["path", "a.db"],
        &["demo", "--rounds", "0"],
        &["demo", "--rounds", "many"],
        &["demo", "--writers", "65"],
        &["demo", "--seconds", "NaN"],
        &["demo", "--synchronous", "sometimes"],
    ] {
        let run = run(args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{args:?}");
        assert!(run.stderr.contains("Usage") || run.stderr.contains("--help"), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn help_and_version_are_there() {
    let help = run(["--help"]);
    assert_eq!(help.code, 0);
    for word in [
        "demo",
        "status",
        "verify",
        "attach",
        "detach",
        "path",
        "log",
        "restore",
        "ship",
        "snapshot",
        "compact",
        "expire",
        "check",
        "--json",
        "Exit codes",
        "  3  ",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert!(!help.stdout.contains("demo-worker") && !help.stdout.contains("plain-check"));
    let version = run(["--version"]);
    assert_eq!((version.code, version.stdout.trim()), (0, concat!("vwal ", env!("CARGO_PKG_VERSION"))));
    for subcommand in
        ["demo", "status", "verify", "attach", "detach", "path", "log", "restore", "ship", "expire"]
    {
        assert_eq!(run([subcommand, "--help"]).code, 0, "{subcommand}");
    }
}

#[test]
fn a_wrong_option_in_the_environment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    for (name, value, words) in [("VWAL_SWAP", "size>=4MB", "KiB"), ("VWAL_SWP", "x", "VWAL_SWAP")] {
        let run = ran(command().env(name, value).arg("attach").arg(&db).output().unwrap());
        let message = run.failed();
        assert!(message.contains(name) && message.contains(words), "{message}");
    }
    assert!(!log_dir(&db).exists());
    // The command opens through vwal what it says it does, whatever the default of the process is.
    let run = ran(command().env("VWAL_DEFAULT", "1").args(["--json", "verify"]).arg(&db).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!log_dir(&db).exists());
}

#[test]
fn the_extension_is_found_or_its_absence_explained() {
    let dir = tempfile::tempdir().unwrap();
    let here = run(["--json", "path"]);
    assert_eq!(here.code, 0, "{}", here.stderr);
    assert!(Path::new(here.json()["path"].as_str().unwrap()).is_file());
    assert_eq!(run(["path"]).stdout.trim(), here.json()["path"].as_str().unwrap());
    // The command alone, as 'cargo install' leaves it.
    let alone = dir.path().join("vwal");
    fs::copy(env!("CARGO_BIN_EXE_vwal"), &alone).unwrap();
    // Another test's child may have inherited the descriptor of the copy for a moment; then it cannot be run yet.
    let output = (0..200).find_map(|_| match Command::new(&alone).arg("path").output() {
        Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
            std::thread::sleep(std::time::Duration::from_millis(20));
            None
        }
        output => Some(output.unwrap()),
    });
    let run = ran(output.expect("the copy can be run"));
    assert!(run.failed().contains("beside"), "{}", run.stderr);
}
