//! One scenario on stock SQLite and on vwal: what it records must be the same.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::fmt::Display;

use rusqlite::Connection;

use super::lab::{Engine, Lab};
use super::text;

/// What a scenario saw.
pub struct Record {
    lines: Vec<String>,
    home: String,
}

impl Record {
    /// Runs `sql` and records its rows or its error.
    pub fn sql(&mut self, connection: &Connection, sql: &str) {
        let result = text::run(connection, sql);
        self.note(sql, result);
    }

    /// Runs `sql`, which must not fail, and records its rows.
    pub fn ok(&mut self, connection: &Connection, sql: &str) {
        let result = text::query(connection, sql);
        self.note(sql, result);
    }

    /// Records an observation.
    pub fn note(&mut self, what: &str, value: impl Display) {
        let line = format!("{what}\n    {}", value.to_string().trim_end().replace('\n', "\n    "));
        self.lines.push(line.replace(&self.home, "~"));
    }

    /// Records the whole content of a schema, and that it is intact.
    pub fn content(&mut self, connection: &Connection, schema: &str) {
        text::assert_intact(connection, schema);
        self.note(&format!("content of {schema}"), text::dump(connection, schema));
    }
}

/// Runs `scenario` on both engines and compares what they record.
pub fn same_as_stock(scenario: impl Fn(&Lab, &mut Record)) {
    let [stock, vwal] = [Engine::Stock, Engine::Vwal].map(|engine| {
        let lab = Lab::new(engine);
        let home = lab.path("").to_str().expect("a path of text").trim_end_matches('/').to_owned();
        let mut record = Record { lines: Vec::new(), home };
        scenario(&lab, &mut record);
        record.lines
    });
    assert!(!stock.is_empty(), "the scenario records nothing");
    for (at, (expected, found)) in stock.iter().zip(&vwal).enumerate() {
        if expected != found {
            let before = &stock[at.saturating_sub(5)..at];
            panic!("entry {at} differs, after\n{}\nstock: {expected}\nvwal:  {found}", before.join("\n"));
        }
    }
    assert_eq!(stock.len(), vwal.len(), "both record the same number of entries");
}
