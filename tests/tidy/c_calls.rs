//! The C shim reaches the outside only through SQLite: no call of the C library that touches a file, a clock or memory
//! management.

use std::collections::BTreeSet;

use crate::sources::{files, read};

/// What C is and what of its library does nothing but look at memory.
const ALLOWED: [&str; 16] = [
    "if",
    "for",
    "while",
    "switch",
    "return",
    "sizeof",
    "defined",
    "__attribute__",
    "memcpy",
    "memset",
    "memcmp",
    "memmove",
    "strlen",
    "strcmp",
    "strncmp",
    "va_start",
];

/// A C file without comments and without what stands in quotes.
fn stripped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if c == '"' || c == '\'' {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|&(_, d)| {
                let ends = d == c && !escaped;
                escaped = d == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |(at, d)| &rest[at + d.len_utf8()..]);
            out.push_str("\"\"");
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Each name in front of an opening parenthesis, and what stands in front of the name.
fn calls(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices('(') {
        if code[at..].starts_with("(*") {
            // The type of a function, as in `int (*xMethod)(void)`, or a call of one that a variable holds.
            continue;
        }
        let before = code[..at].trim_end();
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let name = &before[start..];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let line = before[..start].rfind('\n').map_or(0, |at| at + 1);
        found.push((name.to_owned(), before[line..start].to_owned()));
    }
    found
}

#[test]
fn c_calls_only_sqlite_and_itself() {
    let sources: Vec<(String, String)> =
        files(&["c"], &["c", "h"]).into_iter().map(|path| (path.clone(), stripped(&read(&path)))).collect();
    let mut own = BTreeSet::new();
    for (_, code) in &sources {
        for (name, before) in calls(code) {
            // Definitions and declarations begin at the left edge; so do macros.
            let is_definition = !before.starts_with(char::is_whitespace) && !before.trim().is_empty();
            if is_definition && !before.contains("return") {
                own.insert(name);
            }
        }
    }
    for (path, code) in &sources {
        for (name, before) in calls(code) {
            let is_method = before.ends_with("->") || before.ends_with('.') || before.ends_with("(*");
            let known =
                name.starts_with("sqlite3_") || own.contains(&name) || ALLOWED.contains(&name.as_str());
            assert!(is_method || known, "{path}: {name}() is neither SQLite's nor the shim's own");
        }
    }
    for forbidden in ["open", "read", "write", "close", "malloc", "free", "fopen", "printf", "time", "getenv"]
    {
        assert!(!own.contains(forbidden), "{forbidden} is not a name for a function of the shim");
    }
}

#[test]
fn calls_are_found() {
    let code = stripped("int f(int a){ /* open( */ return p->xOpen(a) + open (\"x(\", a); }");
    let names: Vec<String> = calls(&code).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["f", "xOpen", "open"]);
}
