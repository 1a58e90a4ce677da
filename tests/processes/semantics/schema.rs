//! The schema that the other process changes, and what tells a connection that something has changed.

use crate::steps::same_as_stock;

#[test]
fn a_changed_schema_is_seen() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: SELECT * FROM t
        = 1
        A: ALTER TABLE t ADD COLUMN y DEFAULT 'y'; CREATE INDEX i ON t(x); CREATE VIEW v AS SELECT x + 1 FROM t
        B: SELECT * FROM t; SELECT * FROM v; SELECT x FROM t INDEXED BY i
        = 1|y
        = 2
        = 1
        B: ALTER TABLE t RENAME TO u
        A: SELECT * FROM u
        = 1|y
        A: SELECT * FROM t
        ! SQLITE_ERROR no such table: t
        B: BEGIN; SELECT * FROM u
        = 1|y
        A: ALTER TABLE u DROP COLUMN y
        B: SELECT * FROM u; COMMIT; SELECT * FROM u
        = 1|y
        = 1
        A: PRAGMA user_version=7; PRAGMA application_id=9
        B: PRAGMA user_version; PRAGMA application_id; PRAGMA integrity_check
        = 7
        = 9
        = ok",
    );
}

#[test]
fn a_table_dropped_by_the_other_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1); CREATE TABLE u(x)
        B: .open
        B: BEGIN; SELECT * FROM t
        = 1
        A: DROP TABLE t
        B: SELECT * FROM t
        = 1
        B: INSERT INTO t VALUES (2)
        ! SQLITE_BUSY_SNAPSHOT database is locked
        B: COMMIT
        B: SELECT * FROM t
        ! SQLITE_ERROR no such table: t
        B: CREATE TABLE t(y, z); INSERT INTO t VALUES (1, 2)
        A: SELECT * FROM t; PRAGMA integrity_check
        = 1|2
        = ok",
    );
}

#[test]
fn data_version_changes_with_the_commits_of_the_other_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: .data_version
        = first
        A: .data_version
        = first
        B: .data_version
        = same
        A: INSERT INTO t VALUES (2)
        B: .data_version
        = changed
        B: .data_version
        = same
        A: .data_version
        = same
        A: PRAGMA wal_checkpoint(PASSIVE)
        B: .data_version
        = same
        # A log that begins again makes SQLite look at everything anew.
        A: PRAGMA wal_checkpoint(TRUNCATE)
        B: .data_version
        B: INSERT INTO t VALUES (3)
        B: .data_version
        = same
        A: .data_version
        = changed
        A: BEGIN; INSERT INTO t VALUES (4); ROLLBACK
        B: .data_version
        = same",
    );
}

#[test]
fn temporary_tables_are_of_one_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        A: CREATE TEMP TABLE own(x); INSERT INTO own SELECT x + 1 FROM t; SELECT * FROM own
        = 2
        B: SELECT * FROM own
        ! SQLITE_ERROR no such table: own
        B: CREATE TEMP TABLE t(x); INSERT INTO t VALUES (7); SELECT * FROM t; SELECT * FROM main.t
        = 7
        = 1
        A: SELECT * FROM t; UPDATE t SET x = 2
        = 1
        B: SELECT * FROM t; DROP TABLE t; SELECT * FROM t
        = 7
        = 2",
    );
}

#[test]
fn a_trigger_and_a_foreign_key_of_the_other_process() {
    same_as_stock(
        "A: .open
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY); CREATE TABLE log(x)
        B: .open
        B: SELECT count(*) FROM t
        = 0
        A: CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id * 10); END
        A: CREATE TABLE child(t REFERENCES t)
        B: PRAGMA foreign_keys=ON; INSERT INTO t VALUES (1); SELECT * FROM log; INSERT INTO child VALUES (1)
        = 10
        B: INSERT INTO child VALUES (2)
        ! SQLITE_CONSTRAINT_FOREIGNKEY FOREIGN KEY constraint failed
        A: SELECT * FROM log; SELECT * FROM child
        = 10
        = 1",
    );
}
