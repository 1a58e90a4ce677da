-- Every level of synchronous commits, and each reads back.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
PRAGMA synchronous=OFF;
INSERT INTO t VALUES(1);
PRAGMA synchronous;
PRAGMA synchronous=NORMAL;
INSERT INTO t VALUES(2);
PRAGMA synchronous;
PRAGMA synchronous=FULL;
INSERT INTO t VALUES(4);
PRAGMA synchronous;
PRAGMA synchronous=EXTRA;
INSERT INTO t VALUES(8);
PRAGMA synchronous;
PRAGMA fullfsync=ON;
PRAGMA checkpoint_fullfsync=ON;
INSERT INTO t VALUES(16);
PRAGMA wal_checkpoint(RESTART);
SELECT sum(a) FROM t;
.open app.db
SELECT sum(a) FROM t;
