-- A checkpoint beside an open write transaction of another connection.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open app.db
BEGIN IMMEDIATE;
INSERT INTO t VALUES(2);
.connection 0
PRAGMA wal_checkpoint(PASSIVE);
PRAGMA wal_checkpoint(FULL);
PRAGMA wal_checkpoint(TRUNCATE);
SELECT sum(a) FROM t;
.connection 1
COMMIT;
.connection 0
PRAGMA wal_checkpoint(TRUNCATE);
SELECT sum(a) FROM t;
.connection close 1
PRAGMA integrity_check;
