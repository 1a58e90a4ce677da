-- A reader in the middle of a transaction holds a checkpoint up, and never sees what came after it began.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(2);
.connection 1
.open app.db
BEGIN;
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(4);
INSERT INTO t VALUES(8);
PRAGMA wal_checkpoint(PASSIVE);
PRAGMA wal_checkpoint(FULL);
PRAGMA wal_checkpoint(RESTART);
PRAGMA wal_checkpoint(TRUNCATE);
.connection 1
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(16);
.connection 1
SELECT sum(a) FROM t;
COMMIT;
SELECT sum(a) FROM t;
BEGIN;
SELECT sum(a) FROM t;
.connection 0
PRAGMA wal_checkpoint(PASSIVE);
PRAGMA wal_checkpoint(FULL);
PRAGMA wal_checkpoint(RESTART);
.connection 1
COMMIT;
.connection 0
PRAGMA wal_checkpoint(TRUNCATE);
SELECT sum(a) FROM t;
PRAGMA integrity_check;
