//! A module imports only from modules to its left in the order that `src/lib.rs` and `docs/design.md` give.

use crate::sources::{code_of, files, read, without_tests};

/// Modules that may not import each other stand in one group.
const ORDER: [&[&str]; 14] = [
    &["types", "error", "sync"],
    &["memory", "pool"],
    &["options"],
    &["format"],
    &["io", "storage"],
    &["shm"],
    &["segment"],
    &["cache", "page_index"],
    &["log"],
    &["ship"],
    &["restore"],
    &["wal"],
    &["db"],
    &["ffi"],
];

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|group| group.contains(&module))
}

/// The top-level module that a file belongs to.
fn module_of(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs")
}

/// The modules named by `crate::module` and `crate::{one::.., two::..}` in a text without comments.
fn imported(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut modules = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            modules.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut expects_name = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expects_name = true,
                c if expects_name && c.is_alphanumeric() => {
                    modules.push(word(&group[at..]));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
    modules
}

#[test]
fn modules_import_only_from_their_left() {
    for path in files(&["src"], &["rs"]) {
        let module = module_of(&path);
        // The roots of the library and of the command, which come last of all; and tests, which may use everything.
        let is_test =
            ["schedules.rs", "tests.rs"].iter().any(|end| path.ends_with(end)) || path.contains("/tests/");
        if ["lib", "main", "cli", "testing"].contains(&module) || is_test {
            continue;
        }
        let own =
            rank(module).unwrap_or_else(|| panic!("{path}: the module has no place in the order of imports"));
        let text = read(&path);
        let code: String = without_tests(&text).lines().map(|line| format!("{}\n", code_of(line))).collect();
        for other in imported(&code) {
            // Everything else at the root is an export of some module, and is imported from there.
            let Some(rank) = rank(&other) else { panic!("{path}: crate::{other} is no module of the order") };
            assert!(
                // `types` and `error` know each other.
                rank < own || other == module || (rank == 0 && own == 0),
                "{path}: {module} imports {other}, which stands to its right"
            );
        }
        let is_top =
            path.matches('/').count() == 1 || path.ends_with("/mod.rs") && path.matches('/').count() == 2;
        if is_top {
            assert!(!code.contains("super::"), "{path}: `super` is the root here; say `crate::module`");
        }
        assert!(!code.contains("super::super::"), "{path}: say `crate::module`");
    }
}

/// A part is given what it needs, not the whole that it is a part of.
#[test]
fn the_parts_of_a_log_do_not_know_the_log() {
    for path in files(&["src/log"], &["rs"]) {
        if path == "src/log/mod.rs" || path.ends_with("tests.rs") || path.contains("/tests/") {
            continue;
        }
        let text = read(&path);
        for line in without_tests(&text).lines().map(code_of) {
            let knows = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "Log");
            assert!(!knows, "{path}: {line}");
        }
    }
}

#[test]
fn the_documentation_gives_the_same_order() {
    let text = read("src/lib.rs");
    let (_, list) =
        text.split_once("in the order in which they may use each other:").expect("the order is told");
    let told: Vec<&str> = list.split("docs/").next().unwrap_or(list).split('`').skip(1).step_by(2).collect();
    let order: Vec<&str> = ORDER.iter().flat_map(|group| group.iter().copied()).collect();
    assert_eq!(told[..order.len().min(told.len())], order[..]);
}

#[test]
fn the_library_does_not_know_the_command_line() {
    for path in files(&["src"], &["rs"]) {
        if ["main", "cli"].contains(&module_of(&path)) {
            continue;
        }
        let text = read(&path);
        let knows =
            text.lines().map(code_of).any(|code| code.contains("clap::") || code.contains("crate::cli"));
        assert!(!knows, "{path}: the library uses the command line's things");
    }
}

#[test]
fn imports_are_found() {
    let code = "use crate::error::{Error, Result};\nuse crate::{log::Log, io::{File, Io}, wal};\n let x = crate::db::open();";
    assert_eq!(imported(code), ["error", "log", "io", "wal", "db"]);
}
