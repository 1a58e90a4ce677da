//! `docs/performance.md` names the rows and the options of the benchmark: each of them, and no other.

use std::collections::BTreeSet;

use super::read;

/// What stands in back quotes in the first cells of the table whose head is `head`.
fn documented(head: &str) -> BTreeSet<String> {
    let text = read("docs/performance.md");
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // An option stands with the name of its value.
    words.filter_map(|word| word.split(' ').next()).map(str::to_owned).collect()
}

/// The string literals of a source file that `wanted` accepts.
fn literals(file: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    read(file).split('"').skip(1).step_by(2).filter(|text| wanted(text)).map(str::to_owned).collect()
}

#[test]
fn the_options_of_the_benchmark() {
    let text = read("benches/compare/args.rs");
    let parsed = text.split("match flag.as_str()").nth(1).expect("where options are told apart");
    let is_option = |text: &&str| text.starts_with("--") && !text.contains(' ');
    let mut known: BTreeSet<String> =
        parsed.split('"').skip(1).step_by(2).filter(is_option).map(str::to_owned).collect();
    // Those that explain themselves, the one for the benchmark's own children, and the one that cargo adds.
    for other in ["--help", "--list", "--child", "--bench"] {
        assert!(known.remove(other), "{other} is an option");
    }
    assert_eq!(documented("| option |"), known);
    let help =
        text.split("pub const HELP").nth(1).and_then(|rest| rest.split("\";").next()).expect("the help");
    for option in known {
        assert!(help.contains(&format!("\n  {option} ")), "--help says nothing of {option}");
    }
}

#[test]
fn the_rows_of_the_benchmark() {
    // A name is what `--list` shows: a literal that is the first argument of `row` or the field `name`.
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let mut known = literals("benches/compare/rows/mod.rs", is_name);
    for unit in ["commits", "rows", "reads", "operations", "writer", "reader"] {
        assert!(known.remove(unit), "{unit} is what a row counts, or a line of it");
    }
    let memory = read("benches/compare/rows/memory.rs");
    assert!(memory.contains("name: \"memory\""));
    known.insert("memory".to_owned());
    assert_eq!(documented("| row |"), known);
}
