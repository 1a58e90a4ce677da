//! `PRAGMA journal_size_limit` is accepted and harmless.

use crate::compare::same_as_stock;

#[test]
fn the_limit_loses_nothing() {
    for limit in [-1, 0, 20_000] {
        same_as_stock(|lab, record| {
            let db = lab.create("a.db", "");
            record.ok(
                &db,
                &format!("PRAGMA journal_size_limit={limit}; PRAGMA journal_size_limit; CREATE TABLE t(x)"),
            );
            for round in 0..5 {
                record.ok(&db, "INSERT INTO t VALUES (zeroblob(100000))");
                record.ok(&db, "PRAGMA wal_checkpoint(RESTART)");
                record.ok(&db, &format!("INSERT INTO t VALUES ({round})"));
                record.ok(&db, "SELECT count(*), sum(length(x)) FROM t; PRAGMA wal_checkpoint(NOOP)");
            }
            record.content(&lab.open("a.db"), "main");
        });
    }
}
