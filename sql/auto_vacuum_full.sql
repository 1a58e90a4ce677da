-- auto_vacuum=FULL gives pages back at each commit: the database shrinks.
PRAGMA page_size=1024;
PRAGMA auto_vacuum=FULL;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
  INSERT INTO t SELECT i, zeroblob(900) FROM n;
PRAGMA page_count;
DELETE FROM t WHERE a>10;
PRAGMA page_count;
PRAGMA freelist_count;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA page_count;
.open app.db
PRAGMA page_count;
SELECT count(*), sum(length(b)) FROM t;
WITH RECURSIVE n(i) AS (SELECT 11 UNION ALL SELECT i+1 FROM n WHERE i<300)
  INSERT INTO t SELECT i, zeroblob(900) FROM n;
DELETE FROM t WHERE a%2;
PRAGMA page_count;
PRAGMA integrity_check;
