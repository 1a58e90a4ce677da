-- journal_size_limit cuts the log after a restart; what is committed stays.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
PRAGMA journal_size_limit=2048;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, zeroblob(800) FROM n;
PRAGMA wal_checkpoint(RESTART);
INSERT INTO t VALUES(1000, 'a');
INSERT INTO t VALUES(1001, 'b');
SELECT count(*), sum(length(b)) FROM t;
PRAGMA journal_size_limit=0;
PRAGMA wal_checkpoint(RESTART);
INSERT INTO t VALUES(1002, 'c');
SELECT count(*), sum(length(b)) FROM t;
.open app.db
SELECT count(*), sum(length(b)) FROM t;
PRAGMA integrity_check;
