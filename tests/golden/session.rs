//! As much of the `sqlite3` shell as the golden scripts need, over the SQLite that is linked into this test: SQL in
//! list mode, `.open [--readonly] FILE`, `.connection N`, `.connection close N`, `.backup FILE`, `.restore FILE` and
//! `.print TEXT`.
//!
//! A script keeps to what both print alike: one statement at a time, no blobs and no reals in a result.

use std::ffi::CString;
use std::fmt::Write;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, OpenFlags, ffi};

/// Runs `script` and gives what the shell would print. `database` is opened first, where there is one.
pub fn run(script: &str, database: Option<&str>) -> String {
    let mut session = Session { slots: Default::default(), current: 0, out: String::new() };
    if let Some(name) = database {
        session.open(name, false);
    }
    let (mut statement, mut start) = (String::new(), 0);
    for (at, line) in script.lines().enumerate() {
        if statement.is_empty() {
            if line.trim().is_empty() || line.starts_with("--") {
                continue;
            }
            if line.starts_with('.') {
                session.command(line);
                continue;
            }
            start = at + 1;
        }
        statement.push_str(line);
        statement.push('\n');
        if is_complete(&statement) {
            session.sql(&statement, start);
            statement.clear();
        }
    }
    assert!(statement.is_empty(), "the script ends in the middle of: {statement}");
    session.out
}

/// Whether `sql` ends with a whole statement, as the shell asks after each line.
fn is_complete(sql: &str) -> bool {
    let sql = CString::new(sql).expect("SQL without NUL");
    // SAFETY: a NUL-terminated string that outlives the call, which keeps no pointer.
    unsafe { ffi::sqlite3_complete(sql.as_ptr()) != 0 }
}

struct Session {
    /// The shell's connections, of which one is current.
    slots: [Option<Connection>; 5],
    current: usize,
    out: String,
}

impl Session {
    fn command(&mut self, line: &str) {
        let words = split_words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            [".open", name] => self.open(name, false),
            [".open", "--readonly", name] => self.open(name, true),
            [".connection", "close", slot] => {
                let slot: usize = slot.parse().expect("the number of a connection");
                assert_ne!(slot, self.current, "the shell does not close the current connection");
                self.slots[slot] = None;
            }
            [".connection", slot] => self.current = slot.parse().expect("the number of a connection"),
            [".backup", name] => {
                self.current().backup("main", name, None::<fn(_)>).expect("a backup that succeeds");
            }
            [".restore", name] => {
                self.current().restore("main", name, None::<fn(_)>).expect("a restore that succeeds");
            }
            [".print", ref words @ ..] => self.line(&words.join(" ")),
            _ => panic!("the session knows no command {line:?}"),
        }
    }

    fn open(&mut self, name: &str, readonly: bool) {
        // The shell closes before it opens.
        self.slots[self.current] = None;
        let mode = if readonly {
            OpenFlags::SQLITE_OPEN_READ_ONLY
        } else {
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
        };
        let opened = Connection::open_with_flags(name, mode | OpenFlags::SQLITE_OPEN_URI);
        let connection = opened.unwrap_or_else(|error| {
            let (_, message) = code_and_message(&error);
            // rusqlite adds the file name.
            let message = message.strip_suffix(&format!(": {name}")).unwrap_or(&message);
            self.line(&format!("Error: unable to open database \"{name}\": {message}"));
            Connection::open_in_memory().expect("a database in memory")
        });
        // rusqlite waits five seconds for a lock, the shell not at all.
        connection.busy_timeout(std::time::Duration::ZERO).expect("no busy timeout");
        // libsqlite3-sys compiles foreign keys on.
        connection.pragma_update(None, "foreign_keys", false).expect("no foreign keys");
        self.slots[self.current] = Some(connection);
    }

    fn sql(&mut self, sql: &str, line: usize) {
        let connection = self.current();
        let mut out = String::new();
        if let Err((phase, error)) = rows(connection, sql, &mut out) {
            let (code, message) = code_and_message(&error);
            write!(out, "{phase} error near line {line}: {message}").expect("memory");
            if code > 1 {
                write!(out, " ({code})").expect("memory");
            }
            out.push('\n');
        }
        self.out += &out;
    }

    /// The current connection, to a database in memory unless a command opened another.
    fn current(&mut self) -> &mut Connection {
        self.slots[self.current]
            .get_or_insert_with(|| Connection::open_in_memory().expect("a database in memory"))
    }

    fn line(&mut self, text: &str) {
        self.out += text;
        self.out.push('\n');
    }
}

/// Runs one statement and appends its rows to `out`.
fn rows(connection: &Connection, sql: &str, out: &mut String) -> Result<(), (&'static str, Error)> {
    let mut statement = connection.prepare(sql).map_err(|error| ("Parse", error))?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(|error| ("Runtime", error))? {
        // Asked of the row: a change of the schema that the first step noticed may have changed it.
        let columns = row.as_ref().column_count();
        if columns == 0 {
            continue; // PRAGMA incremental_vacuum, once for each page
        }
        for column in 0..columns {
            if column > 0 {
                out.push('|');
            }
            match row.get_ref(column).expect("a column that exists") {
                ValueRef::Null => {}
                ValueRef::Integer(value) => write!(out, "{value}").expect("memory"),
                ValueRef::Text(text) => out.push_str(std::str::from_utf8(text).expect("UTF-8")),
                value => panic!("golden scripts print integers and text, not {value:?}: {sql}"),
            }
        }
        out.push('\n');
    }
    Ok(())
}

/// The primary result code, and SQLite's words for it.
fn code_and_message(error: &Error) -> (i32, String) {
    match error {
        Error::SqliteFailure(code, message) => {
            (code.extended_code & 0xff, message.clone().unwrap_or_else(|| code.to_string()))
        }
        Error::SqlInputError { error, msg, .. } => (error.extended_code & 0xff, msg.clone()),
        other => panic!("the script does what the session cannot: {other}"),
    }
}

/// The words of a dot-command; double quotes keep blanks together.
pub fn split_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
