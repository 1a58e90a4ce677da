//! The writing process, seen from the one that kills it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::Failure;
use super::super::args::DemoArgs;
use super::ledger::Commit;

/// What the process said until it was killed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The transactions that it acknowledged.
    pub commits: Vec<Commit>,
    /// Read transactions.
    pub reads: u64,
    /// What its readers saw and must not see.
    pub violations: Vec<String>,
}

/// A running writing process.
pub struct Worker {
    child: Child,
    listener: Option<JoinHandle<std::io::Result<Heard>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    commits: AtomicU64,
    ended: AtomicBool,
}

impl Worker {
    /// Start it on the database `copy`.
    pub fn spawn(copy: &Path, args: &DemoArgs, seed: u64) -> Result<Worker, Failure> {
        let fail = |error: std::io::Error| Failure::new(format!("cannot start the writing process: {error}"));
        let mut child = Command::new(std::env::current_exe().map_err(fail)?)
            .arg("demo-worker")
            .args(["--writers", &args.writers.to_string(), "--readers", &args.readers.to_string()])
            .args(["--seed", &seed.to_string(), "--synchronous", args.synchronous.word()])
            .arg("--")
            .arg(copy)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let shared = Arc::new(Shared::default());
        let listener = child.stdout.take().map(|stdout| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().spawn(move || {
                let heard = listen(stdout, &shared);
                shared.ended.store(true, Ordering::SeqCst);
                heard
            })
        });
        // Without its listener the child ends by itself: its standard input is closed when it is dropped.
        let listener = listener.transpose().map_err(fail)?;
        Ok(Worker { child, listener, shared })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Transactions acknowledged so far.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// Wait until it writes.
    pub fn wait_for_the_first_commit(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while self.commits() == 0 {
            self.must_be_alive()?;
            if started.elapsed() > Duration::from_secs(60) {
                return Err(Failure::new("the writing process has not committed anything for a minute"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// It ends when it is killed, and not before: what it had to say about that is on standard error.
    pub fn must_be_alive(&self) -> Result<(), Failure> {
        match self.shared.ended.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Failure::new("the writing process ended before it was killed")),
        }
    }

    /// SIGKILL; then all that it managed to say.
    pub fn kill(mut self) -> Result<Heard, Failure> {
        let fail = |what: String| Failure::new(format!("the writing process could not be killed: {what}"));
        self.child.kill().map_err(|error| fail(error.to_string()))?;
        let status = self.child.wait().map_err(|error| fail(error.to_string()))?;
        #[cfg(unix)]
        if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
            return Err(fail(format!("it ended by itself before ({status})")));
        }
        let heard = self.listener.take().map(JoinHandle::join);
        match heard {
            Some(Ok(Ok(heard))) => Ok(heard),
            Some(Ok(Err(error))) => {
                Err(Failure::new(format!("the writing process could not be heard: {error}")))
            }
            Some(Err(_)) | None => Err(Failure::new("the writing process could not be heard")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After `kill` both are answered with an error, and that is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stdout: ChildStdout, shared: &Shared) -> std::io::Result<Heard> {
    let mut heard = Heard::default();
    hear(BufReader::new(stdout), &mut heard, |commits| shared.commits.store(commits, Ordering::Relaxed))?;
    Ok(heard)
}

/// Read lines until the end. A last line without its end was never said.
fn hear(mut input: BufReader<impl Read>, heard: &mut Heard, told: impl Fn(u64)) -> std::io::Result<()> {
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let (kind, rest) = line.trim_end().split_once(' ').unwrap_or_default();
        match kind {
            "C" => {
                let commit = rest
                    .split_once(' ')
                    .and_then(|(k, hash)| Some(Commit { k: k.parse().ok()?, hash: hash.parse().ok()? }));
                match commit {
                    Some(commit) => heard.commits.push(commit),
                    None => heard.violations.push(format!("it said '{}'", line.trim_end())),
                }
                told(heard.commits.len() as u64);
            }
            "R" => heard.reads += rest.parse::<u64>().unwrap_or(0),
            "V" => heard.violations.push(rest.to_owned()),
            _ => heard.violations.push(format!("it said '{}'", line.trim_end())),
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_heard_and_half_a_line_is_not() {
        let said = "C 1 -5\nR 10\nV reader 1 saw\nC 2 7\nR 3\nwhat\nC 3\nC 4 1";
        let mut heard = Heard::default();
        hear(BufReader::new(said.as_bytes()), &mut heard, |_| {}).unwrap();
        assert_eq!(heard.commits, [Commit { k: 1, hash: -5 }, Commit { k: 2, hash: 7 }]);
        assert_eq!(heard.reads, 13);
        assert_eq!(heard.violations, ["reader 1 saw", "it said 'what'", "it said 'C 3'"]);
    }
}
