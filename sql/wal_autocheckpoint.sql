-- Automatic checkpoints: their default, another threshold, and none.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
PRAGMA wal_autocheckpoint;
PRAGMA wal_autocheckpoint=10;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100)
  INSERT INTO t SELECT i, zeroblob(500) FROM n;
UPDATE t SET b='x' WHERE a=1;
UPDATE t SET b='y' WHERE a=2;
UPDATE t SET b='z' WHERE a=50;
PRAGMA wal_autocheckpoint=0;
INSERT INTO t VALUES(1000, zeroblob(50000));
INSERT INTO t VALUES(1001, zeroblob(50000));
SELECT count(*), sum(length(b)) FROM t;
PRAGMA wal_autocheckpoint=1;
INSERT INTO t VALUES(1002, 'w');
PRAGMA wal_checkpoint(TRUNCATE);
SELECT count(*), sum(length(b)) FROM t;
.open app.db
SELECT count(*), sum(length(b)) FROM t;
PRAGMA integrity_check;
