-- EXCLUSIVE before the database is in WAL mode: SQLite then keeps the wal-index in its own memory.
PRAGMA locking_mode=EXCLUSIVE;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
PRAGMA wal_checkpoint;
INSERT INTO t VALUES(2);
SELECT sum(a) FROM t;
.connection 1
.open app.db
SELECT sum(a) FROM t;
.connection 0
PRAGMA locking_mode=NORMAL;
INSERT INTO t VALUES(4);
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA journal_mode=DELETE;
PRAGMA locking_mode=NORMAL;
SELECT sum(a) FROM t;
.connection 1
SELECT sum(a) FROM t;
.connection close 0
PRAGMA journal_mode=WAL;
INSERT INTO t VALUES(8);
SELECT sum(a) FROM t;
PRAGMA integrity_check;
