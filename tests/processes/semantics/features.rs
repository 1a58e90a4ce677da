//! ATTACH, the backup API, savepoints, read-only connections, and large values between two processes.

use crate::steps::same_as_stock;

#[test]
fn attached_databases() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x)
        B: .open b.db
        B: PRAGMA journal_mode=WAL; CREATE TABLE u(y); INSERT INTO u VALUES (1)
        A: ATTACH 'b.db' AS b; SELECT * FROM b.u
        = 1
        A: BEGIN; INSERT INTO t VALUES (1); INSERT INTO b.u VALUES (2)
        B: SELECT * FROM u
        = 1
        B: BEGIN IMMEDIATE
        ! SQLITE_BUSY database is locked
        A: COMMIT
        B: SELECT * FROM u; INSERT INTO u VALUES (3); BEGIN IMMEDIATE
        = 1
        = 2
        A: INSERT INTO t SELECT y FROM b.u; SELECT count(*) FROM t
        = 4
        A: INSERT INTO b.u VALUES (4)
        ! SQLITE_BUSY database is locked
        B: COMMIT
        A: PRAGMA b.wal_checkpoint(FULL); DETACH b
        B: PRAGMA integrity_check
        = ok
        C: .open
        C: SELECT * FROM t
        = 1
        = 1
        = 2
        = 3",
    );
}

#[test]
fn a_backup_while_the_other_process_writes() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x)
        A: WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
           INSERT INTO t SELECT i, zeroblob(3000) FROM n
        B: .open
        B: SELECT count(*) FROM t
        = 100
        A: .backup copy.db 10
        B: UPDATE t SET x = zeroblob(2000) WHERE id < 50; INSERT INTO t VALUES (1000, 'x')
        B: PRAGMA wal_checkpoint
        A: .go
        = copied
        P: .open copy.db
        P: SELECT count(*), sum(length(x)) FROM t; PRAGMA integrity_check
        = 101|251001
        = ok
        B: DELETE FROM t WHERE id > 10
        A: SELECT count(*) FROM t
        = 10",
    );
}

#[test]
fn savepoints_beside_the_other_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; PRAGMA cache_size=5; CREATE TABLE t(id INTEGER PRIMARY KEY, x)
        B: .open
        B: SELECT count(*) FROM t
        = 0
        A: BEGIN; INSERT INTO t VALUES (1, 'kept'); SAVEPOINT s
        A: WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
           INSERT INTO t SELECT i, zeroblob(3000) FROM n
        B: SELECT count(*) FROM t
        = 0
        A: ROLLBACK TO s; INSERT INTO t VALUES (2, 'kept too'); RELEASE s
        B: SELECT count(*) FROM t
        = 0
        A: COMMIT
        B: SELECT * FROM t; PRAGMA integrity_check
        = 1|kept
        = 2|kept too
        = ok",
    );
}

#[test]
fn a_read_only_connection_beside_a_writing_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open mode=ro
        B: SELECT * FROM t
        = 1
        A: INSERT INTO t VALUES (2)
        B: SELECT count(*) FROM t
        = 2
        B: INSERT INTO t VALUES (3)
        ! SQLITE_READONLY attempt to write a readonly database
        B: BEGIN; SELECT count(*) FROM t
        = 2
        A: INSERT INTO t VALUES (3)
        A: PRAGMA wal_checkpoint
        B: SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t
        = 2
        = 3
        A: .close
        B: SELECT count(*) FROM t
        = 3
        B: .close
        A: .open
        A: SELECT count(*) FROM t
        = 3",
    );
}

#[test]
fn large_values_and_a_database_that_shrinks_and_grows() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x)
        B: .open
        B: INSERT INTO t VALUES (1, zeroblob(3000000))
        A: SELECT length(x), x = zeroblob(3000000) FROM t
        = 3000000|1
        A: UPDATE t SET x = zeroblob(10); PRAGMA incremental_vacuum
        B: SELECT length(x) FROM t; PRAGMA page_count
        B: INSERT INTO t VALUES (2, zeroblob(100000)); PRAGMA wal_checkpoint(TRUNCATE)
        = 0|0|0
        A: SELECT sum(length(x)) FROM t; PRAGMA page_count; PRAGMA integrity_check",
    );
}

#[test]
fn short_shells_beside_a_member_that_stays() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x)
        sh: INSERT INTO t VALUES (1); PRAGMA journal_mode;
        = wal
        A: BEGIN; SELECT count(*) FROM t
        = 1
        sh: INSERT INTO t VALUES (2); PRAGMA wal_checkpoint; SELECT count(*) FROM t;
        A: SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t
        = 1
        = 2
        A: .close
        sh: INSERT INTO t VALUES (3); PRAGMA integrity_check; SELECT count(*) FROM t;
        = ok
        = 3
        P: .open immutable=1
        P: SELECT count(*) FROM t; PRAGMA integrity_check
        = 3
        = ok",
    );
}
