//! The command `vwal`, run as people and scripts run it: every subcommand, as text and as JSON, and every exit code.
//!
//! Nothing here registers vwal in the test's own process, but for the one that plays another application
//! ([`plays_another_application`]).

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rusqlite::Connection;
use serde_json::Value;

/// What a run did.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The run failed in the way that belongs to exit code 1: nothing on standard output, one message for people.
    fn failed(&self) -> &str {
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

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vwal"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VWAL_")) {
        command.env_remove(name);
    }
    command
}

fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
    ran(command().args(args).output().unwrap())
}

fn ran(output: Output) -> Run {
    Run {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A subcommand on a database, as JSON.
fn on(subcommand: &str, db: &Path) -> Run {
    run([OsStr::new("--json"), OsStr::new(subcommand), db.as_os_str()])
}

/// A database made by SQLite without vwal.
fn database(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3);").unwrap();
    path
}

fn log_dir(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Another process that has the database open through vwal, and has committed some rows to it.
struct Application {
    child: Child,
    /// Open until the end: libtest does not like to speak into a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

impl Application {
    fn start(db: &Path) -> Application {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "plays_another_application", "--nocapture", "--test-threads=1"])
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

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Let it close the database and end.
    fn end(mut self) {
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

#[test]
fn a_database_is_attached_looked_at_verified_and_detached() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");

    let before = on("status", &db);
    assert_eq!(before.code, 0, "{}", before.stderr);
    assert_eq!(
        (&before.json()["attached"], &before.json()["journal_mode"]),
        (&false.into(), &"delete".into())
    );
    assert!(!log_dir(&db).exists(), "status changes nothing");

    let attached = on("attach", &db);
    assert_eq!(attached.code, 0, "{}", attached.stderr);
    let log_id = attached.json()["log_id"].as_str().unwrap().to_owned();
    assert_eq!((log_id.len(), &attached.json()["already"]), (36, &false.into()));
    assert!(log_dir(&db).is_dir());
    // Attached again it stays what it is.
    let again = on("attach", &db).json();
    assert_eq!((&again["log_id"], &again["already"]), (&log_id.as_str().into(), &true.into()));

    let status = on("status", &db);
    assert_eq!(status.code, 0, "{}", status.stdout);
    let status = status.json();
    assert_eq!((&status["attached"], &status["log_id"]), (&true.into(), &log_id.as_str().into()));
    assert_eq!((&status["page_size"], &status["held_by"]), (&4096.into(), &Value::Null));
    assert_eq!(status["db_size_pages"], 2);

    let verified = on("verify", &db);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    assert_eq!((&verified.json()["ok"], &verified.json()["integrity"]), (&true.into(), &"ok".into()));

    let detached = on("detach", &db);
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    assert_eq!(detached.json()["journal_mode"], "delete");
    assert!(!log_dir(&db).exists());
    let count: i64 =
        Connection::open(&db).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 3);
    assert_eq!(on("detach", &db).json()["already"], true);
    assert_eq!(on("verify", &db).code, 0, "an ordinary database can be verified too");
    assert!(!log_dir(&db).exists(), "and stays one");
}

#[test]
fn the_text_output_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    let says = |subcommand: &str, words: &[&str]| {
        let run = run([OsStr::new(subcommand), db.as_os_str()]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        for word in words {
            assert!(run.stdout.contains(word), "{subcommand}: '{word}' is not in: {}", run.stdout);
        }
        run.stdout
    };
    says("status", &["ordinary SQLite database in rollback mode"]);
    let text = says("attach", &["is now a vwal database", "log id", "app.db-wal"]);
    let log_id = text.split_once("log id").unwrap().1.split_whitespace().next().unwrap().to_owned();
    says("status", &["held by", "nobody", &log_id, "frame number"]);
    says("verify", &["integrity ok"]);
    says("detach", &["is now an ordinary SQLite database", "integrity ok"]);
}

#[test]
fn a_stock_log_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.db");
    let conn = Connection::open(&source).unwrap();
    conn.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1), (2), (3)")
        .unwrap();
    // As a crash leaves them: file and log, and no process.
    let db = dir.path().join("app.db");
    fs::copy(&source, &db).unwrap();
    fs::copy(log_dir(&source), log_dir(&db)).unwrap();
    let status = on("status", &db);
    assert_eq!(status.code, 0, "{}", status.stdout);
    assert!(status.stdout.contains("SQLite without vwal"), "{}", status.stdout);
    assert_eq!(on("attach", &db).code, 0);
    assert!(log_dir(&db).is_dir());
    assert_eq!(on("detach", &db).code, 0);
    let count: i64 =
        Connection::open(&db).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 3);
}

#[test]
fn a_database_in_use_is_left_alone_and_its_user_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    let application = Application::start(&db);
    let pid = application.pid().to_string();

    let status = on("status", &db);
    assert_eq!(status.code, 0, "{}", status.stdout);
    let status = status.json();
    assert_eq!(status["held_by"]["pid"].to_string(), pid);
    assert!(status["held_by"]["name"].as_str().unwrap().starts_with("cli"), "{status}");
    assert!(
        status["frame_no"].as_u64().unwrap() >= 40 && status["segment_count"].as_u64().unwrap() >= 2,
        "{status}"
    );

    let verified = on("verify", &db);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    let text = run([OsStr::new("verify"), db.as_os_str()]).stdout;
    assert!(
        text.contains("left out") && text.contains(&pid) && text.contains("as far as possible"),
        "{text}"
    );
    assert_eq!(verified.json()["integrity"], "left out");

    for subcommand in ["attach", "detach"] {
        let run = on(subcommand, &db);
        let message = run.failed();
        assert!(message.contains(&pid) && message.contains("app.db"), "{message}");
    }
    let demo = run([OsStr::new("demo"), db.as_os_str()]);
    assert!(demo.failed().contains(&pid), "{}", demo.stderr);

    application.end();
    assert_eq!(on("status", &db).json()["held_by"], Value::Null);
    assert_eq!(on("detach", &db).code, 0);
    let count: i64 =
        Connection::open(&db).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 43);
}

#[test]
fn what_a_killed_process_leaves_is_whole_and_damage_to_it_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    Application::start(&db).kill();

    let status = on("status", &db).json();
    assert_eq!(status["held_by"], Value::Null);
    assert!(status["frame_no"].as_u64().unwrap() >= 40, "{status}");
    let sealed = status["segments"].as_array().unwrap().iter().find(|segment| segment["state"] == "sealed");
    let sealed = PathBuf::from(sealed.unwrap()["path"].as_str().unwrap());

    let good = fs::read(&sealed).unwrap();
    let mut bad = good.clone();
    bad[4096 + 500] ^= 1;
    fs::write(&sealed, &bad).unwrap();
    let verified = on("verify", &db);
    assert_eq!(verified.code, 3, "{}", verified.stdout);
    let json = verified.json();
    assert_eq!((&json["ok"], &json["integrity"]), (&false.into(), &"left out".into()));
    assert_eq!(json["findings"][0]["path"].as_str(), sealed.to_str());
    assert_eq!(json["findings"][0]["offset"], 4096);
    assert_eq!(fs::read(&sealed).unwrap(), bad, "nothing is repaired by looking");
    let text = run([OsStr::new("verify"), db.as_os_str()]);
    assert_eq!(text.code, 3);
    assert!(
        text.stdout.contains("NOT in order") && text.stdout.contains("at offset 4096"),
        "{}",
        text.stdout
    );
    // It cannot be opened either, and the message names the file.
    let message = on("attach", &db);
    assert!(message.failed().contains(sealed.file_name().unwrap().to_str().unwrap()), "{}", message.stderr);

    fs::write(&sealed, &good).unwrap();
    let verified = on("verify", &db);
    assert_eq!((verified.code, &verified.json()["integrity"]), (0, &"ok".into()), "{}", verified.stdout);
    assert_eq!(on("detach", &db).code, 0);
    let count: i64 =
        Connection::open(&db).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 43, "each row that was acknowledged");
}

#[test]
fn a_damaged_database_without_a_log_is_found_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    let mut bytes = fs::read(&db).unwrap();
    // The second page, the table's: its cells lie where there are none.
    bytes[4096 + 5..4096 + 12].fill(0xff);
    fs::write(&db, bytes).unwrap();
    let verified = on("verify", &db);
    assert_eq!(verified.code, 3, "{}{}", verified.stdout, verified.stderr);
    assert_eq!(verified.json()["integrity"], "failed");
    assert!(!verified.json()["problems"].as_array().unwrap().is_empty());
}

#[test]
fn paths_may_hold_anything() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "with space.db",
        "größe 数据.db",
        "100%25?x=1&y#z.db",
        "file:x.db",
        "-v.db",
        "no-suffix",
        "q'u\"o.db",
    ] {
        let db = database(dir.path(), "plain");
        fs::rename(&db, dir.path().join(name)).unwrap();
        let db = dir.path().join(name);
        let attached = on("attach", &db);
        assert_eq!(attached.code, 0, "{name}: {}", attached.stderr);
        assert_eq!(attached.json()["path"].as_str(), db.canonicalize().unwrap().to_str());
        assert!(log_dir(&db).is_dir(), "{name}");
        assert_eq!(on("verify", &db).code, 0, "{name}");
        // Relative, too.
        let here = ran(command().current_dir(dir.path()).args(["status", "--", name]).output().unwrap());
        assert_eq!(here.code, 0, "{name}: {}", here.stderr);
        let detached = on("detach", &db);
        assert_eq!(detached.code, 0, "{name}: {}", detached.stderr);
        assert!(!log_dir(&db).exists(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_leads_to_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "real.db");
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&db, &link).unwrap();
    assert_eq!(on("attach", &link).code, 0);
    assert!(log_dir(&db).is_dir() && !log_dir(&link).exists());
    assert_eq!(on("status", &link).json()["attached"], true);
    assert_eq!(on("verify", &link).code, 0);
    assert_eq!(on("detach", &link).code, 0);
    assert!(!log_dir(&db).exists());
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    let content = "This is a text, and no database. ".repeat(200);
    fs::write(&text, &content).unwrap();
    let missing = dir.path().join("missing.db");
    for subcommand in ["status", "verify", "attach", "detach", "demo"] {
        let run = on(subcommand, &missing);
        assert!(run.failed().contains("missing.db' does not exist"), "{subcommand}: {}", run.stderr);
        let run = on(subcommand, dir.path());
        assert!(run.failed().contains("is a directory"), "{subcommand}: {}", run.stderr);
        let run = on(subcommand, &text);
        let message = run.failed();
        assert!(message.contains("notes.txt") && message.contains("not a"), "{subcommand}: {message}");
    }
    assert_eq!(fs::read_to_string(&text).unwrap(), content);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.txt"], "nothing was made");
}

#[test]
fn an_empty_file_is_an_empty_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("empty.db");
    fs::write(&db, "").unwrap();
    assert_eq!(on("status", &db).code, 0);
    assert_eq!(on("verify", &db).code, 0);
    let attached = on("attach", &db);
    assert!(attached.failed().contains("empty"), "{}", attached.stderr);
    assert_eq!(on("detach", &db).code, 0);
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    for args in [
        &[][..],
        &["fly"],
        &["status"],
        &["attach"],
        &["status", "a.db", "b.db"],
        &["status", "--fast", "a.db"],
        &["path", "a.db"],
        &["demo", "--rounds", "0"],
        &["demo", "--rounds", "many"],
        &["demo", "--writers", "65"],
        &["demo", "--seconds", "NaN"],
        &["demo", "--synchronous", "sometimes"],
    ] {
        let run = run(args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{args:?}");
        assert!(run.stderr.contains("Usage") || run.stderr.contains("--help"), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn help_and_version_are_there() {
    let help = run(["--help"]);
    assert_eq!(help.code, 0);
    for word in ["demo", "status", "verify", "attach", "detach", "path", "--json", "Exit codes", "  3  "] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert!(!help.stdout.contains("demo-worker") && !help.stdout.contains("plain-check"));
    let version = run(["--version"]);
    assert_eq!((version.code, version.stdout.trim()), (0, concat!("vwal ", env!("CARGO_PKG_VERSION"))));
    for subcommand in ["demo", "status", "verify", "attach", "detach", "path"] {
        assert_eq!(run([subcommand, "--help"]).code, 0, "{subcommand}");
    }
}

#[test]
fn a_wrong_option_in_the_environment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    for (name, value, words) in [("VWAL_SWAP", "size>=4MB", "KiB"), ("VWAL_SWP", "x", "VWAL_SWAP")] {
        let run = ran(command().env(name, value).arg("attach").arg(&db).output().unwrap());
        let message = run.failed();
        assert!(message.contains(name) && message.contains(words), "{message}");
    }
    assert!(!log_dir(&db).exists());
    // The command opens through vwal what it says it does, whatever the default of the process is.
    let run = ran(command().env("VWAL_DEFAULT", "1").args(["--json", "verify"]).arg(&db).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!log_dir(&db).exists());
}

#[test]
fn the_extension_is_found_or_its_absence_explained() {
    let dir = tempfile::tempdir().unwrap();
    let here = run(["--json", "path"]);
    assert_eq!(here.code, 0, "{}", here.stderr);
    assert!(Path::new(here.json()["path"].as_str().unwrap()).is_file());
    assert_eq!(run(["path"]).stdout.trim(), here.json()["path"].as_str().unwrap());
    // The command alone, as 'cargo install' leaves it.
    let alone = dir.path().join("vwal");
    fs::copy(env!("CARGO_BIN_EXE_vwal"), &alone).unwrap();
    let run = ran(Command::new(&alone).arg("path").output().unwrap());
    assert!(run.failed().contains("beside"), "{}", run.stderr);
}

#[test]
fn the_demonstration_proves_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--json", "demo", "--rounds", "2", "--seconds", "0.6", "--dir"];
    let run = ran(command().args(args).arg(dir.path()).output().unwrap());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["verdict"], "proved", "{report:#}");
    assert_eq!((&report["lost"], &report["half_written"]), (&0.into(), &0.into()));
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("acknowledged") > 200, "200 are from after the last kill: {report:#}");
    assert!(number("found") >= number("acknowledged"));
    assert!(number("rows") > 40_000 && number("tables") >= 5);
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
    assert!(
        report["rounds"].as_array().unwrap().iter().all(|round| round["acknowledged"].as_u64().unwrap() > 0)
    );
    assert!(!report["segments"].as_array().unwrap().is_empty());
    assert_eq!(report["footer"]["log_id"], report["log_id"]);
    assert_eq!(report["kept"], Value::Null);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    assert!(run.stderr.contains("killed after"), "{}", run.stderr);
}

#[test]
fn the_demonstration_takes_a_database_that_is_in_use_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("my app.db");
    let conn = Connection::open(&db).unwrap();
    conn.execute_batch(
        "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE t (x PRIMARY KEY, y) WITHOUT ROWID;
         CREATE TABLE changed (what); CREATE TABLE r (a, b AS (a || 'x')); INSERT INTO r VALUES (1), (NULL), (x'00');
         CREATE TRIGGER spoil AFTER UPDATE ON r BEGIN INSERT INTO changed VALUES (new.a); END;
         INSERT INTO t VALUES (1, 'one'), (2, zeroblob(5000));",
    )
    .unwrap();
    let work = tempfile::tempdir().unwrap();
    let args =
        ["demo", "--keep", "--rounds", "1", "--seconds", "0.5", "--synchronous", "normal", "--json", "--dir"];
    let run = ran(command().args(args).arg(work.path()).arg(&db).output().unwrap());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!((&report["verdict"], &report["footer"]["page_size"]), (&"proved".into(), &1024.into()));
    assert!(!log_dir(&db).is_dir(), "the database itself is not touched");
    let rows: i64 = conn.query_row("SELECT count(*) FROM changed", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    // The copy is kept, and an ordinary database.
    let kept = PathBuf::from(report["kept"].as_str().unwrap());
    assert!(run.stderr.contains("kept: "), "{}", run.stderr);
    let copy = Connection::open(&kept).unwrap();
    let ledger: i64 = copy.query_row("SELECT count(*) FROM vwal_demo_ledger", [], |row| row.get(0)).unwrap();
    assert_eq!(Some(ledger), report["found"].as_i64());
    let y: String = copy.query_row("SELECT y FROM t WHERE x = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(y, "one");
}

#[test]
fn the_demonstration_says_where_it_cannot_work() {
    let run = run(["demo", "--dir", "/nonexistent/directory"]);
    assert!(run.failed().contains("/nonexistent/directory"), "{}", run.stderr);
}
