-- The page size of a database in WAL mode is fixed: VACUUM changes it only after leaving WAL mode.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300)
  INSERT INTO t SELECT i, hex(i*i) FROM n;
PRAGMA page_size=8192;
VACUUM;
PRAGMA page_size;
PRAGMA journal_mode=DELETE;
PRAGMA page_size=8192;
VACUUM;
PRAGMA page_size;
SELECT count(*), sum(a), max(length(b)) FROM t;
PRAGMA journal_mode=WAL;
INSERT INTO t VALUES(0, 'after');
SELECT count(*), sum(a) FROM t;
PRAGMA page_size;
PRAGMA integrity_check;
