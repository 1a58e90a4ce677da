//! `status`, `verify`, `attach` and `detach` on databases of all kinds.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::Value;

use crate::run::{Application, database, log_dir, on, run};

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
fn detach_names_a_file_of_somebody_else_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = database(dir.path(), "app.db");
    assert_eq!(on("attach", &db).code, 0);
    let stranger = dir.path().join("app.db-wal/.DS_Store");
    std::fs::write(&stranger, "not ours").unwrap();
    let refused = on("detach", &db);
    let message = refused.failed();
    assert!(message.contains(stranger.to_str().unwrap()) && message.contains("move it away"), "{message}");
    assert_eq!(std::fs::read_to_string(&stranger).unwrap(), "not ours");
    assert_eq!(on("verify", &db).code, 0);
    std::fs::remove_file(&stranger).unwrap();
    assert_eq!(on("detach", &db).code, 0);
    assert!(!dir.path().join("app.db-wal").exists());
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

    assert_eq!(on("attach", &db).json()["already"], true);
    let detach = on("detach", &db);
    assert!(detach.failed().contains(&format!("in use by process {pid}")), "{}", detach.stderr);

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
fn status_speaks_to_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("app.db");
    rusqlite::Connection::open(&db).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    assert_eq!(run([OsStr::new("attach"), db.as_os_str()]).code, 0);
    let status = run([OsStr::new("status"), OsStr::new("--prometheus"), db.as_os_str()]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(
        status.stdout.contains("\nvwal_frame_no{database=") && status.stdout.ends_with("# EOF\n"),
        "{}",
        status.stdout
    );
}
