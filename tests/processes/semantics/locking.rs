//! Who has to wait for whom, and with which error.

use crate::steps::same_as_stock;

#[test]
fn a_second_writer_is_refused_at_once_without_a_timeout() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x)
        B: .open
        A: BEGIN IMMEDIATE
        B: BEGIN IMMEDIATE
        ! SQLITE_BUSY database is locked
        B: INSERT INTO t VALUES (2)
        ! SQLITE_BUSY database is locked
        B: SELECT count(*) FROM t
        = 0
        A: INSERT INTO t VALUES (1); COMMIT
        B: BEGIN IMMEDIATE
        A: BEGIN EXCLUSIVE
        ! SQLITE_BUSY database is locked
        B: INSERT INTO t VALUES (2); COMMIT
        A: SELECT * FROM t
        = 1
        = 2",
    );
}

#[test]
fn a_second_writer_waits_with_a_timeout() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x)
        B: .open
        B: .timeout 60000
        A: BEGIN IMMEDIATE; INSERT INTO t VALUES (1)
        B& BEGIN IMMEDIATE
        B...
        A: COMMIT
        B?
        # What was committed while it waited is there.
        B: SELECT * FROM t; INSERT INTO t VALUES (2); COMMIT
        = 1
        A: BEGIN IMMEDIATE
        B& INSERT INTO t VALUES (3)
        B...
        A: ROLLBACK
        B?
        A: SELECT * FROM t
        = 1
        = 2
        = 3
        A: BEGIN IMMEDIATE
        B: .timeout 300
        B: BEGIN IMMEDIATE
        ! SQLITE_BUSY database is locked
        A: COMMIT",
    );
}

#[test]
fn a_stale_snapshot_cannot_be_written_on() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: .timeout 60000
        B: BEGIN; SELECT * FROM t
        = 1
        A: INSERT INTO t VALUES (2)
        B: INSERT INTO t VALUES (3)
        ! SQLITE_BUSY_SNAPSHOT database is locked
        B: SELECT * FROM t
        = 1
        B: ROLLBACK; BEGIN; SELECT * FROM t; INSERT INTO t VALUES (3); COMMIT
        = 1
        = 2
        A: SELECT * FROM t
        = 1
        = 2
        = 3",
    );
}

#[test]
fn a_reader_that_wants_to_write_beside_a_writer_is_refused() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: .timeout 60000
        B: BEGIN; SELECT * FROM t
        = 1
        A: BEGIN IMMEDIATE; INSERT INTO t VALUES (2)
        # Waiting would be of no use: the snapshot is stale when the writer has committed.
        B: INSERT INTO t VALUES (3)
        ! SQLITE_BUSY database is locked
        A: ROLLBACK
        B: INSERT INTO t VALUES (3); COMMIT
        A: SELECT * FROM t
        = 1
        = 3",
    );
}

#[test]
fn locking_mode_exclusive_keeps_the_other_process_out() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        A: .close
        # Opened first: what an open reads of a database that is locked is not the subject here.
        B: .open
        A: .open
        A: PRAGMA locking_mode=EXCLUSIVE
        = exclusive
        A: INSERT INTO t VALUES (2)
        B: SELECT * FROM t
        ! SQLITE_BUSY database is locked
        B: BEGIN IMMEDIATE
        ! SQLITE_BUSY database is locked
        A: SELECT count(*) FROM t; PRAGMA wal_checkpoint
        # It never had a wal-index that others can see, so it cannot let them in.
        A: PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t
        = exclusive
        = 2
        B: SELECT * FROM t
        ! SQLITE_BUSY database is locked
        A: .close
        B: SELECT * FROM t; INSERT INTO t VALUES (3)
        = 1
        = 2
        A: .open
        A: SELECT count(*) FROM t
        = 3",
    );
}

#[test]
fn locking_mode_normal_lets_the_other_process_in_again() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        A: PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES (2)
        = exclusive
        B: SELECT * FROM t
        ! SQLITE_BUSY database is locked
        A: INSERT INTO t VALUES (3); PRAGMA wal_checkpoint
        A: PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t
        = normal
        = 3
        B: SELECT count(*) FROM t; INSERT INTO t VALUES (4)
        = 3
        A: INSERT INTO t VALUES (5); SELECT count(*) FROM t; PRAGMA integrity_check
        = 5
        = ok",
    );
}

#[test]
fn locking_mode_exclusive_needs_the_database_for_itself() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: SELECT * FROM t
        = 1
        A: .close
        A: .open
        A: PRAGMA locking_mode=EXCLUSIVE; SELECT * FROM t
        ! SQLITE_BUSY database is locked
        B: INSERT INTO t VALUES (2)
        B: .close
        A: SELECT * FROM t; INSERT INTO t VALUES (3); SELECT count(*) FROM t
        = 1
        = 2
        = 3",
    );
}

#[test]
fn locking_mode_exclusive_ends_with_its_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        A: .close
        B: .open
        A: .open
        A: PRAGMA locking_mode=EXCLUSIVE; INSERT INTO t VALUES (2); BEGIN; INSERT INTO t VALUES (3)
        = exclusive
        B: .timeout 60000
        B& SELECT count(*) FROM t
        B...
        A: .kill
        B?
        = 2
        B: INSERT INTO t VALUES (4); PRAGMA integrity_check
        = ok",
    );
}
