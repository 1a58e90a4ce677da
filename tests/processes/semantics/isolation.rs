//! What a transaction of one process sees of the other's.

use crate::steps::same_as_stock;

#[test]
fn a_commit_is_seen_by_the_other_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL
        = wal
        A: CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: PRAGMA journal_mode
        = wal
        B: SELECT * FROM t
        = 1
        A: INSERT INTO t VALUES (2)
        B: SELECT * FROM t
        = 1
        = 2
        B: INSERT INTO t VALUES (3)
        A: SELECT sum(x) FROM t
        = 6
        sh: INSERT INTO t VALUES (4); SELECT sum(x) FROM t;
        = 10
        A: SELECT sum(x) FROM t
        = 10
        B: BEGIN; UPDATE t SET x = x + 100; ROLLBACK; SELECT sum(x) FROM t
        = 10
        A: SELECT sum(x) FROM t; PRAGMA integrity_check
        = 10
        = ok",
    );
}

#[test]
fn a_reader_keeps_its_snapshot() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'old')
        B: .open
        B: BEGIN; SELECT * FROM t
        = 1|old
        A: UPDATE t SET x = 'new'; INSERT INTO t VALUES (2, zeroblob(20))
        A: PRAGMA wal_checkpoint(PASSIVE)
        B: SELECT * FROM t
        = 1|old
        A: DELETE FROM t WHERE id = 1
        A: PRAGMA wal_checkpoint(FULL)
        B: SELECT * FROM t
        = 1|old
        A: PRAGMA wal_checkpoint(RESTART)
        A: UPDATE t SET x = 'newer'
        C: .open
        C: SELECT * FROM t
        = 2|newer
        B: SELECT * FROM t; SELECT count(*) FROM t
        = 1|old
        = 1
        B: COMMIT; SELECT * FROM t
        = 2|newer
        B: PRAGMA integrity_check
        = ok",
    );
}

#[test]
fn a_snapshot_outlasts_a_new_generation_of_the_log() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x)
        A: INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE)
        B: .open
        # It reads the database file alone, and keeps nobody from beginning the log again.
        B: BEGIN; SELECT * FROM t
        = 1
        A: INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)
        A: PRAGMA wal_checkpoint(RESTART)
        B: SELECT * FROM t
        = 1
        A: INSERT INTO t VALUES (4)
        B: SELECT * FROM t; COMMIT; SELECT count(*) FROM t
        = 1
        = 4
        A: PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES (5)
        B: BEGIN; SELECT count(*) FROM t
        = 5
        A: INSERT INTO t VALUES (6); PRAGMA wal_checkpoint
        B: SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t
        = 5
        = 6",
    );
}

#[test]
fn what_is_not_committed_is_not_seen() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; PRAGMA cache_size=5; CREATE TABLE t(x)
        B: .open
        B: SELECT count(*) FROM t
        = 0
        # Larger than the cache, so that frames are written before the commit.
        A: BEGIN; WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
           INSERT INTO t SELECT zeroblob(3000) FROM n
        B: SELECT count(*) FROM t
        = 0
        A: ROLLBACK
        B: SELECT count(*) FROM t
        = 0
        B: INSERT INTO t VALUES (1)
        A: SELECT count(*) FROM t
        = 1
        A: BEGIN; WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
           INSERT INTO t SELECT zeroblob(3000) FROM n; COMMIT
        B: SELECT count(*), sum(length(x)) FROM t; PRAGMA integrity_check
        = 201|600001
        = ok",
    );
}

#[test]
fn a_transaction_of_a_killed_process_is_as_if_it_had_never_been() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; PRAGMA cache_size=5; CREATE TABLE t(x); INSERT INTO t VALUES (0)
        B: .open
        B: SELECT count(*) FROM t
        = 1
        A: BEGIN; WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
           INSERT INTO t SELECT zeroblob(3000) FROM n
        B: BEGIN IMMEDIATE
        ! SQLITE_BUSY database is locked
        A: .kill
        B: BEGIN IMMEDIATE; INSERT INTO t VALUES (1); COMMIT
        B: SELECT * FROM t; PRAGMA integrity_check
        = 0
        = 1
        = ok
        C: .open
        C: SELECT * FROM t
        = 0
        = 1",
    );
}

#[test]
fn a_reader_that_was_killed_holds_nothing_up() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: BEGIN; SELECT count(*) FROM t
        = 1
        A: INSERT INTO t VALUES (2); PRAGMA wal_checkpoint(TRUNCATE)
        B: .kill
        A: PRAGMA wal_checkpoint(TRUNCATE)
        = 0|0|0
        A: INSERT INTO t VALUES (3); SELECT count(*) FROM t
        = 3",
    );
}
