//! The files of the source tree.

use std::fs;
use std::path::Path;

/// The text of a file, whose path is relative to the root of the package.
pub fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a file or directory exists, relative to the root of the package.
pub fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The files under `roots` with one of these endings, sorted. A root that does not exist has none.
pub fn files(roots: &[&str], endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for root in roots {
        collect(root, endings, &mut found);
    }
    found.sort();
    assert!(!found.is_empty(), "there are files under {roots:?}");
    found
}

fn collect(path: &str, endings: &[&str], found: &mut Vec<String>) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if full.is_dir() {
        for entry in fs::read_dir(&full).unwrap_or_else(|error| panic!("{path}: {error}")) {
            let name = entry.expect("an entry of a directory").file_name();
            collect(&format!("{path}/{}", name.to_string_lossy()), endings, found);
        }
    } else if full.is_file() && endings.iter().any(|ending| path.ends_with(&format!(".{ending}"))) {
        found.push(path.to_owned());
    }
}

/// The part of a Rust file in front of its tests.
pub fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

/// A line of Rust without its comment. What a string contains may be cut off as well.
pub fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}
