//! What closing a connection ends, and what it leaves to others.

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, query};

#[test]
fn the_close_of_one_connection_does_not_end_the_wal_of_another() {
    same_as_stock(|lab, record| {
        let one = lab.create("a.db", "");
        record.ok(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        for round in 0..3 {
            let two = lab.open("a.db");
            record.ok(&two, &format!("INSERT INTO t VALUES ({round}); SELECT count(*) FROM t"));
            record.ok(&one, "BEGIN; SELECT count(*) FROM t");
            drop(two);
            record.note("the -wal is there", lab.wal("a.db").exists());
            record.ok(&one, "SELECT count(*) FROM t; COMMIT; PRAGMA wal_checkpoint(NOOP)");
            record.ok(&one, "INSERT INTO t VALUES (10)");
        }
        record.content(&one, "main");
    });
}

#[test]
fn the_close_of_one_connection_keeps_the_log() {
    let lab = Lab::new(Engine::Vwal);
    let one = lab.create("a.db", "");
    query(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    let two = lab.open("a.db");
    query(&two, "INSERT INTO t VALUES (2)");
    let before = query(&one, "SELECT vwal_log_id(), vwal_frame_no()");
    drop(two);
    assert_eq!(query(&one, "SELECT vwal_log_id(), vwal_frame_no()"), before);
    query(&one, "INSERT INTO t VALUES (3)");
    drop(one);
    let again = lab.open("a.db");
    let (log_id, frame_no) = before.split_once('|').unwrap();
    assert_eq!(query(&again, "SELECT vwal_log_id()"), log_id, "the log goes on after the last close");
    assert!(query(&again, "SELECT vwal_frame_no()").parse::<u64>().unwrap() > frame_no.parse().unwrap());
    assert_eq!(query(&again, "SELECT * FROM t"), "1\n2\n3");
}

#[test]
fn frame_numbers_go_on_over_many_opens() {
    let lab = Lab::new(Engine::Vwal);
    query(&lab.create("a.db", ""), "CREATE TABLE t(x)");
    let mut last = 0;
    for round in 0..20 {
        let db = lab.open("a.db");
        query(&db, &format!("INSERT INTO t VALUES ({round})"));
        let frame_no: u64 = query(&db, "SELECT vwal_frame_no()").parse().unwrap();
        assert!(frame_no > last, "{frame_no} comes after {last}");
        last = frame_no;
    }
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT count(*), sum(x) FROM t"), "20|190");
    assert_intact(&db, "main");
}

#[test]
fn connections_come_and_go_in_many_threads() {
    // The last one that closes and the first one that opens meet here, again and again.
    let lab = Lab::new(Engine::Vwal);
    query(&lab.create("a.db", "PRAGMA page_size=65536"), "CREATE TABLE t(thread, i)");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let lab = &lab;
            scope.spawn(move || {
                for i in 0..150 {
                    let db = lab.open("a.db");
                    db.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
                    query(&db, &format!("PRAGMA synchronous=OFF; INSERT INTO t VALUES ({thread}, {i})"));
                    let seen = query(&db, &format!("SELECT count(*) FROM t WHERE thread = {thread}"));
                    assert_eq!(seen, (i + 1).to_string());
                }
            });
        }
    });
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT count(*), count(DISTINCT thread * 1000 + i) FROM t"), "600|600");
    assert_intact(&db, "main");
}

#[test]
fn a_deleted_database_with_its_directory_left_over_starts_anew() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    query(&db, "CREATE TABLE old(x); INSERT INTO old VALUES (1)");
    let log_id = query(&db, "SELECT vwal_log_id()");
    drop(db);
    std::fs::remove_file(lab.path("a.db")).unwrap();
    assert!(lab.wal("a.db").is_dir());
    // As stock SQLite does with a -wal whose database is gone: a new, empty database.
    let db = lab.create("a.db", "PRAGMA page_size=1024");
    assert_eq!(query(&db, "SELECT count(*) FROM sqlite_schema"), "0");
    query(&db, "CREATE TABLE new(x); INSERT INTO new VALUES (2)");
    assert_ne!(query(&db, "SELECT vwal_log_id()"), log_id, "another database has another log");
    drop(db);
    let db = lab.open("a.db");
    assert_eq!(query(&db, "SELECT * FROM new; PRAGMA page_size"), "2\n1024");
    assert_intact(&db, "main");
}

#[test]
fn a_database_deleted_while_it_is_open_is_not_mixed_up_with_the_next() {
    let lab = Lab::new(Engine::Vwal);
    let old = lab.create("a.db", "");
    query(&old, "CREATE TABLE t(x); INSERT INTO t VALUES ('old')");
    std::fs::remove_file(lab.path("a.db")).unwrap();
    // It may be refused, or be another database; it is never the old one under a new name.
    if let Ok(new) = lab.open_with("a.db", "") {
        let seen = crate::text::run(&new, "SELECT count(*) FROM sqlite_schema; CREATE TABLE u(x)");
        assert!(seen == "0\n" || seen.starts_with('!') || seen.starts_with("0\n!"), "{seen:?}");
    }
    // And the old connection reads what it had.
    let seen = crate::text::run(&old, "SELECT * FROM t");
    assert!(seen == "old\n" || seen.starts_with('!'), "{seen:?}");
}
