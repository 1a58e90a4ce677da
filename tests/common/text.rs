//! Results of SQL as text, so that those of two engines can be compared and read.

#![allow(dead_code, reason = "each test uses its own part of this")]

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Error};

/// Runs all statements of `sql`: one line per row, columns separated by `|`. The first error ends it, as the line
/// `!extended code: message`.
pub fn run(connection: &Connection, sql: &str) -> String {
    let mut out = String::new();
    if let Err(error) = rows_into(connection, sql, &mut out) {
        out.push_str(&format!("!{}\n", error_text(&error)));
    }
    out
}

/// The result of `sql`, which must not fail, without the line end of the last row.
pub fn query(connection: &Connection, sql: &str) -> String {
    let mut out = String::new();
    match rows_into(connection, sql, &mut out) {
        Ok(()) => out.trim_end_matches('\n').to_owned(),
        Err(error) => panic!("{sql}: {}", error_text(&error)),
    }
}

/// The extended result code and the message of an error.
pub fn error_text(error: &Error) -> String {
    match error {
        Error::SqliteFailure(code, message) => {
            format!("{}: {}", code.extended_code, message.as_deref().unwrap_or("no message"))
        }
        other => format!("rusqlite: {other}"),
    }
}

fn rows_into(connection: &Connection, sql: &str, out: &mut String) -> rusqlite::Result<()> {
    let mut batch = Batch::new(connection, sql);
    while let Some(mut statement) = batch.next()? {
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                if column > 0 {
                    out.push('|');
                }
                value_into(row.get_ref(column)?, out);
            }
            out.push('\n');
        }
    }
    Ok(())
}

fn value_into(value: ValueRef<'_>, out: &mut String) {
    match value {
        ValueRef::Null => out.push_str("NULL"),
        ValueRef::Integer(number) => out.push_str(&number.to_string()),
        ValueRef::Real(number) => out.push_str(&format!("{number:?}")),
        ValueRef::Text(text) => out.push_str(&String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => {
            out.push_str("x'");
            for byte in bytes {
                out.push_str(&format!("{byte:02x}"));
            }
            out.push('\'');
        }
    }
}

/// The whole content of a schema: its tables and indexes, and every row of every table, by rowid or primary key.
pub fn dump(connection: &Connection, schema: &str) -> String {
    dump_by(|sql| query(connection, sql), schema)
}

/// The same, by anything that answers a query.
pub fn dump_by(query: impl Fn(&str) -> String, schema: &str) -> String {
    let mut out = query(&format!(
        "SELECT type, name, sql FROM {schema}.sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"
    ));
    let tables = query(&format!(
        "SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ));
    for table in tables.lines() {
        out.push_str(&format!("\n-- {table}\n"));
        out.push_str(&query(&format!("SELECT * FROM {schema}.\"{table}\" NOT INDEXED")));
    }
    out
}

/// `PRAGMA integrity_check` of a schema, which must say "ok".
pub fn assert_intact(connection: &Connection, schema: &str) {
    assert_eq!(query(connection, &format!("PRAGMA {schema}.integrity_check")), "ok");
}
