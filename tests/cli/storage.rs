//! The commands that talk to storage.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use crate::run::{Run, command, ran, run};

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

    /// A database with two rows, made by stock SQLite.
    fn database(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1), (2);")
            .unwrap();
        path
    }

    fn ship(&self, db: &Path) -> Run {
        run(["--json", "ship", &db.display().to_string(), &self.url(), "--once"])
    }
}

fn failed(run: &Run, code: i32) -> &str {
    assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{}", run.stderr);
    assert!(run.stderr.contains("vwal: ") && !run.stderr.contains("panicked"), "{}", run.stderr);
    &run.stderr
}

#[test]
fn a_database_is_shipped_listed_and_kept() {
    let place = Place::new();
    let db = place.database("app.db");
    let shipped = place.ship(&db);
    assert_eq!(shipped.code, 0, "{}", shipped.stderr);
    let log_id = shipped.json()["log_id"].as_str().unwrap().to_owned();

    let log = run(["--json", "log", &place.url()]);
    assert_eq!(log.code, 0, "{}", log.stderr);
    assert_eq!((&log.json()["log_id"], log.json()["count"].as_u64()), (&Value::from(log_id), Some(1)));
    assert_eq!(log.json()["commits"][0]["restorable"], true);
    let histogram = run(["log", &place.url(), "--histogram"]);
    assert!(histogram.stdout.contains('█'), "{}", histogram.stdout);
    let none = run(["--json", "log", &place.url(), "--until", "2000-01-01T00:00:00Z"]);
    assert_eq!(none.json()["count"], 0);

    assert_eq!(run(["snapshot", &db.display().to_string(), &place.url()]).code, 0);
    assert_eq!(run(["--json", "compact", &place.url()]).json()["merges"], Value::Array(Vec::new()));
    let kept = run(["--json", "expire", &place.url(), "--keep", "24h"]);
    assert_eq!((kept.code, &kept.json()["deleted"]), (0, &Value::from(false)), "{}", kept.stderr);
    assert_eq!(run(["expire", &place.url(), "--keep", "24h", "--confirm"]).code, 0);
    assert_eq!(run(["check", &place.url()]).code, 0);
}

#[test]
fn the_log_of_a_database_shows_what_is_in_its_segments() {
    let place = Place::new();
    let db = place.database("app.db");
    assert_eq!(run(["attach", &db.display().to_string()]).code, 0);
    let empty = run(["--json", "log", &db.display().to_string()]);
    assert_eq!((empty.code, &empty.json()["count"]), (0, &Value::from(0)), "{}", empty.stderr);
}

#[test]
fn exit_codes_say_what_is_the_matter() {
    let place = Place::new();
    let db = place.database("app.db");
    failed(&run(["log", &place.url()]), 10);
    failed(&run(["expire", &place.url(), "--keep", "24h"]), 10);
    assert_eq!(place.ship(&db).code, 0);
    let other = place.database("other.db");
    let fenced = place.ship(&other);
    assert!(failed(&fenced, 11).contains("of another database"));
    failed(&run(["log", "ftp://somewhere/x"]), 2);
    let secret = run(["ship", &db.display().to_string(), "s3://user:canary@bucket/x", "--once"]);
    assert!(!failed(&secret, 2).contains("canary"));
    assert_eq!(run(["ship", &db.display().to_string(), &place.url()]).code, 2, "without --once");
    assert_eq!(run(["log", &place.url(), "--since", "some day"]).code, 2);
}

#[test]
fn a_store_that_does_not_answer_is_an_error_without_secrets() {
    let place = Place::new();
    let db = place.database("app.db");
    let unreachable = |args: &[&str]| {
        let mut command = command();
        command.args(args);
        for (name, value) in [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "canary-id"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ] {
            command.env(name, value);
        }
        ran(command.output().unwrap())
    };
    let run = unreachable(&["ship", &db.display().to_string(), "s3://bucket/x", "--once", "--timeout", "1s"]);
    assert!(!failed(&run, 1).contains("canary"), "{}", run.stderr);
}
