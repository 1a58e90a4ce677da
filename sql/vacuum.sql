-- VACUUM rewrites the whole database through the log, before and after a checkpoint, and it shrinks.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)
  INSERT INTO t SELECT i, printf('%0200d', (i*31337)%10007) FROM n;
DELETE FROM t WHERE a%10<>0;
VACUUM;
PRAGMA freelist_count;
PRAGMA journal_mode;
SELECT count(*), sum(a), count(DISTINCT b) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
DELETE FROM t WHERE a>500;
VACUUM;
SELECT count(*), sum(a), count(DISTINCT b) FROM t;
PRAGMA page_count;
.open app.db
PRAGMA page_count;
SELECT count(*), sum(a), count(DISTINCT b) FROM t;
PRAGMA integrity_check;
