//! Shared cache mode: several connections on one page cache.

use crate::compare::same_as_stock;

#[test]
fn connections_share_pages_and_table_locks() {
    same_as_stock(|lab, record| {
        record.ok(&lab.create("a.db", ""), "CREATE TABLE t(x); CREATE TABLE u(x); INSERT INTO t VALUES (1)");
        let one = lab.open_with("a.db", "cache=shared").unwrap();
        let two = lab.open_with("a.db", "cache=shared").unwrap();
        let alone = lab.open_with("a.db", "cache=private").unwrap();
        record.ok(&one, "BEGIN; INSERT INTO t VALUES (2)");
        record.sql(&two, "SELECT * FROM t");
        record.sql(&two, "INSERT INTO u VALUES (1)");
        record.ok(&two, "PRAGMA read_uncommitted=1; SELECT * FROM t; PRAGMA read_uncommitted=0");
        record.ok(&alone, "SELECT * FROM t");
        record.sql(&alone, "INSERT INTO u VALUES (2)");
        record.ok(&one, "COMMIT");
        record.ok(&two, "SELECT * FROM t; INSERT INTO u VALUES (3)");
        record.sql(&two, "PRAGMA wal_checkpoint");
        drop(one);
        record.ok(&two, "INSERT INTO t VALUES (4)");
        record.content(&alone, "main");
        drop((two, alone));
        record.content(&lab.open("a.db"), "main");
    });
}

#[test]
fn attached_databases_share_pages_and_table_locks() {
    same_as_stock(|lab, record| {
        for name in ["a.db", "b.db"] {
            record.ok(&lab.create(name, ""), "CREATE TABLE t(x); INSERT INTO t VALUES (1)");
        }
        let open = || {
            let db = lab.open_with("a.db", "cache=shared").unwrap();
            db.execute_batch(&format!("ATTACH '{}' AS b", lab.engine.uri(&lab.path("b.db"), "cache=shared")))
                .unwrap();
            db
        };
        let (one, two) = (open(), open());
        let alone = lab.open_with("b.db", "cache=private").unwrap();
        record.ok(&one, "BEGIN; INSERT INTO t VALUES (2); INSERT INTO b.t VALUES (2)");
        record.sql(&two, "SELECT * FROM b.t");
        record.ok(&two, "PRAGMA read_uncommitted=1; SELECT * FROM b.t; PRAGMA read_uncommitted=0");
        record.ok(&alone, "SELECT * FROM t");
        record.ok(&one, "COMMIT");
        record.ok(&two, "SELECT * FROM t; SELECT * FROM b.t; INSERT INTO b.t VALUES (3)");
        record.ok(&alone, "SELECT * FROM t");
        record.sql(&one, "DETACH b");
        record.ok(&two, "INSERT INTO b.t VALUES (4); DELETE FROM t WHERE x = 1");
        drop(one);
        record.content(&two, "b");
        drop((two, alone));
        record.content(&lab.open("a.db"), "main");
        record.content(&lab.open("b.db"), "main");
    });
}
