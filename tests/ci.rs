//! The scripts that run the fault programme: what they count, and that they fail when something failed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn script(name: &str) -> Command {
    let mut command = Command::new(format!("{}/.ci/{name}", env!("CARGO_MANIFEST_DIR")));
    command.stdin(Stdio::null());
    command
}

/// Exit code, and what was printed on both.
fn outcome(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().expect("it ended by itself"), String::from_utf8(text).expect("text"))
}

fn table(dir: &Path) -> (i32, String) {
    outcome(&script("table").arg(dir).output().expect("the script starts"))
}

/// The columns of a class's row.
fn row(table: &str, class: &str) -> Vec<String> {
    let rest = table.lines().find_map(|line| line.strip_prefix(class).filter(|rest| rest.starts_with("  ")));
    let rest = rest.unwrap_or_else(|| panic!("no row for {class} in {table}"));
    rest.split("  ").map(str::trim).filter(|column| !column.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_table_sums_up_what_campaigns_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("kill--9.ledger"), "kill -9\tledger\t1234567\t0\t9\t\n").unwrap();
    fs::write(dir.path().join("kill--9.storage"), "kill -9\tstorage\t33\t0\t9\t\n").unwrap();
    fs::write(dir.path().join("storage.storm"), "storage\tstorm\t0\t0\t0\t\n").unwrap();
    // Cut short by a kill, and not renamed.
    fs::write(dir.path().join("storage.storm.new"), "stor").unwrap();
    let (code, text) = table(dir.path());
    assert_eq!(code, 0, "{text}");
    assert_eq!(row(&text, "kill -9"), ["1,234,600", "0"]);
    assert_eq!(row(&text, "storage"), ["not run", "-"]);
    assert_eq!(row(&text, "power loss"), ["not run", "-"]);
    assert_eq!(row(&text, "all"), ["1,234,600", "0"]);
}

#[test]
fn a_failure_in_one_file_fails_the_table() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "power loss\tfiles\t200000\t0\t9\t\n").unwrap();
    assert_eq!(table(dir.path()).0, 0);
    fs::write(dir.path().join("b"), "storage\tstorm\t60\t2\t9\t17 42\n").unwrap();
    let (code, text) = table(dir.path());
    assert_eq!(code, 1, "{text}");
    assert_eq!(row(&text, "storage"), ["60", "2"]);
    assert!(text.contains("storage, storm: FAULTS_SEED=42 tries it again"), "{text}");
    fs::remove_file(dir.path().join("b")).unwrap();
    fs::write(dir.path().join("c"), "not a campaign's\n").unwrap();
    assert_eq!(table(dir.path()).0, 1, "what cannot be counted is no success");
}

#[test]
fn wrong_arguments_are_told() {
    for (name, arguments) in [
        ("table", &[][..]),
        ("table", &["/no/such/directory"]),
        ("nightly", &[]),
        ("nightly", &["soon"]),
        ("nightly", &["1", "bit rot"]),
    ] {
        let (code, text) = outcome(&script(name).args(arguments).output().expect("the script starts"));
        assert_eq!(code, 2, "{name} {arguments:?}: {text}");
        assert!(text.contains(&format!("usage: .ci/{name} ")), "{text}");
    }
}

/// `.ci/nightly` with a `cargo` whose calls count one case of `kill -9` each; `then` is what comes next.
fn night(dir: &Path, then: &str) -> Command {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let count = "file=\"$FAULTS_DIR/kill--9.stub\"
        cases=$(cut -f 3 \"$file\" 2>/dev/null || echo 0)
        printf 'kill -9\\tstub\\t%d\\t0\\t0\\t\\n' $((cases + 1)) >\"$file\"
        echo called >>\"$FAULTS_DIR/called.log\"";
    fs::write(bin.join("cargo"), format!("#!/bin/sh\n{count}\n{then}\n")).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a PATH"));
    // A program that was started in the background ignores Ctrl-C, and so does all that it starts.
    let mut night = Command::new("env");
    let nightly = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/nightly");
    night
        .args(["--default-signal=INT", nightly, "0", "kill -9"])
        .stdin(Stdio::null())
        .env("PATH", path)
        .env("FAULTS_DIR", dir);
    night
}

#[test]
fn a_night_goes_on_after_a_failure_and_remembers_it() {
    let dir = tempfile::tempdir().unwrap();
    let calls = || fs::read_to_string(dir.path().join("called.log")).unwrap().lines().count();
    let (code, text) = outcome(&night(dir.path(), "exit 0").output().unwrap());
    assert_eq!(code, 0, "{text}");
    let first = calls();
    assert!(first > 1, "every line has its turn");
    assert_eq!(row(&text, "kill -9"), [first.to_string(), "0".to_owned()]);

    // A test that is killed counts nothing itself.
    let (code, text) = outcome(&night(dir.path(), "kill -9 $$").output().unwrap());
    assert_eq!(code, 1, "{text}");
    assert_eq!(calls(), 2 * first, "the others had their turn all the same");
    assert_eq!(row(&text, "kill -9")[0], (2 * first).to_string(), "totals of both nights");
    assert_ne!(row(&text, "all")[1], "0");

    let (code, text) = outcome(&night(dir.path(), "exit 0").output().unwrap());
    assert_eq!(code, 1, "a failure of an earlier night is not forgotten: {text}");
}

#[test]
fn an_interrupted_night_keeps_what_it_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = night(dir.path(), "sleep 60");
    let began = std::time::Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !dir.path().join("called.log").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, text) = outcome(&child.wait_with_output().unwrap());
    assert_eq!(code, 130, "{text}");
    assert_eq!(row(&text, "kill -9"), ["1", "0"]);
    // Nothing is left that holds the lock, so the next one begins.
    let (code, text) = outcome(&night(dir.path(), "exit 0").output().unwrap());
    assert_eq!(code, 0, "{text}");
    assert!(began.elapsed().as_secs() < 60, "the first turn was ended");
}
