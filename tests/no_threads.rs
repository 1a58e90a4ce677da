//! The system gives no thread: an error in words, or the work is done by the threads that are there; never a panic, and nothing
//! else on the host's standard error. And `renameat2` that is not allowed, as in some sandboxes: a restore still makes its file,
//! and still replaces none.
//!
//! strace has the calls fail. Where it is missing or may not trace, the tests say so and pass; with `CI` in the environment they
//! fail instead.

#[path = "common/extension.rs"]
mod extension;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Nothing here takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);

/// What a process did under strace.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// `program` with its arguments, under strace, which makes calls fail as `inject` says.
fn traced(inject: &[String], program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    // Only what is injected is traced, and the trace goes nowhere.
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3,renameat2"]);
    for inject in inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command.arg("--").arg(program).args(args);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VWAL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Whether strace can do it here.
fn can_trace() -> bool {
    let tried = traced(&[], Path::new("true"), &[]).output();
    if tried.as_ref().is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "strace is needed: {tried:?}");
    eprintln!("not tested: strace cannot trace here ({tried:?})");
    false
}

/// Waits for the end of `child`, which gets `input`.
fn ended(mut child: Child, input: &str) -> Run {
    // It may have ended before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).expect("it is read");
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = read(Box::new(child.stderr.take().expect("a pipe")));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().expect("it is killed");
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Run {
        code: status.code(),
        stdout: stdout.join().expect("standard output"),
        stderr: stderr.join().expect("standard error"),
    }
}

fn command(inject: &[String], args: &[&str]) -> Run {
    ended(traced(inject, Path::new(env!("CARGO_BIN_EXE_vwal")), args).spawn().expect("strace"), "")
}

/// From the `nth` thread on there is none.
fn no_thread_from(nth: usize) -> Vec<String> {
    ["clone3", "clone"].map(|call| format!("{call}:error=EAGAIN:when={nth}+")).to_vec()
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// `app.db`, and its storage.
    fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().expect("a directory") };
        let db = Connection::open(place.path("app.db")).expect("a database");
        db.execute_batch(
            "CREATE TABLE t(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO t SELECT randomblob(3000) FROM n",
        )
        .expect("it is filled");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    fn url(&self) -> String {
        format!("file://{}", self.text("store"))
    }

    fn ship(&self, inject: &[String]) -> Run {
        command(inject, &["ship", &self.text("app.db"), &self.url(), "--once"])
    }

    fn rows(&self, name: &str) -> i64 {
        let db = Connection::open(self.path(name)).expect("it opens");
        db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a count")
    }
}

fn in_words(run: &Run, what: &str) {
    assert!(!run.stderr.contains("panicked"), "{what}: {}", run.stderr);
    assert!(!run.stderr.contains("RUST_BACKTRACE"), "{what}: {}", run.stderr);
    if run.code != Some(0) {
        assert!(
            run.code == Some(1) && run.stderr.starts_with("vwal: "),
            "{what}: {:?} {}",
            run.code,
            run.stderr
        );
        assert_eq!(run.stderr.lines().count(), 1, "{what}: {}", run.stderr);
        assert!(
            run.stderr.contains("thread") || run.stderr.contains("unavailable"),
            "{what}: {}",
            run.stderr
        );
    }
}

#[test]
fn the_command_without_threads() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    let mut failed = 0;
    for nth in 1..=8 {
        let run = place.ship(&no_thread_from(nth));
        in_words(&run, &format!("ship without thread {nth}"));
        failed += usize::from(run.code != Some(0));
    }
    assert!(failed > 0, "threads are needed");
    assert_eq!(place.ship(&[]).code, Some(0));
    let mut done = 0;
    for nth in 1..=6 {
        let name = format!("back{nth}.db");
        let run = command(&no_thread_from(nth), &["restore", &place.url(), "-o", &place.text(&name)]);
        in_words(&run, &format!("restore without thread {nth}"));
        if run.code == Some(0) {
            assert_eq!(place.rows(&name), 500);
            done += 1;
        }
        assert_eq!(run.code == Some(0), place.path(&name).exists());
        in_words(
            &command(&no_thread_from(nth), &["log", &place.url()]),
            &format!("log without thread {nth}"),
        );
        in_words(
            &command(&no_thread_from(nth), &["verify", &place.url()]),
            &format!("verify without thread {nth}"),
        );
    }
    assert!(done > 0, "few threads are enough");
}

#[test]
fn the_demo_without_threads() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    for nth in 1..=3 {
        let run = command(&no_thread_from(nth), &["demo", &place.text("app.db")]);
        assert_eq!(run.code, Some(1), "{nth}: {}{}", run.stdout, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{nth}: {}", run.stderr);
        assert!(run.stderr.contains("vwal: "), "{nth}: {}", run.stderr);
    }
}

/// `program` as a user of its own that may have so many threads, those of all its processes. `None`: only root can do that.
fn limited(threads: usize, program: &str, args: &[&str]) -> Option<Command> {
    const USER: &str = "54321";
    // SAFETY: it only asks.
    if unsafe { libc::geteuid() } != 0 {
        assert!(std::env::var_os("CI").is_none(), "root is needed");
        eprintln!("not tested: only root can become another user");
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "prlimit"]);
    command.arg(format!("--nproc={threads}:{threads}")).arg(program).args(args);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VWAL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

fn for_everybody(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode is set");
}

/// Shipping in a process that vwal is a guest in.
#[test]
fn the_extension_without_threads() {
    let (mut told, mut shipped) = (0, 0);
    let library = tempfile::tempdir().expect("a directory");
    for_everybody(library.path(), 0o755);
    let extension = library.path().join("vwal.so");
    fs::copy(extension::path(), &extension).expect("a copy that everybody can read");
    for threads in 1..=10 {
        let place = Place::new();
        for_everybody(place.dir.path(), 0o777);
        for_everybody(&place.path("app.db"), 0o666);
        let script = format!(
            ".load {}\n.open file:{}?vfs=vwal&vwal_storage={}&vwal_storage_timeout_ms=1000&vwal_close_timeout_ms=0\n\
             INSERT INTO t VALUES (1);\nSELECT 'stored', vwal_sync() > 0;\nPRAGMA vwal_last_error;\nSELECT 'alive';\n",
            extension.display(),
            place.text("app.db"),
            place.url(),
        );
        let Some(mut shell) = limited(threads, "sqlite3", &["-batch"]) else { return };
        let run = ended(shell.current_dir(place.dir.path()).spawn().expect("setpriv"), &script);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(run.stdout.ends_with("alive\n") && !said.contains("panicked"), "{threads} threads: {said}");
        told += usize::from(said.contains("start a thread") || said.contains("start a runtime"));
        shipped += usize::from(said.contains("stored|1"));
    }
    assert!(
        told >= 4 && shipped > 0,
        "{told} times it was told in words, {shipped} times there were enough threads"
    );
}

#[test]
fn a_restore_where_renameat2_is_not_allowed() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    assert_eq!(place.ship(&[]).code, Some(0));
    for error in ["EPERM", "EINVAL", "ENOSYS", "EOPNOTSUPP"] {
        let name = format!("{error}.db");
        let inject = [format!("renameat2:error={error}")];
        let run = command(&inject, &["restore", &place.url(), "-o", &place.text(&name)]);
        assert_eq!(run.code, Some(0), "{error}: {}", run.stderr);
        assert_eq!(place.rows(&name), 500, "{error}");
        let left: Vec<_> = fs::read_dir(place.dir.path())
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .filter(|left| left.contains("restore") && !left.contains("taken"))
            .collect();
        assert_eq!(left, [""; 0], "{error}");
        // Between the look and the renaming somebody makes a file of that name.
        let name = format!("{error}-taken.db");
        let inject = [format!("renameat2:error={error}:delay_enter=2000000")];
        let child = traced(
            &inject,
            Path::new(env!("CARGO_BIN_EXE_vwal")),
            &["restore", &place.url(), "-o", &place.text(&name)],
        );
        let child = { child }.spawn().expect("strace");
        let started = Instant::now();
        // The journal goes right before.
        let (dir, journal) =
            (format!(".{name}.vwal-restore/database"), format!(".{name}.vwal-restore/journal"));
        while !place.path(&dir).exists() || place.path(&journal).exists() {
            assert!(started.elapsed() < LIMIT, "the restore comes to its end");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Long enough for the look at the directory behind that.
        std::thread::sleep(Duration::from_millis(300));
        fs::write(place.path(&name), "precious").expect("it is written");
        let run = ended(child, "");
        assert_eq!(run.code, Some(14), "{error}: {}", run.stderr);
        assert_eq!(fs::read(place.path(&name)).expect("it is there"), b"precious", "{error}");
    }
}
