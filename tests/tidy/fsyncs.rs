//! Every fsync has a name (`src/io/sync_site.rs`), by which a test can leave it out.

use crate::sources::{code_of, files, read, without_tests};

/// What asks the system for an fsync.
const CALLS: [&str; 6] = ["sync_all", "sync_data", "fsync", "fdatasync", "syncfs", "sync_file_range"];

/// The files that may: the system's own `io`, and the storage that is a directory, which makes its objects durable itself.
const MAY: [&str; 4] = [
    "src/io/system.rs",
    "src/storage/local.rs",
    "src/storage/local/object_file.rs",
    "src/storage/local/prepare.rs",
];

/// The variants of `SyncSite`.
fn sites() -> Vec<String> {
    let text = read("src/io/sync_site.rs");
    let (_, list) = text.split_once("\nsites! {").expect("the list of the sites");
    let (list, _) = list.split_once("\n}").expect("its end");
    let names = list.lines().map(|line| code_of(line).trim()).filter_map(|line| line.strip_suffix(','));
    names.map(str::to_owned).collect()
}

/// Each `SyncSite::Name` in the code of the product.
fn uses() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files(&["src"], &["rs"]) {
        let is_test = path.starts_with("src/testing/")
            || path.ends_with("tests.rs")
            || path.contains("schedules")
            || path == "src/io/sync_site.rs";
        if is_test {
            continue;
        }
        let text = read(&path);
        let code = without_tests(&text);
        for part in code.lines().map(code_of).flat_map(|line| line.split("SyncSite::").skip(1)) {
            let name: String = part.chars().take_while(|c| c.is_alphanumeric()).collect();
            found.push((name, path.clone()));
        }
    }
    found
}

/// Each name that stands in front of an opening parenthesis.
fn calls(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices('(').filter(|&(at, _)| !line[..at].contains("fn ")).map(|(at, _)| {
        let start =
            line[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
        &line[start..at]
    })
}

#[test]
fn each_site_of_an_fsync_is_one_place() {
    let (sites, uses) = (sites(), uses());
    assert!(sites.len() > 30, "the sites are found: {sites:?}");
    for site in &sites {
        let places: Vec<&str> =
            uses.iter().filter(|(name, _)| name == site).map(|(_, path)| path.as_str()).collect();
        assert_eq!(places.len(), 1, "SyncSite::{site} is to be passed in one place, and is in {places:?}");
    }
    for (name, path) in &uses {
        assert!(sites.contains(name), "{path}: SyncSite::{name} is no site");
    }
}

#[test]
fn nothing_else_does_an_fsync() {
    let found: Vec<String> = files(&["src"], &["rs"])
        .into_iter()
        .filter(|path| {
            let text = read(path);
            text.lines().map(code_of).any(|line| calls(line).any(|name| CALLS.contains(&name)))
        })
        .collect();
    assert_eq!(found, MAY, "an fsync without a name");
    // SQLite's own fsyncs of its files, which are passed on, and that of the base file, which has its site in Rust.
    let shim: Vec<String> = files(&["c"], &["c", "h"])
        .into_iter()
        .flat_map(|path| vec![path.clone(); read(&path).matches("->xSync(").count()])
        .collect();
    assert_eq!(shim, ["c/basefile.c", "c/dbfile.c"]);
}

#[test]
fn calls_are_found() {
    let found: Vec<&str> = calls("a.sync_all().and(fsync(b)); if (x) {}").collect();
    assert_eq!(found, ["sync_all", "and", "fsync", ""]);
}
