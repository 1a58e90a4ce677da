//! Leaving WAL mode and coming back, VACUUM, page sizes: what wants the database for itself.

use crate::steps::same_as_stock;

#[test]
fn journal_mode_delete_is_refused_while_the_other_process_has_it_open() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST"] {
        same_as_stock(&format!(
            "A: .open
            A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
            B: .open
            B: SELECT * FROM t
            = 1
            A: PRAGMA journal_mode={mode}
            ! SQLITE_BUSY database is locked
            A: PRAGMA journal_mode
            = wal
            B: BEGIN; SELECT * FROM t
            = 1
            A: PRAGMA journal_mode={mode}
            ! SQLITE_BUSY database is locked
            A: INSERT INTO t VALUES (2)
            B: COMMIT; SELECT count(*) FROM t; INSERT INTO t VALUES (3); PRAGMA integrity_check
            = 2
            = ok
            A: SELECT count(*) FROM t
            = 3"
        ));
    }
}

#[test]
fn journal_mode_delete_works_after_the_other_process_closed() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: INSERT INTO t VALUES (2)
        B: .close
        A: PRAGMA journal_mode=DELETE
        = delete
        P: .open
        P: SELECT * FROM t; PRAGMA journal_mode; INSERT INTO t VALUES (3)
        = 1
        = 2
        = delete
        P: .close
        A: SELECT count(*) FROM t
        = 3
        A: INSERT INTO t VALUES (4); PRAGMA integrity_check
        = ok
        A: .close
        B: .open
        B: PRAGMA journal_mode=WAL; SELECT count(*) FROM t; INSERT INTO t VALUES (5)
        = wal
        = 4
        A: .open
        A: SELECT count(*) FROM t; INSERT INTO t VALUES (6); PRAGMA journal_mode
        = 5
        = wal
        B: SELECT count(*) FROM t
        = 6",
    );
}

#[test]
fn the_other_process_comes_back_to_wal_mode() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        A: PRAGMA journal_mode=DELETE; INSERT INTO t VALUES (2)
        = delete
        # A stays open, and finds out when it next looks.
        B: .open
        B: PRAGMA journal_mode=WAL; INSERT INTO t VALUES (3)
        = wal
        A: SELECT count(*) FROM t; INSERT INTO t VALUES (4); PRAGMA journal_mode
        = 3
        = wal
        B: BEGIN; SELECT count(*) FROM t
        = 4
        A: INSERT INTO t VALUES (5)
        B: SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t; PRAGMA integrity_check
        = 4
        = 5
        = ok",
    );
}

#[test]
fn a_transaction_in_rollback_mode_keeps_the_other_process_from_wal_mode() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        A: PRAGMA journal_mode=DELETE
        = delete
        A: BEGIN IMMEDIATE; INSERT INTO t VALUES (2)
        B: PRAGMA journal_mode=WAL
        ! SQLITE_BUSY database is locked
        A: COMMIT
        B: PRAGMA journal_mode=WAL; SELECT count(*) FROM t
        = wal
        = 2
        A: INSERT INTO t VALUES (3); SELECT count(*) FROM t; PRAGMA journal_mode
        = 3
        = wal",
    );
}

#[test]
fn journal_mode_delete_works_after_the_other_process_was_killed() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: INSERT INTO t VALUES (2); BEGIN; INSERT INTO t VALUES (3)
        B: .kill
        A: PRAGMA journal_mode=DELETE; SELECT * FROM t
        = delete
        = 1
        = 2
        A: .close
        P: .open
        P: SELECT * FROM t; PRAGMA integrity_check
        = 1
        = 2
        = ok",
    );
}

#[test]
fn vacuum_beside_an_idle_connection_of_the_other_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x)
        A: WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)
           INSERT INTO t SELECT i, zeroblob(3000) FROM n; DELETE FROM t WHERE id > 10
        B: .open
        B: SELECT count(*) FROM t; PRAGMA page_count
        A: VACUUM
        B: SELECT count(*), sum(length(x)) FROM t; PRAGMA page_count; PRAGMA freelist_count; PRAGMA integrity_check
        = 10|30000
        = 12
        = 0
        = ok
        B: INSERT INTO t VALUES (11, 'x'); PRAGMA wal_checkpoint(TRUNCATE)
        A: SELECT count(*) FROM t; PRAGMA page_count
        B: BEGIN; SELECT count(*) FROM t
        = 11
        # A reader is not in the way, and does not notice.
        A: DELETE FROM t WHERE id < 5; VACUUM
        B: SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t
        = 11
        = 7
        B: BEGIN IMMEDIATE
        A: VACUUM
        ! SQLITE_BUSY database is locked
        B: COMMIT; VACUUM; PRAGMA integrity_check
        = ok",
    );
}

#[test]
fn page_size_and_auto_vacuum() {
    for size in [512, 65536] {
        same_as_stock(&format!(
            "A: .open
            A: PRAGMA page_size={size}; PRAGMA auto_vacuum=FULL; PRAGMA journal_mode=WAL
            A: CREATE TABLE t(id INTEGER PRIMARY KEY, x)
            A: WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
               INSERT INTO t SELECT i, zeroblob(3000) FROM n
            B: .open
            B: PRAGMA page_size; PRAGMA auto_vacuum; SELECT sum(length(x)) FROM t
            = {size}
            = 1
            = 300000
            B: BEGIN; SELECT count(*) FROM t
            = 100
            A: DELETE FROM t WHERE id > 10; PRAGMA page_count
            B: PRAGMA page_count; SELECT count(*) FROM t; COMMIT; PRAGMA page_count; SELECT count(*) FROM t
            B: INSERT INTO t VALUES (1000, zeroblob(5000)); PRAGMA integrity_check
            = ok
            A: PRAGMA wal_checkpoint(TRUNCATE); SELECT sum(length(x)) FROM t
            = 0|0|0
            = 35000"
        ));
    }
}

#[test]
fn a_new_database_that_two_processes_make() {
    same_as_stock(
        "A: .open
        B: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x)
        = wal
        B: INSERT INTO t VALUES (1); PRAGMA journal_mode
        = wal
        A: INSERT INTO t VALUES (2); SELECT * FROM t
        = 1
        = 2",
    );
}

#[test]
fn the_last_close_leaves_a_whole_file() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: INSERT INTO t VALUES (2)
        A: .close
        B: INSERT INTO t VALUES (3); SELECT * FROM t
        = 1
        = 2
        = 3
        A: .open
        A: INSERT INTO t VALUES (4)
        B: .close
        A: .close
        # Stock SQLite reads it, and the log is not there to help.
        P: .open app.db immutable=1
        P: SELECT * FROM t; PRAGMA integrity_check
        = 1
        = 2
        = 3
        = 4
        = ok",
    );
}
