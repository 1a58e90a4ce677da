-- Statements that fail in the middle leave their transaction as it was before them.
PRAGMA journal_mode=WAL;
PRAGMA cache_size=5;
CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER CHECK(b<900));
BEGIN;
INSERT INTO t VALUES(1, 1);
WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<1000)
  INSERT INTO t SELECT i, i FROM n;
SELECT count(*) FROM t;
WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<1000)
  INSERT OR FAIL INTO t SELECT i, i FROM n;
SELECT count(*) FROM t;
UPDATE t SET b=b+1;
COMMIT;
SELECT count(*), sum(b) FROM t;
PRAGMA integrity_check;
