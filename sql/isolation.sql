-- Two connections: snapshots, a stale writer, one writer at a time.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open app.db
BEGIN;
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(2);
SELECT sum(a) FROM t;
.connection 1
SELECT sum(a) FROM t;
INSERT INTO t VALUES(4);
ROLLBACK;
SELECT sum(a) FROM t;
BEGIN IMMEDIATE;
INSERT INTO t VALUES(8);
.connection 0
SELECT sum(a) FROM t;
INSERT INTO t VALUES(16);
BEGIN IMMEDIATE;
.connection 1
COMMIT;
.connection 0
SELECT sum(a) FROM t;
BEGIN EXCLUSIVE;
INSERT INTO t VALUES(16);
.connection 1
SELECT sum(a) FROM t;
.connection 0
ROLLBACK;
SELECT sum(a) FROM t;
PRAGMA integrity_check;
