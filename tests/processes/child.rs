//! A child process whose lines are read in the background, so that every wait for one has an end.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What is kept of the lines that a child wrote.
const KEPT: usize = 60;

type Tail = Arc<Mutex<VecDeque<String>>>;

/// A child of this process. It is killed when this is dropped.
pub struct Child {
    name: String,
    process: std::process::Child,
    input: Option<std::process::ChildStdin>,
    lines: Receiver<String>,
    said: Tail,
    complained: Tail,
    /// Reads what it says.
    reader: JoinHandle<()>,
}

/// Why there is no line.
#[derive(Debug, PartialEq, Eq)]
pub enum Silence {
    /// The child closed its pipe: it has ended, or is about to.
    Ended,
    /// It has said nothing for so long.
    Waiting,
}

impl Child {
    /// Starts `command`; `name` is what failures call it.
    pub fn start(name: &str, mut command: Command) -> Child {
        let (sender, lines) = channel();
        Child::listening(name, &mut command, lines, move |line| drop(sender.send(line)))
    }

    /// Starts `command` and gives each of its lines to `hear`, on a thread of its own.
    pub fn heard_by(name: &str, mut command: Command, hear: impl FnMut(String) + Send + 'static) -> Child {
        Child::listening(name, &mut command, channel().1, hear)
    }

    fn listening(
        name: &str,
        command: &mut Command,
        lines: Receiver<String>,
        hear: impl FnMut(String) + Send + 'static,
    ) -> Child {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("{program}: {error}; install it (Debian and Ubuntu: `apt-get install python3 sqlite3`)")
        });
        let input = process.stdin.take();
        let (said, complained) = (Tail::default(), Tail::default());
        let reader = read(process.stdout.take().expect("a pipe"), Arc::clone(&said), hear);
        read(process.stderr.take().expect("a pipe"), Arc::clone(&complained), drop);
        Child { name: name.to_owned(), process, input, lines, said, complained, reader }
    }

    /// What failures call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a line. A child that has ended does not get it.
    pub fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// The next line that the child says.
    pub fn line(&self, limit: Duration) -> Result<String, Silence> {
        self.lines.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::Waiting,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })
    }

    /// Sends a signal. The child has not been waited for, so its process id is nobody else's.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} gets no {signal:?}: {error}", self.name));
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.process.kill();
        self.process.wait().expect("the child is gone");
    }

    /// Waits until everything that it and its own children have said is heard. They have to end for that.
    pub fn is_heard(&self, limit: Duration) -> bool {
        let start = Instant::now();
        while !self.reader.is_finished() && start.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.reader.is_finished()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.process.try_wait().expect("a child can be waited for") {
                Some(status) => return Some(status),
                None if start.elapsed() > limit => return None,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// What it said and wrote last, and where its threads are: for the message of a failure.
    pub fn portrait(&mut self) -> String {
        let pid = self.process.id();
        let mut text = format!("{} is process {pid}", self.name);
        match self.process.try_wait() {
            Ok(Some(status)) => text.push_str(&format!(", and ended with {status}\n")),
            _ => {
                text.push('\n');
                text.push_str(&threads(pid));
                // Python writes where its threads are. One that was stopped goes on for that.
                self.signal(Signal::USR1);
                self.signal(Signal::CONT);
                std::thread::sleep(Duration::from_millis(300));
            }
        }
        for (what, tail) in [("said", &self.said), ("wrote on stderr", &self.complained)] {
            let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if !tail.is_empty() {
                let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
                let _ = writeln!(text, "  {what}:\n    {}", lines.join("\n    "));
            }
        }
        text
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(
    pipe: impl Read + Send + 'static,
    tail: Tail,
    mut hear: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // A line that a kill has cut short has no end, and counts for nothing.
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).is_ok_and(|length| length > 0) && line.ends_with('\n') {
            line.truncate(line.len() - 1);
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == KEPT {
                tail.pop_front();
            }
            tail.push_back(line.clone());
            drop(tail);
            hear(std::mem::take(&mut line));
        }
    })
}

/// Where the threads of a process wait in the kernel, as far as this system tells.
fn threads(pid: u32) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let of = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let stat = of("stat");
        let state = stat.rsplit(") ").next().and_then(|rest| rest.get(..1)).unwrap_or("?").to_owned();
        let (comm, wchan, syscall) = (of("comm"), of("wchan"), of("syscall"));
        let _ = writeln!(text, "  thread {} {state} {wchan} syscall {}", comm.trim(), syscall.trim());
    }
    text
}
