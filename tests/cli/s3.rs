//! The way of a database to a server that speaks S3, and back.

use rusqlite::Connection;

use crate::run::{Run, command, ran};
use crate::servers;

fn on(server: &servers::Server, args: &[&str]) -> Run {
    let mut command = command();
    command.args(args);
    for (name, value) in server.environment() {
        command.env(name, value);
    }
    ran(command.output().unwrap())
}

#[test]
fn a_database_goes_to_a_server_and_comes_back() {
    let Some(server) = servers::seaweedfs() else { return };
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("app.db");
    Connection::open(&db)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO t SELECT randomblob(4000) FROM n;",
        )
        .unwrap();
    let (db, url) = (db.display().to_string(), server.fresh_url());
    for args in [
        vec!["check", &url],
        // More than one object: it does not compress.
        vec!["ship", &db, &url, "--once"],
        vec!["verify", &url, "--read-data"],
        vec!["log", &url],
    ] {
        let run = on(server, &args);
        assert_eq!(run.code, 0, "{args:?}: {}{}", run.stdout, run.stderr);
        assert!(!(run.stdout + &run.stderr).contains(servers::SECRET_KEY));
    }
    let back = dir.path().join("back.db");
    let restored = on(server, &["restore", &url, "-o", &back.display().to_string()]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    let sum = "SELECT count(*), total(length(x)), (SELECT hex(x) FROM t WHERE rowid = 2718) FROM t";
    let of = |path: &str| -> (i64, f64, String) {
        let db = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let problems: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(problems, "ok");
        db.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
    };
    assert_eq!(on(server, &["detach", &db]).code, 0);
    assert_eq!(of(&back.display().to_string()), of(&db));
    // A wrong secret is a matter of authentication.
    let mut denied = command();
    denied.args(["log", &url]);
    for (name, value) in server.environment() {
        denied.env(name, if name == "AWS_SECRET_ACCESS_KEY" { "wrong".into() } else { value });
    }
    assert_eq!(ran(denied.output().unwrap()).code, 12);
}
