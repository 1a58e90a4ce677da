//! The rules of the source tree, as tests: what may import what, where `unsafe` may stand, how long a file may be.

#[path = "tidy/c_calls.rs"]
mod c_calls;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/fsyncs.rs"]
mod fsyncs;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/sources.rs"]
mod sources;

use sources::{code_of, files, read, without_tests};

/// The most lines that a file may have, its tests not counted.
const MAX_LINES: usize = 500;

#[test]
fn files_are_short() {
    for path in files(&["src", "c", "tests", "examples", "benches", "build.rs"], &["rs", "c", "h", "py"]) {
        let text = read(&path);
        let lines = without_tests(&text).lines().count();
        assert!(lines <= MAX_LINES, "{path} has {lines} lines, {MAX_LINES} are allowed");
    }
}

/// The C boundary of the test apparatus.
const FOR_TESTS: [&str; 2] = ["src/testing/counting.rs", "src/testing/vfs.rs"];
/// The memory that processes share.
const MAPPING: &str = "src/shm/memory.rs";

#[test]
fn unsafe_stands_in_ffi_alone_and_says_why() {
    for path in files(&["src"], &["rs"]) {
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let code = code_of(line);
            if !code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                continue;
            }
            let may = path.starts_with("src/ffi/") || path == MAPPING || FOR_TESTS.contains(&path.as_str());
            assert!(may, "{path}:{}: unsafe outside of src/ffi", at + 1);
            if code.contains("unsafe {") || code.contains("unsafe impl") {
                // The reason stands right above the statement, which may have begun some lines earlier.
                let said = lines[at.saturating_sub(6)..=at].iter().any(|line| line.contains("SAFETY:"));
                assert!(said, "{path}:{}: no SAFETY comment", at + 1);
            }
        }
    }
}

#[test]
fn nothing_is_left_over() {
    // Put together here, so that this file does not find itself.
    let leftovers = [
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("TO", "DO"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("allow(dead", "_code"),
    ];
    for path in files(
        &["src", "c", "tests", "examples", "benches", "sql", "build.rs"],
        &["rs", "c", "h", "py", "sql"],
    ) {
        for (at, line) in read(&path).lines().enumerate() {
            for leftover in leftovers {
                // Each test binary uses some of the shared helpers, and the others are dead code to it.
                let shared = path.starts_with("tests/common/") && leftover.starts_with("allow");
                assert!(shared || !line.contains(leftover), "{path}:{}: {leftover}", at + 1);
            }
        }
    }
}

#[test]
fn no_machine_path_is_committed() {
    let roots =
        ["src", "c", "tests", "examples", "benches", "sql", "docs", "build.rs", "Cargo.toml", "README.md"];
    for path in files(&roots, &["rs", "c", "h", "py", "sql", "expected", "toml", "md"]) {
        for (at, line) in read(&path).lines().enumerate() {
            for machine in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")] {
                assert!(!line.contains(machine), "{path}:{}: a path of one machine", at + 1);
            }
        }
    }
}

#[test]
fn every_c_file_opens_with_what_it_does() {
    for path in files(&["c"], &["c", "h"]) {
        let text = read(&path);
        assert!(text.starts_with("/*\n** "), "{path} does not open with an essay");
    }
}
