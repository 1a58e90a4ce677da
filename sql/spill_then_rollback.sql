-- A spilled transaction is rolled back, and the next one takes its place in the log.
PRAGMA page_size=512;
PRAGMA journal_mode=WAL;
PRAGMA cache_size=5;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
INSERT INTO t VALUES(1, 'kept');
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<400)
  INSERT INTO t SELECT i, zeroblob(200) FROM n;
ROLLBACK;
SELECT count(*) FROM t;
INSERT INTO t VALUES(2, 'next');
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i+1 FROM n WHERE i<400)
  INSERT INTO t SELECT i, zeroblob(200) FROM n;
UPDATE t SET b='again' WHERE a=2;
COMMIT;
SELECT count(*), sum(length(b)) FROM t;
.open app.db
SELECT count(*), sum(length(b)) FROM t;
SELECT b FROM t WHERE a<3;
PRAGMA integrity_check;
