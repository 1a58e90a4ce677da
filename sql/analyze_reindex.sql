-- ANALYZE, REINDEX and an index made over existing rows.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER, c TEXT COLLATE NOCASE);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000)
  INSERT INTO t SELECT i, i%17, printf('%x', i*i) FROM n;
CREATE INDEX t_bc ON t(b, c);
CREATE UNIQUE INDEX t_ca ON t(c, a);
ANALYZE;
SELECT count(*)>0 FROM sqlite_stat1;
REINDEX;
REINDEX NOCASE;
SELECT count(*), min(c), max(c) FROM t WHERE b=5;
DROP INDEX t_bc;
.open app.db
SELECT count(*), min(c), max(c) FROM t WHERE b=5;
PRAGMA integrity_check;
