//! Running the command, and another application beside it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

/// What a run did.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The run failed in the way that belongs to exit code 1: nothing on standard output, one message for people.
    pub fn failed(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{}", self.stderr);
        assert!(self.stderr.starts_with("vwal: ") && !self.stderr.contains("panicked"), "{}", self.stderr);
        assert!(
            !self.stderr.contains("automatic extension") && !self.stderr.contains("vfs="),
            "{}",
            self.stderr
        );
        &self.stderr
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vwal"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VWAL_")) {
        command.env_remove(name);
    }
    command
}

pub fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
    ran(command().args(args).output().unwrap())
}

pub fn ran(output: Output) -> Run {
    Run {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A subcommand on a database, as JSON.
pub fn on(subcommand: &str, db: &Path) -> Run {
    run([OsStr::new("--json"), OsStr::new(subcommand), db.as_os_str()])
}

/// A database made by SQLite without vwal.
pub fn database(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3);").unwrap();
    path
}

pub fn log_dir(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Another process that has the database open through vwal, and has committed some rows to it.
pub struct Application {
    child: Child,
    /// Open until the end: libtest does not like to speak into a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

impl Application {
    pub fn start(db: &Path) -> Application {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::plays_another_application", "--nocapture", "--test-threads=1"])
            .env("VWAL_TEST_APPLICATION", db)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.ends_with("the database is open\n") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the application did not open the database");
        }
        Application { child, _stdout: stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Let it close the database and end.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Not a test of its own: the process that [`Application`] starts.
#[test]
fn plays_another_application() {
    let Some(db) = std::env::var_os("VWAL_TEST_APPLICATION") else { return };
    let options = vwal::Options::new()
        .swap("frames>=8".parse().unwrap())
        .checkpoint_age(std::time::Duration::ZERO)
        .checkpoint_size(1 << 40);
    vwal::register(options).unwrap();
    let conn = Connection::open_with_flags_and_vfs(db, rusqlite::OpenFlags::default(), c"vwal").unwrap();
    for i in 0..40 {
        conn.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
    }
    println!("the database is open");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    conn.close().unwrap();
}
