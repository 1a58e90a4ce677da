//! The backup API, with vwal on either side.

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::compare::same_as_stock;
use crate::lab::{Engine, Lab};
use crate::text::{assert_intact, dump, query};

const FILL: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB);
    WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO t SELECT i, zeroblob(700) || i FROM n";

fn copy(from: &Connection, to: &mut Connection, pages: i32) {
    let backup = Backup::new(from, to).expect("the backup starts");
    backup.run_to_completion(pages, Duration::ZERO, None).expect("the backup ends");
}

#[test]
fn from_vwal_to_a_plain_database() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "PRAGMA page_size=1024");
        record.ok(&db, FILL);
        let mut plain = lab.open_stock("b.db").unwrap();
        copy(&db, &mut plain, 17);
        record.ok(&plain, "PRAGMA page_size; PRAGMA page_count");
        record.content(&plain, "main");
    });
}

#[test]
fn from_a_plain_database_to_a_new_one() {
    for size in [512, 4096, 65536] {
        same_as_stock(|lab, record| {
            let plain = lab.open_stock("a.db").unwrap();
            plain.execute_batch(&format!("PRAGMA page_size={size}")).unwrap();
            record.ok(&plain, FILL);
            let mut db = lab.open("b.db");
            copy(&plain, &mut db, 17);
            record.ok(&db, "PRAGMA page_size; PRAGMA page_count");
            record.content(&db, "main");
            record.ok(&db, "UPDATE t SET body = id WHERE id % 2");
            drop(db);
            let db = lab.open("b.db");
            record.content(&db, "main");
        });
    }
}

#[test]
fn from_a_plain_database_over_an_existing_one() {
    for pages in [100, 2] {
        same_as_stock(|lab, record| {
            let plain = lab.open_stock("a.db").unwrap();
            record.ok(&plain, FILL);
            record.ok(&plain, &format!("DELETE FROM t WHERE id > {pages}; VACUUM"));
            let mut db = lab.create("b.db", "");
            record.ok(&db, FILL);
            record.ok(&db, "CREATE TABLE old(x); INSERT INTO old VALUES (1)");
            copy(&plain, &mut db, 5);
            record.ok(&db, "PRAGMA page_count");
            record.content(&db, "main");
            record.ok(&db, "PRAGMA journal_mode=WAL; INSERT INTO t VALUES (5000, 'after')");
            drop(db);
            let db = lab.open("b.db");
            record.content(&db, "main");
        });
    }
}

#[test]
fn a_target_of_another_page_size_is_refused_in_wal_mode() {
    same_as_stock(|lab, record| {
        let plain = lab.open_stock("a.db").unwrap();
        plain.execute_batch("PRAGMA page_size=512").unwrap();
        record.ok(&plain, FILL);
        let mut db = lab.create("b.db", "PRAGMA page_size=4096");
        record.ok(&db, "CREATE TABLE old(x); INSERT INTO old VALUES (1)");
        {
            let backup = Backup::new(&plain, &mut db).unwrap();
            record.note("step", format!("{:?}", backup.step(-1)));
        }
        record.content(&db, "main");
    });
}

#[test]
fn from_vwal_to_vwal_while_the_source_changes() {
    same_as_stock(|lab, record| {
        let db = lab.create("a.db", "");
        record.ok(&db, FILL);
        let other = lab.open("a.db");
        let mut target = lab.open("b.db");
        {
            let backup = Backup::new(&db, &mut target).unwrap();
            let mut steps = 0;
            loop {
                let step = backup.step(20).unwrap();
                record.note("step", format!("{step:?} {:?}", backup.progress()));
                if step == StepResult::Done {
                    break;
                }
                if steps < 2 {
                    record.ok(&other, &format!("INSERT INTO t VALUES ({}, 'while it runs')", 1000 + steps));
                }
                steps += 1;
                assert!(steps < 200, "the backup ends");
            }
        }
        record.content(&target, "main");
        record.content(&db, "main");
    });
}

#[test]
fn a_backup_target_becomes_virtual() {
    let lab = Lab::new(Engine::Vwal);
    let plain = lab.open_stock("a.db").unwrap();
    plain.execute_batch(FILL).unwrap();
    let mut db = lab.open("b.db");
    copy(&plain, &mut db, 1000);
    let expected = dump(&plain, "main");
    assert_eq!(dump(&db, "main"), expected);
    drop(db);
    let db = lab.open("b.db");
    assert_eq!(query(&db, "PRAGMA journal_mode"), "wal");
    assert!(lab.wal("b.db").is_dir());
    assert_intact(&db, "main");
    assert_eq!(dump(&db, "main"), expected);
}
