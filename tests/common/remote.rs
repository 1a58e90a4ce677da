//! A second process that opens databases: the test binary itself, started again.
//!
//! A test binary that uses this has an ignored test `child_process` at its root that calls [`serve`].

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};

use rusqlite::Connection;

use super::lab::open_uri;
use super::spawn::spawn;
use super::text;

/// The parent's side of a child that serves SQL.
pub struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a child.
    pub fn start() -> Self {
        let mut child = spawn(&[]);
        let input = child.stdin.take().expect("a pipe to the child");
        let output = BufReader::new(child.stdout.take().expect("a pipe from the child"));
        Process { child, input, output }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Opens a database under a name. The answer is empty, or "!" and the error.
    pub fn open(&mut self, name: &str, uri: &str) -> String {
        self.ask(&format!("open {name} {uri}"))
    }

    /// Runs SQL there; the answer is that of [`text::run`].
    pub fn sql(&mut self, name: &str, sql: &str) -> String {
        self.ask(&format!("sql {name} {}", sql.replace('\n', " ")))
    }

    /// Closes a connection.
    pub fn close(&mut self, name: &str) {
        assert_eq!(self.ask(&format!("close {name}")), "");
    }

    /// Sends one request and waits for its answer.
    pub fn ask(&mut self, request: &str) -> String {
        writeln!(self.input, "{request}").expect("the child listens");
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.output.read_line(&mut line).expect("the child's output is text");
            assert!(length > 0, "the child ended while it served: {request}");
            // The test harness of the child prints lines of its own.
            if let Some(answer) = line.strip_prefix('@') {
                return answer.trim_end_matches('\n').replace('\u{1}', "\n");
            }
        }
    }

    /// Ends the child with SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        self.child.wait().expect("the child is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The child's side: serves requests until its input ends. `extra` gets the requests that are not known here.
pub fn serve(extra: impl Fn(&str, &mut HashMap<String, Connection>) -> String) {
    let mut connections: HashMap<String, Connection> = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line.expect("requests are text");
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (name, argument) = rest.split_once(' ').unwrap_or((rest, ""));
        let answer = match verb {
            "open" => match open_uri(argument) {
                Ok(connection) => {
                    connections.insert(name.to_owned(), connection);
                    String::new()
                }
                Err(error) => format!("!{}", text::error_text(&error)),
            },
            "sql" => match connections.get(name) {
                Some(connection) => text::run(connection, argument),
                None => format!("!no connection {name}"),
            },
            "close" => match connections.remove(name).map(Connection::close) {
                Some(Ok(())) => String::new(),
                Some(Err((_, error))) => format!("!{}", text::error_text(&error)),
                None => format!("!no connection {name}"),
            },
            _ => extra(&line, &mut connections),
        };
        let answer = answer.trim_end_matches('\n').replace('\n', "\u{1}");
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n@{answer}").and_then(|()| out.flush()).expect("the parent listens");
    }
}
