-- Three connections at three different snapshots, and a fourth that writes on.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open app.db
BEGIN;
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(2);
.connection 2
.open app.db
BEGIN;
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(4);
PRAGMA wal_checkpoint(PASSIVE);
.connection 3
.open app.db
BEGIN;
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(8);
UPDATE t SET a=a*100;
PRAGMA wal_checkpoint(PASSIVE);
.connection 1
SELECT sum(a) FROM t;
.connection 2
SELECT sum(a) FROM t;
.connection 3
SELECT sum(a) FROM t;
.connection 0
SELECT sum(a) FROM t;
.connection close 1
.connection close 2
PRAGMA wal_checkpoint(PASSIVE);
.connection 3
SELECT sum(a) FROM t;
COMMIT;
SELECT sum(a) FROM t;
PRAGMA integrity_check;
