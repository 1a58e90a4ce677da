-- Two connections that share one cache: table locks, and uncommitted reads when asked for.
.open file:app.db?cache=shared
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open file:app.db?cache=shared
SELECT sum(a) FROM t;
BEGIN;
INSERT INTO t VALUES(2);
.connection 0
SELECT sum(a) FROM t;
PRAGMA read_uncommitted=ON;
SELECT sum(a) FROM t;
.connection 1
ROLLBACK;
.connection 0
SELECT sum(a) FROM t;
INSERT INTO t VALUES(4);
.connection close 1
SELECT sum(a) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA integrity_check;
