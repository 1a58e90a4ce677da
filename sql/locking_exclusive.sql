-- locking_mode=EXCLUSIVE keeps other connections out until it is taken back.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
PRAGMA locking_mode=EXCLUSIVE;
INSERT INTO t VALUES(2);
PRAGMA wal_checkpoint(RESTART);
INSERT INTO t VALUES(4);
SELECT sum(a) FROM t;
.connection 1
.open app.db
SELECT sum(a) FROM t;
.connection 0
PRAGMA locking_mode=NORMAL;
SELECT sum(a) FROM t;
INSERT INTO t VALUES(8);
.connection 1
SELECT sum(a) FROM t;
INSERT INTO t VALUES(16);
.connection 0
SELECT sum(a) FROM t;
.connection close 1
PRAGMA integrity_check;
