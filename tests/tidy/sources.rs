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

/// A Rust file without what is compiled for tests alone: each item after a `#[cfg(test)]` or `#[cfg(all(test, ..))]`, wherever it
/// stands. The file is formatted, so an item ends on a line with the indentation of its first one.
pub fn without_tests(text: &str) -> String {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let mut product = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let attribute = line.trim_start();
        if !["#[cfg(test)]", "#[cfg(all(test,", "#[cfg(any(test,"]
            .iter()
            .any(|start| attribute.starts_with(start))
        {
            product.push_str(line);
            product.push('\n');
            continue;
        }
        let ends = |item: &str| {
            indentation(item) == indentation(line)
                && item.ends_with([';', '}', ','])
                && !item.trim_start().starts_with("//")
        };
        let _ = lines.find(|item| ends(item));
    }
    product
}

#[test]
fn items_for_tests_are_left_out_and_no_others() {
    let text = "use a;\n#[cfg(test)]\nuse b;\nfn c() {\n    #[cfg(test)]\n    let d = 1;\n    e();\n}\n\
        #[cfg(all(test, shuttle))]\n/// Ends not here;\n#[path = \"f\"]\nfn f(\n    g: u8,\n) {\n    h();\n}\n\
        #[cfg(not(test))]\nfn i() {}\n#[cfg(test)]\nmod tests {\n    fn j() {}\n}\nfn k() {}\n";
    let product = "use a;\nfn c() {\n    e();\n}\n#[cfg(not(test))]\nfn i() {}\nfn k() {}\n";
    assert_eq!(without_tests(text), product);
}

/// A line of Rust without its comment. What a string contains may be cut off as well.
pub fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}
