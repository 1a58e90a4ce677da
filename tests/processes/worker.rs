//! The coordinator's side of a member that works by itself (`worker.py`), and what all members have claimed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use crate::child::Child;
use crate::setting::{Engine, bare, python};

/// The most members that a ledger has: as in `ledger.py`.
pub const MEMBERS: usize = 64;
/// How long it may take until the lines of a process that has been killed are read.
const HEARD: Duration = Duration::from_secs(20);

/// What members have claimed.
pub struct Claims {
    /// For each member, the last line whose commit was begun.
    pub attempted: [u64; MEMBERS],
    /// And was acknowledged.
    pub acknowledged: [u64; MEMBERS],
    /// What a member has seen that nobody may see, or the error that it got.
    pub wrong: Option<String>,
    /// `acknowledged` for members that read.
    floors: File,
}

/// [`Claims`] that the threads share which listen to members.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<Claims>>);

impl Ledger {
    /// The claims of a group in the directory `home`.
    pub fn new(home: &Path) -> Ledger {
        let floors = File::create(home.join("floors")).expect("a file");
        floors.set_len(8 * MEMBERS as u64).expect("room for all members");
        let (attempted, acknowledged) = ([0; MEMBERS], [0; MEMBERS]);
        Ledger(Arc::new(Mutex::new(Claims { attempted, acknowledged, wrong: None, floors })))
    }

    /// What has been claimed until now.
    pub fn claims(&self) -> MutexGuard<'_, Claims> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        let mut claims = self.claims();
        match words.as_slice() {
            ["attempts", member, line] => claims.attempted[number(member) as usize] = number(line),
            ["acknowledged", member, line] => {
                let (member, line) = (number(member), number(line));
                claims.acknowledged[member as usize] = line;
                claims.floors.write_all_at(&line.to_le_bytes(), 8 * member).expect("the floors are written");
            }
            ["wrong", ..] => drop(claims.wrong.get_or_insert_with(|| line.to_owned())),
            _ => {}
        }
    }
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Commits, and reads and checkpoints in between.
    Writer,
    /// Reads, and checkpoints in between.
    Reader,
    /// Opens, does one thing, and closes; over and over.
    Short,
    /// Does what [`Worker::demand`] says.
    Checker,
}

/// How a member works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its number in the ledger.
    pub member: usize,
    /// What it does.
    pub role: Role,
    /// Of its random numbers.
    pub seed: u64,
    /// URI parameters.
    pub params: String,
    /// `PRAGMA synchronous`
    pub synchronous: &'static str,
    /// `PRAGMA wal_autocheckpoint`
    pub checkpoint: u32,
    /// Milliseconds that it rests between two transactions, on average.
    pub pace: u32,
    /// It forks before it opens the database, and both processes are members.
    pub fork: bool,
    /// It is killed at this system call, when it makes that for this time.
    pub fatal: Option<(&'static str, u64)>,
}

impl Options {
    fn json(&self) -> String {
        serde_json::json!({
            "member": self.member, "role": format!("{:?}", self.role).to_lowercase(), "seed": self.seed,
            "params": self.params, "synchronous": self.synchronous, "checkpoint": self.checkpoint,
            "pace": self.pace, "fork": self.fork,
        })
        .to_string()
    }
}

/// `command` under strace, which kills it. The process that is started is `command` itself, and strace one of its children.
fn killed_at(call: &str, time: u64, command: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={time}")]);
    strace.arg(command.get_program()).args(command.get_args());
    strace.current_dir(command.get_current_dir().expect("members have a directory"));
    bare(&mut strace);
    strace
}

/// How far a member has come.
#[derive(Default)]
struct Progress {
    /// It has begun to open its connection.
    opens: AtomicBool,
    /// It has opened its connection.
    is_ready: AtomicBool,
    /// It has begun to close its last connection.
    closes: AtomicBool,
    /// Things that it has done.
    ticks: AtomicU64,
    /// Things that the parent of a forked member has done.
    watched: AtomicU64,
    /// What a checker found: see [`Worker::demand`].
    found: Mutex<Option<String>>,
}

/// A member of a group.
pub struct Worker {
    /// How it works.
    pub options: Options,
    child: Child,
    progress: Arc<Progress>,
    /// The process that it forked has not been killed.
    has_child: bool,
    ticks_before: u64,
    watched_before: u64,
}

impl Worker {
    /// Starts a member in the directory `home`.
    pub fn start(engine: Engine, home: &Path, options: Options, ledger: &Ledger) -> Worker {
        let mut command = python("worker.py", engine, home);
        command.arg(options.json());
        if let Some((call, time)) = options.fatal {
            command = killed_at(call, time, &command);
        }
        let name = format!("member {} ({:?}, {engine:?}, {})", options.member, options.role, options.json());
        let progress = Arc::new(Progress::default());
        let (heard, ledger) = (Arc::clone(&progress), ledger.clone());
        let hear = move |line: String| match line.split(' ').next() {
            Some("opening") => heard.opens.store(true, Ordering::Release),
            Some("ready") => heard.is_ready.store(true, Ordering::Release),
            Some("closing") => heard.closes.store(true, Ordering::Release),
            Some("tick") => drop(heard.ticks.fetch_add(1, Ordering::Release)),
            Some("watched") => drop(heard.watched.fetch_add(1, Ordering::Release)),
            Some("found") => *heard.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(line),
            _ => ledger.hear(&line),
        };
        let has_child = options.fork;
        let child = Child::heard_by(&name, command, hear);
        Worker { options, child, progress, has_child, ticks_before: 0, watched_before: 0 }
    }

    /// It has begun to open the database.
    pub fn opens(&self) -> bool {
        self.progress.opens.load(Ordering::Acquire)
    }

    /// It has opened the database.
    pub fn is_ready(&self) -> bool {
        self.progress.is_ready.load(Ordering::Acquire)
    }

    /// It has begun to close the database.
    pub fn closes(&self) -> bool {
        self.progress.closes.load(Ordering::Acquire)
    }

    /// From now on [`Worker::has_gone_on`] looks for something new.
    pub fn mark(&mut self) {
        self.ticks_before = self.progress.ticks.load(Ordering::Acquire);
        self.watched_before = self.progress.watched.load(Ordering::Acquire);
    }

    /// Whether it has done something since [`Worker::mark`]; of two processes each. What it was doing then may have had its
    /// locks already, so it has to do another thing.
    pub fn has_gone_on(&self) -> bool {
        let ticks = self.progress.ticks.load(Ordering::Acquire) > self.ticks_before + 1;
        let watched = self.progress.watched.load(Ordering::Acquire) > self.watched_before + 1;
        (ticks || (self.options.fork && !self.has_child)) && (watched || !self.options.fork)
    }

    /// Asks a checker for something.
    pub fn demand(&mut self, request: &str) {
        *self.progress.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.child.tell(request);
    }

    /// What a checker found: for each member the number of its last line.
    pub fn found(&self) -> Option<Vec<(usize, u64)>> {
        let found = self.progress.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().map(|line| {
            serde_json::from_str(line.trim_start_matches("found ")).expect("a checker says what it found")
        })
    }

    /// Tells it to close its connection and to end.
    pub fn close(&mut self) {
        self.child.tell("close");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Ends it with SIGKILL, hears what it still said, and counts the processes. The kernel kills what it has forked.
    pub fn kill(&mut self) -> u64 {
        self.child.kill();
        assert!(self.child.is_heard(HEARD), "who has the pipe of {}?", self.child.name());
        1 + u64::from(std::mem::take(&mut self.has_child))
    }

    /// Ends the process that it has forked.
    pub fn kill_child(&mut self) {
        self.child.tell("kill child");
        self.has_child = false;
    }

    /// The process that it has forked has not been killed.
    pub fn has_child(&self) -> bool {
        self.has_child
    }

    /// Things that it has done.
    pub fn ticks(&self) -> u64 {
        self.progress.ticks.load(Ordering::Acquire)
    }

    /// How it ended, if it has, and everything that it said has been heard.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.ended(Duration::ZERO)?;
        self.child.is_heard(Duration::ZERO).then_some(status)
    }

    /// See [`Child::portrait`].
    pub fn portrait(&mut self) -> String {
        self.child.portrait()
    }
}
