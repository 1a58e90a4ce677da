//! The coordinator's side of a member that is driven step by step (`member.py`).

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::child::{Child, Silence};
use crate::setting::{Engine, python};

/// The longest wait for an answer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A process with one connection, which does what it is told.
pub struct Member {
    child: Child,
    /// A request has been sent whose answer has not been taken.
    is_busy: bool,
}

/// A process that has the connections of several members.
pub struct Host(Child);

/// Where it listens, in the directory of the test.
const SOCKET: &str = "host.socket";

impl Host {
    /// Starts it in the directory `home`.
    pub fn start(engine: Engine, home: &Path) -> Host {
        let mut command = python("member.py", engine, home);
        command.args(["host", SOCKET]);
        let child = Child::start("one process", command);
        assert_eq!(child.line(LIMIT).as_deref(), Ok("listening"));
        Host(child)
    }
}

/// What a member answered.
#[derive(Debug)]
pub struct Answer {
    /// How long it took.
    pub took: Duration,
    /// One line a row, columns separated by `|`; or one that begins with `!` and has the error.
    pub lines: Vec<String>,
}

impl Member {
    /// Starts a member in the directory `home`.
    pub fn start(name: &str, engine: Engine, home: &Path) -> Member {
        Member { child: Child::start(name, python("member.py", engine, home)), is_busy: false }
    }

    /// A member whose connection is in the process `host`.
    pub fn in_process(name: &str, host: &Host, home: &Path) -> Member {
        let mut relay = python("relay.py", Engine::Stock, home);
        relay.args(["host", SOCKET]);
        Member { child: Child::start(&format!("{name} of {}", host.0.name()), relay), is_busy: false }
    }

    /// Sends a request, and does not wait.
    pub fn begin(&mut self, request: &str) {
        assert!(!self.is_busy, "a member does one thing at a time: {request}");
        self.child.tell(&serde_json::to_string(request).expect("text is JSON"));
        self.is_busy = true;
    }

    /// Waits for the answer to what was sent. `None`: there is none after `limit`.
    pub fn answer(&mut self, limit: Duration) -> Option<Answer> {
        assert!(self.is_busy, "nothing was asked of this member");
        let line = match self.child.line(limit) {
            Ok(line) => line,
            Err(Silence::Waiting) => return None,
            Err(Silence::Ended) => panic!("a member ended\n{}", self.child.portrait()),
        };
        self.is_busy = false;
        let (took, lines): (u64, Vec<String>) = serde_json::from_str(&line).expect("an answer is JSON");
        Some(Answer { took: Duration::from_millis(took), lines })
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.begin(request);
        self.finish()
    }

    /// Waits for the answer, which has to come.
    pub fn finish(&mut self) -> Answer {
        match self.answer(LIMIT) {
            Some(answer) => answer,
            None => panic!("no answer in {LIMIT:?}\n{}", self.child.portrait()),
        }
    }

    /// The rows of `sql`, which must not fail.
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let lines = self.ask(sql).lines;
        assert!(!lines.iter().any(|line| line.starts_with('!')), "{sql}: {lines:?}");
        lines
    }

    /// Opens `app.db` with these URI parameters and this busy timeout in milliseconds. The answer is empty, or the error.
    pub fn open(&mut self, params: &str, timeout: u64) -> String {
        self.ask(&format!(".open app.db {params} {timeout}")).lines.join("\n")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill();
    }
}
