//! `PRAGMA wal_checkpoint` beside the other process: busy, frames in the log, frames checkpointed.

use crate::steps::same_as_stock;

const MODES: [&str; 4] = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"];

#[test]
fn beside_a_reader_of_the_newest_commit() {
    for mode in MODES {
        same_as_stock(&format!(
            "A: .open
            A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)
            B: .open
            B: BEGIN; SELECT count(*) FROM t
            = 2
            A: PRAGMA wal_checkpoint({mode})
            A: INSERT INTO t VALUES (3)
            A: PRAGMA wal_checkpoint({mode})
            B: SELECT count(*) FROM t; COMMIT; SELECT count(*) FROM t
            = 2
            = 3
            A: PRAGMA wal_checkpoint({mode})
            A: INSERT INTO t VALUES (4)
            A: PRAGMA wal_checkpoint({mode})
            B: SELECT count(*) FROM t; PRAGMA integrity_check
            = 4
            = ok"
        ));
    }
}

#[test]
fn beside_a_reader_of_an_older_commit() {
    for mode in MODES {
        same_as_stock(&format!(
            "A: .open
            A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)
            B: .open
            B: BEGIN; SELECT count(*) FROM t
            = 2
            A: INSERT INTO t VALUES (3); UPDATE t SET x = x + 10; CREATE TABLE u(y)
            A: PRAGMA wal_checkpoint({mode})
            B: SELECT * FROM t
            = 1
            = 2
            A: INSERT INTO t VALUES (4)
            A: PRAGMA wal_checkpoint({mode})
            B: SELECT * FROM t; COMMIT; SELECT * FROM t
            = 1
            = 2
            = 11
            = 12
            = 13
            = 4
            A: PRAGMA wal_checkpoint({mode})
            = 0|{frames}|{frames}
            A: INSERT INTO t VALUES (5); PRAGMA wal_checkpoint({mode})
            B: SELECT sum(x) FROM t; PRAGMA wal_checkpoint({mode}); PRAGMA integrity_check",
            // TRUNCATE leaves no log.
            frames = if mode == "TRUNCATE" { 0 } else { FRAMES_OF_AN_OLDER_COMMIT }
        ));
    }
}

/// What the steps of [`beside_a_reader_of_an_older_commit`] write until then.
const FRAMES_OF_AN_OLDER_COMMIT: u32 = 9;

#[test]
fn of_the_reading_process() {
    for mode in MODES {
        same_as_stock(&format!(
            "A: .open
            A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
            B: .open
            B: PRAGMA wal_checkpoint({mode})
            A: INSERT INTO t VALUES (2)
            B: PRAGMA wal_checkpoint({mode})
            A: SELECT * FROM t; PRAGMA wal_checkpoint({mode})
            A: INSERT INTO t VALUES (3)
            B: SELECT * FROM t; PRAGMA wal_checkpoint(PASSIVE)
            A: .close
            B: SELECT * FROM t; PRAGMA wal_checkpoint({mode}); INSERT INTO t VALUES (4)
            B: PRAGMA wal_checkpoint; PRAGMA integrity_check"
        ));
    }
}

#[test]
fn beside_a_writer() {
    for mode in MODES {
        same_as_stock(&format!(
            "A: .open
            A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
            B: .open
            B: BEGIN IMMEDIATE; INSERT INTO t VALUES (2)
            A: PRAGMA wal_checkpoint({mode})
            B: PRAGMA wal_checkpoint({mode})
            ! SQLITE_LOCKED database table is locked
            B: COMMIT
            A: PRAGMA wal_checkpoint({mode}); SELECT * FROM t"
        ));
    }
}

#[test]
fn with_a_timeout_it_waits_for_the_reader() {
    for mode in ["RESTART", "TRUNCATE"] {
        same_as_stock(&format!(
            "A: .open
            A: .timeout 60000
            A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
            B: .open
            B: BEGIN; SELECT count(*) FROM t
            = 1
            A& PRAGMA wal_checkpoint({mode})
            A...
            B: COMMIT
            A?
            B: INSERT INTO t VALUES (2); SELECT count(*) FROM t
            = 2"
        ));
    }
}

#[test]
fn with_a_timeout_it_waits_for_the_writer() {
    same_as_stock(
        "A: .open
        A: .timeout 60000
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: BEGIN IMMEDIATE; INSERT INTO t VALUES (2)
        A& PRAGMA wal_checkpoint(FULL)
        A...
        B: COMMIT
        A?
        A: SELECT count(*) FROM t
        = 2",
    );
}

#[test]
fn while_another_checkpoint_waits() {
    same_as_stock(
        "A: .open
        A: .timeout 60000
        A: PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)
        B: .open
        B: BEGIN; SELECT count(*) FROM t
        = 1
        A& PRAGMA wal_checkpoint(TRUNCATE)
        A...
        C: .open
        C: SELECT count(*) FROM t
        = 1
        C: PRAGMA wal_checkpoint(PASSIVE)
        C: PRAGMA wal_checkpoint(FULL)
        C: SELECT count(*) FROM t
        = 1
        B: COMMIT
        A?
        C: INSERT INTO t VALUES (2); SELECT count(*) FROM t
        = 2",
    );
}

#[test]
fn the_log_grows_over_many_segments_beside_a_reader() {
    same_as_stock(
        "A: .open vwal_swap=frames%3E%3D20
        A: PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, x)
        B: .open vwal_swap=frames%3E%3D20
        A: WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
           INSERT INTO t SELECT i, zeroblob(3000) FROM n
        B: BEGIN; SELECT count(*), sum(length(x)) FROM t
        = 100|300000
        A: UPDATE t SET x = zeroblob(2000)
        C: .open vwal_swap=frames%3E%3D20
        C: BEGIN; SELECT count(*), sum(length(x)) FROM t
        = 100|200000
        A: UPDATE t SET x = zeroblob(1000); UPDATE t SET x = zeroblob(900) WHERE id % 2
        A: PRAGMA wal_checkpoint(PASSIVE)
        B: SELECT count(*), sum(length(x)) FROM t
        = 100|300000
        A: DELETE FROM t WHERE id > 50; UPDATE t SET x = zeroblob(4000)
        A: PRAGMA wal_checkpoint(PASSIVE)
        B: SELECT count(*), sum(length(x)) FROM t; COMMIT
        = 100|300000
        A: PRAGMA wal_checkpoint(PASSIVE)
        C: SELECT count(*), sum(length(x)) FROM t
        = 100|200000
        B: SELECT count(*), sum(length(x)) FROM t; INSERT INTO t VALUES (1000, zeroblob(9000))
        = 50|200000
        C: SELECT count(*), sum(length(x)) FROM t; COMMIT; PRAGMA integrity_check
        = 100|200000
        = ok
        A: PRAGMA wal_checkpoint(TRUNCATE); SELECT count(*), sum(length(x)) FROM t
        = 0|0|0
        = 51|209000
        A: .close
        B: .close
        C: .close
        # Alone: a log directory stays beside it under vwal, which stock SQLite refuses.
        P: .open immutable=1
        P: SELECT count(*), sum(length(x)) FROM t; PRAGMA integrity_check
        = 51|209000
        = ok",
    );
}
