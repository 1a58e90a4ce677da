//! A connection of the SQLite that is linked into the test, or of the distribution's, in a Python of its own.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::lab::{Engine, open_uri};
use crate::{extension, text};

/// The distribution's Python. Its `sqlite3` uses the distribution's SQLite.
const PYTHON: &str = "/usr/bin/python3";

/// Which SQLite runs the statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The newest one.
    Linked,
    /// Debian's is some years old.
    Distribution,
}

/// A Python that runs `host.py`.
pub struct Host {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    opened: u64,
}

impl Host {
    /// A new process.
    pub fn start(engine: Engine) -> Rc<RefCell<Host>> {
        let mut python = Command::new(PYTHON);
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/host.py"));
        if engine == Engine::Vwal {
            python.arg(extension::path());
        }
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap_or_else(|error| {
            panic!("{PYTHON}: {error}; install it (Debian and Ubuntu: `apt-get install python3`)")
        });
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Rc::new(RefCell::new(Host { child, requests, answers, opened: 0 }))
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.requests.as_mut().expect("a pipe"), "{request}").expect("Python reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("Python answers");
        serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("Python answers {answer:?} to {request}: {error}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.requests.take());
        let status = self.child.wait().expect("Python ends");
        assert!(status.success() || std::thread::panicking(), "Python ended with {status}");
    }
}

/// See the module.
pub enum Connection {
    Linked(rusqlite::Connection),
    Hosted { host: Rc<RefCell<Host>>, number: u64 },
}

impl Connection {
    /// Opens a URI in this process, or in `host`, without waiting for locks.
    pub fn open(host: Option<&Rc<RefCell<Host>>>, uri: &str) -> Connection {
        let Some(host) = host else {
            return Connection::Linked(open_uri(uri).unwrap_or_else(|error| panic!("{uri}: {error}")));
        };
        let mut asked = host.borrow_mut();
        asked.opened += 1;
        let number = asked.opened;
        let answer = asked.ask(&json!({"connection": number, "open": uri}));
        assert_eq!(answer["text"], "", "{uri}");
        Connection::Hosted { host: Rc::clone(host), number }
    }

    /// Runs all statements of `sql`, and tells whether a transaction is open then. See [`text::run`].
    pub fn run(&self, sql: &str) -> (String, bool) {
        match self {
            Connection::Linked(db) => (text::run(db, sql), !db.is_autocommit()),
            Connection::Hosted { host, number } => {
                let answer = host.borrow_mut().ask(&json!({"connection": number, "sql": sql}));
                let text = answer["text"].as_str().expect("text").to_owned();
                (text, answer["in_transaction"].as_bool().expect("true or false"))
            }
        }
    }

    /// The result of `sql`, which must not fail, without the line end of the last row.
    pub fn query(&self, sql: &str) -> String {
        let out = self.run(sql).0;
        assert!(!out.lines().any(|line| line.starts_with('!')), "{sql}: {out}");
        out.trim_end_matches('\n').to_owned()
    }

    /// Closes it, which must work.
    pub fn close(self) {
        match self {
            Connection::Linked(db) => db.close().unwrap_or_else(|(_, error)| panic!("close: {error}")),
            Connection::Hosted { host, number } => {
                drop(host.borrow_mut().ask(&json!({"connection": number})))
            }
        }
    }
}
