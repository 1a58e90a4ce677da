//! Every refusal of vwal, and where a person hears it: the rows of `docs/errors.md` as data (`table.rs`), each provoked in SQL
//! (`in_sql.rs`) and through the command (`in_command.rs`), or in a test that the row names.

#[path = "../common/lab.rs"]
mod lab;
#[path = "../common/remote.rs"]
mod remote;
#[path = "../common/spawn.rs"]
mod spawn;
#[path = "../common/text.rs"]
mod text;

mod in_command;
mod in_sql;
mod scene;
mod table;

use std::fs;
use std::path::Path;

use table::{Heard, ROWS};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    remote::serve(|line, _| format!("!what is '{line}'?"));
}

/// The cells of the rows of the document's table.
fn documented() -> Vec<Vec<String>> {
    let document = read("docs/errors.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn the_document_has_the_rows_of_the_table() {
    let documented = documented();
    let told: Vec<Vec<String>> = documented.iter().map(|cells| cells[..4].to_vec()).collect();
    let table: Vec<Vec<String>> = ROWS.iter().map(table::Row::cells).collect();
    for (told, row) in told.iter().zip(&table) {
        assert_eq!(told, row);
    }
    assert_eq!(told.len(), table.len());
    for cells in documented {
        assert!(cells.len() == 5 && !cells[4].is_empty(), "what to do: {cells:?}");
    }
}

#[test]
fn every_error_of_the_library_has_a_row() {
    let source = read("src/error.rs");
    let body = source
        .split("pub enum Error {")
        .nth(1)
        .and_then(|rest| rest.split("\n}\n").next())
        .expect("the enum");
    let variants = body.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.trim_end_matches([' ', '{', ',']);
        let name = name.split('(').next().unwrap_or(name);
        (name.chars().next()?.is_ascii_uppercase() && name.chars().all(char::is_alphanumeric)).then_some(name)
    });
    let variants: Vec<&str> = variants.collect();
    assert!(variants.len() > 20, "{variants:?}");
    for variant in variants {
        assert!(ROWS.iter().any(|row| row.error == variant), "no row has Error::{variant}");
    }
    for row in ROWS {
        assert!(row.error == "–" || body.contains(&format!("    {}", row.error)), "Error::{}", row.error);
    }
}

/// A test that a row names exists, and looks for words.
#[test]
fn tests_that_are_named_exist() {
    for row in ROWS {
        for heard in [&row.sql, &row.command] {
            let Heard::Elsewhere { file, test, .. } = heard else { continue };
            assert!(read(file).contains(test), "{}: {file} has no '{test}'", row.name);
        }
    }
}
