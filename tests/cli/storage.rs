//! The subcommands that work with storage, on a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use serde_json::Value;

use crate::run::{Run, command, ran, run};

/// A database with a log in storage.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self) -> String {
        format!("file://{}", self.path("store").display())
    }

    /// Commit `count` rows through vwal, in a process of their own, and ship them.
    fn write(&self, name: &str, count: usize) {
        let mut writer = Command::new(std::env::current_exe().unwrap());
        // vwal refuses variables of its own kind that it does not know, as those of the fault programme.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VWAL_")) {
            writer.env_remove(name);
        }
        let output = writer
            .args(["--exact", "storage::writes_for_other_tests", "--nocapture", "--test-threads=1"])
            .env("VWAL_TEST_WRITER", self.path(name))
            .env("VWAL_TEST_COUNT", count.to_string())
            .env("VWAL_STORAGE", self.url())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn on(&self, args: &[&str]) -> Run {
        let mut all = vec!["--json", args[0]];
        let url = self.url();
        all.push(&url);
        all.extend(&args[1..]);
        run(all)
    }

    fn commits(&self) -> Vec<Value> {
        let log = self.on(&["log", "--reverse"]);
        assert_eq!(log.code, 0, "{}", log.stderr);
        log.json()["commits"].as_array().unwrap().clone()
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.path("store")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() { dirs.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found.sort();
        found
    }
}

/// Not a test of its own: the process that [`Place::write`] starts.
#[test]
fn writes_for_other_tests() {
    let (Some(db), Some(count)) =
        (std::env::var_os("VWAL_TEST_WRITER"), std::env::var("VWAL_TEST_COUNT").ok())
    else {
        return;
    };
    vwal::register(vwal::Options::from_env().unwrap()).unwrap();
    let conn = Connection::open_with_flags_and_vfs(db, rusqlite::OpenFlags::default(), c"vwal").unwrap();
    conn.execute_batch("CREATE TABLE IF NOT EXISTS t(x)").unwrap();
    for i in 0..count.parse::<i64>().unwrap() {
        conn.execute("INSERT INTO t VALUES (?1)", [i]).unwrap();
    }
    vwal::Database::of(&conn, "main").unwrap().sync().unwrap();
    conn.close().unwrap();
}

fn rows(path: &Path) -> i64 {
    let conn = Connection::open(path).unwrap();
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn commits_are_listed_and_each_one_is_restored() {
    let place = Place::new();
    place.write("app.db", 10);
    let commits = place.commits();
    assert!(commits.len() >= 11, "{commits:?}");
    // The last ten are one row each.
    for (number, commit) in commits.iter().rev().take(10).enumerate() {
        let frame_no = commit["frame_no"].as_u64().unwrap();
        let path = place.path(&format!("{number}.db"));
        let restored = place.on(&["restore", "-o", path.to_str().unwrap(), "--frame", &frame_no.to_string()]);
        assert_eq!(restored.code, 0, "{}", restored.stderr);
        assert_eq!(restored.json()["frame_no"], frame_no);
        assert_eq!(rows(&path), 10 - number as i64);
    }
    let newest = place.on(&["log", "--limit", "3"]).json();
    assert_eq!(newest["commits"].as_array().unwrap().len(), 3);
    assert_eq!(newest["commits"][0], commits[commits.len() - 1]);
    let frame_no = commits[2]["frame_no"].to_string();
    let one = place.on(&["log", "--from", &frame_no, "--to", &frame_no]).json();
    assert_eq!(one["commits"].as_array().unwrap()[..], commits[2..3]);
    let time = commits[3]["time"].as_str().unwrap().to_owned();
    let since = place.on(&["log", "--since", &time, "--reverse"]).json();
    assert_eq!(since["commits"].as_array().unwrap()[0], commits[3]);
    assert_eq!(
        place.on(&["log", "--since", "1 hour ago", "--until", "1 minute ago"]).json()["commits"],
        Value::Array(vec![])
    );
    let histogram = place.on(&["log", "--histogram"]).json();
    let counted: u64 = histogram["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["commits"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, commits.len() as u64);
    let shown = run(["log", &place.url(), "--histogram"]);
    assert!(shown.code == 0 && shown.stdout.contains('█'), "{}", shown.stdout);
    let shown = run(["log", &place.url()]);
    assert!(shown.stdout.contains("commits") && shown.stdout.contains("database"), "{}", shown.stdout);
    // A time between two commits means the earlier one.
    let path = place.path("time.db");
    let restored = place.on(&["restore", "-o", path.to_str().unwrap(), "--timestamp", &time]);
    assert_eq!(restored.json()["frame_no"], commits[3]["frame_no"], "{}", restored.stderr);
}

#[test]
fn restoring_has_an_exit_code_for_each_way_to_fail() {
    let place = Place::new();
    place.write("app.db", 3);
    let url = place.url();
    let path = place.path("restored.db");
    let to = |args: &[&str]| place.on(&[&["restore", "-o", path.to_str().unwrap()], args].concat());
    let plan = place.on(&["restore", "--dry-run"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    assert!(plan.json()["bundles"].as_array().is_some_and(|bundles| !bundles.is_empty()));
    assert!(!path.exists());
    // Storage has something, but not this: a script that begins anew where there is nothing must not do so here.
    for (args, why) in [
        (["--frame", "1000000"], "ends at frame"),
        (["--timestamp", "2001-01-01T00:00:00Z"], "the oldest is that of 2"),
    ] {
        let refused = to(&args);
        assert_eq!((refused.code, refused.stdout.as_str()), (13, ""), "{}", refused.stderr);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    assert_eq!(to(&["--log", "01920000-0000-7000-8000-000000000001"]).code, 10);
    assert_eq!(to(&["--timestamp", "whenever"]).code, 2);
    assert_eq!(to(&["--frame", "1", "--timestamp", "now"]).code, 2);
    let shown = run(["restore", &url, "-o", path.to_str().unwrap()]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("restored"), "{}", shown.stdout);
    let again = to(&[]);
    assert_eq!((again.code, again.stdout.as_str()), (14, ""), "{}", again.stderr);
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
    assert_eq!(rows(&path), 3);
    let nowhere = format!("file://{}", place.path("nowhere").display());
    let commands = |url: &str| {
        [&["log"][..], &["restore", "--dry-run"], &["compact"], &["verify"], &["verify", "--read-data"]]
            .map(|args| run([&args[..1], &[url], &args[1..]].concat()))
    };
    for run in commands(&nowhere) {
        assert_eq!((run.code, run.stdout.as_str()), (10, ""), "{}", run.stderr);
    }
    assert!(!place.path("nowhere").exists());
    // What is missing as well is the place of the disk: who begins anew where there is nothing must not do so then.
    for run in commands(&format!("{nowhere}/app")) {
        assert!(run.failed().contains("not mounted"), "{}", run.stderr);
    }
    assert!(!place.path("nowhere").exists());
}

#[test]
fn a_secret_in_a_url_is_not_repeated() {
    for subcommand in ["log", "restore", "verify", "compact", "check", "expire"] {
        let mut args = vec![subcommand, "s3://AKIA:CANARY@bucket/x"];
        match subcommand {
            "restore" => args.push("--dry-run"),
            "expire" => args.extend(["--keep", "1h"]),
            _ => {}
        }
        let run = run(args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{subcommand}: {}", run.stderr);
        assert!(!run.stderr.contains("CANARY"), "{}", run.stderr);
    }
}

#[test]
fn storage_is_verified_and_damage_is_a_finding() {
    let place = Place::new();
    place.write("app.db", 5);
    place.write("app.db", 5);
    for args in [&["verify"][..], &["verify", "--read-data"]] {
        let verified = place.on(args);
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
        let verified = verified.json();
        assert_eq!((&verified["ok"], verified["logs"].as_array().unwrap().len()), (&true.into(), 1));
        assert_eq!(verified["logs"][0]["restorable_commits"], place.commits().len());
    }
    let bundle =
        place.objects().into_iter().find(|path| path.extension().is_some_and(|it| it == "bundle")).unwrap();
    let mut bytes = fs::read(&bundle).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let verified = place.on(&["verify", "--read-data"]);
    assert_eq!((verified.code, &verified.json()["ok"]), (3, &false.into()));
    let shown = run(["verify", &place.url(), "--read-data"]);
    assert!(
        shown.code == 3 && shown.stdout.contains("! '") && shown.stdout.contains("NOT in order"),
        "{}",
        shown.stdout
    );
    // Of a database it says what it always said, and knows no --read-data.
    let db = place.path("app.db");
    assert_eq!(run(["verify", db.to_str().unwrap()]).code, 0);
    assert_eq!(run(["verify", db.to_str().unwrap(), "--read-data"]).code, 2);
}

#[test]
fn a_database_is_shipped_and_a_snapshot_taken() {
    let place = Place::new();
    let db = crate::run::database(&place.dir.path().canonicalize().unwrap(), "plain.db");
    let (db, url) = (db.to_str().unwrap(), place.url());
    let shipped = run(["--json", "ship", db, &url, "--once"]);
    assert_eq!(shipped.code, 0, "{}", shipped.stderr);
    let log_id = shipped.json()["log_id"].as_str().unwrap().to_owned();
    assert_eq!(run(["ship", db, &url]).code, 2, "it ends, and says so");
    let snapshot = run(["--json", "snapshot", db, &url]);
    assert_eq!(snapshot.code, 0, "{}", snapshot.stderr);
    assert_eq!(snapshot.json()["log_id"], log_id.as_str());
    let by_name = run(["--json", "ship", db, &format!("{url}/{{name}}"), "--once"]);
    assert_eq!(by_name.code, 0, "{}", by_name.stderr);
    assert!(place.path("store/plain.db").is_dir());
    let path = place.path("restored.db");
    let restored = run(["restore", &url, "-o", path.to_str().unwrap()]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert_eq!(rows(&path), 3);
    // Without a URL and without VWAL_STORAGE there is nowhere to put it.
    assert_eq!((run(["snapshot", db]).code, run(["ship", db, "--once"]).code), (2, 2));
    let other = place.path("other.db");
    assert_eq!(run(["restore", "-o", other.to_str().unwrap()]).code, 2);
    // The name of the file fills the placeholder.
    let named = place.path("plain.db.d/plain.db");
    fs::create_dir(named.parent().unwrap()).unwrap();
    for (url, args) in [
        (url.clone(), vec!["snapshot", db]),
        (url.clone(), vec!["ship", db, "--once"]),
        (url.clone(), vec!["restore", "-o", other.to_str().unwrap()]),
        (format!("{url}/{{name}}"), vec!["restore", "-o", named.to_str().unwrap()]),
    ] {
        let by_environment = ran(command().env("VWAL_STORAGE", &url).args(&args).output().unwrap());
        assert_eq!(by_environment.code, 0, "{args:?}: {}", by_environment.stderr);
    }
    assert_eq!((rows(&other), rows(&named)), (3, 3));
}

/// Whatever the umask is, and whatever is made of the database: nobody else may read its pages.
#[test]
fn what_holds_pages_of_a_private_database_is_private() {
    for umask in ["022", "000"] {
        let place = Place::new();
        let db = crate::run::database(place.dir.path(), "app.db");
        fs::set_permissions(&db, fs::Permissions::from_mode(0o600)).unwrap();
        let (db, url) = (db.to_str().unwrap(), place.url());
        let (restored, taken) = (place.path("restored.db"), place.path("taken.db"));
        for args in [
            &["ship", db, &url, "--once"][..],
            &["snapshot", db, &url],
            &["restore", &url, "-o", restored.to_str().unwrap()],
            &["restore", &url, "--take-over", "-o", taken.to_str().unwrap()],
            &["ship", taken.to_str().unwrap(), &url, "--once"],
        ] {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_vwal")]);
            let run = ran(shell.args(args).output().unwrap());
            assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
            let mut dirs = vec![place.dir.path().to_owned()];
            while let Some(dir) = dirs.pop() {
                for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                    assert_eq!(mode & 0o077, 0, "{mode:o} of {} after {args:?}", path.display());
                    dirs.extend(path.is_dir().then_some(path));
                }
            }
        }
    }
}

/// What `log` prints, given back, is the very commit: also to people, in local time.
#[test]
fn a_time_that_is_printed_names_its_commit() {
    let place = Place::new();
    place.write("app.db", 20);
    for zone in ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "NST3:30NDT,M3.2.0,M11.1.0"] {
        let zoned = |args: &[&str]| ran(command().env("TZ", zone).args(args).output().unwrap());
        let log = zoned(&["log", &place.url(), "--reverse"]);
        let lines: Vec<&str> =
            log.stdout.lines().filter(|line| line.contains("20") && line.contains(':')).collect();
        let commits = place.commits();
        assert_eq!(lines.len(), commits.len(), "{}", log.stdout);
        for (line, commit) in lines.iter().zip(&commits).step_by(5) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|word| word.contains(':')).unwrap();
            let time = format!("{} {}", words[at - 1], words[at]);
            let url = place.url();
            let plan = zoned(&["--json", "restore", &url, "--dry-run", "--timestamp", &time]);
            assert_eq!(plan.json()["frame_no"], commit["frame_no"], "{zone}, {time}: {}", plan.stderr);
            let only = zoned(&["--json", "log", &url, "--since", &time, "--until", &time]);
            assert_eq!(only.json()["commits"][0], *commit, "{zone}, {time}: {}", only.stderr);
        }
    }
    let twice = ran(command()
        .env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        .args(["log", &place.url(), "--since", "2026-10-25 02:30"])
        .output()
        .unwrap());
    assert!(
        twice.code == 2 && twice.stderr.contains("+02:00") && twice.stderr.contains("+01:00"),
        "{}",
        twice.stderr
    );
}

#[test]
fn the_longest_names_can_be_restored_to() {
    let place = Place::new();
    place.write("app.db", 2);
    for length in [241, 242, 245, 247] {
        // With letters of two bytes, of which one is cut in the middle.
        let name = format!("{}{}", "é".repeat(60), "x".repeat(length - 120));
        let path = place.path(&name);
        let restored = place.on(&["restore", "-o", path.to_str().unwrap()]);
        assert_eq!(restored.code, 0, "{length}: {}", restored.stderr);
        assert_eq!(rows(&path), 2);
    }
}

#[test]
fn the_database_s_own_log_is_listed_too() {
    let place = Place::new();
    let db = crate::run::database(place.dir.path(), "app.db");
    let application = crate::run::Application::start(&db);
    let log = run(["--json", "log", db.to_str().unwrap(), "--reverse"]);
    assert_eq!(log.code, 0, "{}", log.stderr);
    let log = log.json();
    let commits = log["commits"].as_array().unwrap();
    assert_eq!(commits.len(), 40);
    let frames = |at: usize| commits[at]["frame_no"].as_u64().unwrap();
    assert_eq!(frames(39) - frames(38), commits[39]["pages"].as_u64().unwrap());
    application.end();
    let ordinary = crate::run::database(place.dir.path(), "ordinary.db");
    assert_eq!(run(["--json", "log", ordinary.to_str().unwrap()]).json()["commits"], Value::Array(vec![]));
}

#[test]
fn a_takeover_ends_the_old_log() {
    let place = Place::new();
    place.write("app.db", 4);
    let path = place.path("new.db");
    let taken = place.on(&["restore", "-o", path.to_str().unwrap(), "--take-over"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    let new = taken.json()["new_log_id"].as_str().unwrap().to_owned();
    let shipped = run(["--json", "ship", path.to_str().unwrap(), &place.url(), "--once"]);
    assert_eq!(shipped.code, 0, "{}", shipped.stderr);
    assert_eq!(shipped.json()["log_id"], new.as_str());
    // The first primary is told, and its storage is not touched.
    let before = place.objects();
    let fenced = run(["ship", place.path("app.db").to_str().unwrap(), &place.url(), "--once"]);
    assert_eq!(fenced.code, 11, "{}{}", fenced.stdout, fenced.stderr);
    assert_eq!(place.objects(), before);
    let latest = place.path("latest.db");
    let restored = place.on(&["restore", "-o", latest.to_str().unwrap()]);
    assert_eq!(restored.json()["log_id"], new.as_str(), "{}", restored.stderr);
    assert_eq!(rows(&latest), 4);
}

#[test]
fn merging_and_expiring_keep_what_is_promised() {
    let place = Place::new();
    for _ in 0..3 {
        place.write("app.db", 2);
    }
    let nothing = place.on(&["compact"]);
    assert_eq!((nothing.code, &nothing.json()["merges"]), (0, &Value::Array(vec![])), "{}", nothing.stderr);
    let before = place.objects();
    let dry = place.on(&["expire", "--keep", "24h"]);
    assert_eq!((dry.code, &dry.json()["deleted"]), (0, &false.into()), "{}", dry.stderr);
    assert_eq!(place.objects(), before);
    assert_eq!(place.on(&["expire", "--keep", "24h", "--confirm"]).code, 0);
    assert_eq!(place.objects(), before, "all of it is younger than that");
    assert_eq!(place.on(&["expire", "--keep", "soon"]).code, 2);
    assert_eq!(place.on(&["verify"]).code, 0);
}

#[test]
fn a_store_is_tried_out() {
    let place = Place::new();
    fs::create_dir(place.path("store")).unwrap();
    let checked = place.on(&["check"]);
    assert_eq!((checked.code, &checked.json()["ok"]), (0, &true.into()), "{}", checked.stderr);
    assert!(run(["check", &place.url()]).stdout.contains("can do all"));
}

#[test]
fn a_store_that_cannot_be_tried_is_not_called_unfit() {
    let place = Place::new();
    let url = place.url();
    let missing = run(["check", &url]);
    assert!(missing.failed().contains("does not exist"), "{}", missing.stderr);
    assert!(!place.path("store").exists());
    // A port of this machine on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = ran(command()
        .envs([("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")), ("AWS_ALLOW_HTTP", "true".into())])
        .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "x")])
        .args(["check", "s3://bucket/x"])
        .output()
        .unwrap());
    assert!(!refused.failed().contains("NOT fit"), "{}", refused.stderr);
}
