//! In-memory and temporary databases of a connection that names the VFS `vwal`: as without it.

use crate::compare::same_as_stock;
use crate::lab::{Engine, open_uri};

fn with_vfs(engine: Engine, uri: &str) -> String {
    match engine {
        Engine::Stock => uri.to_owned(),
        Engine::Vwal => format!("{uri}{}vfs=vwal", if uri.contains('?') { '&' } else { '?' }),
    }
}

const WORK: &str =
    "CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2);
    ROLLBACK TO s; COMMIT; SELECT * FROM t; PRAGMA page_count";

#[test]
fn in_memory_databases() {
    for name in ["file::memory:", "file:one?mode=memory", "file:/two?mode=memory&cache=shared"] {
        same_as_stock(|lab, record| {
            let db = open_uri(&with_vfs(lab.engine, name)).unwrap();
            record.ok(&db, "PRAGMA journal_mode; PRAGMA journal_mode=WAL");
            record.ok(&db, WORK);
            record.ok(&db, "VACUUM");
            record.content(&db, "main");
        });
    }
}

#[test]
fn a_shared_memory_database() {
    same_as_stock(|lab, record| {
        let uri = with_vfs(lab.engine, "file:shared-by-two?mode=memory&cache=shared");
        let one = open_uri(&uri).unwrap();
        let two = open_uri(&uri).unwrap();
        record.ok(&one, "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        record.ok(&two, "SELECT * FROM t");
        record.ok(&one, "BEGIN; INSERT INTO t VALUES (2)");
        record.sql(&two, "SELECT * FROM t");
        record.ok(&one, "COMMIT");
        record.content(&two, "main");
    });
}

#[test]
fn a_temporary_file_as_main_database() {
    same_as_stock(|lab, record| {
        let db = open_uri(&with_vfs(lab.engine, "file:")).unwrap();
        record.ok(&db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=5");
        record.ok(&db, WORK);
        record.ok(
            &db,
            "INSERT INTO t SELECT zeroblob(5000) FROM t, (VALUES (1), (2), (3), (4), (5), (6), (7), (8))",
        );
        record.ok(&db, "SELECT count(*), sum(length(x)) FROM t");
        record.content(&db, "main");
    });
}

#[test]
fn temp_tables_and_sorter_files_of_a_database() {
    for store in ["FILE", "MEMORY"] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "PRAGMA cache_size=10; PRAGMA temp.cache_size=5");
            record.ok(&db, &format!("PRAGMA temp_store={store}; CREATE TABLE t(x)"));
            record.ok(&db, "CREATE TEMP TABLE scratch(id INTEGER PRIMARY KEY, body)");
            record.ok(
                &db,
                "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                 INSERT INTO scratch SELECT i, zeroblob(400) || (i * 7919 % 500) FROM n",
            );
            record.ok(&db, "BEGIN; DELETE FROM scratch WHERE id % 2; INSERT INTO t VALUES (1); ROLLBACK");
            record.ok(&db, "CREATE INDEX temp.by_body ON scratch(body)");
            record
                .ok(&db, "INSERT INTO t SELECT body FROM scratch ORDER BY body DESC; SELECT count(*) FROM t");
            record.content(&db, "temp");
            record.content(&db, "main");
        });
    }
}
