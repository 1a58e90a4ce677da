-- A page cache of five pages: transactions larger than it write frames before they commit, and savepoints that are
-- rolled back overwrite them.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
PRAGMA cache_size=5;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
CREATE INDEX t_b ON t(b);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
  INSERT INTO t SELECT i, printf('%0100d', (i*7919)%1009) FROM n;
SAVEPOINT s1;
UPDATE t SET b=b||'x' WHERE a%3=0;
SAVEPOINT s2;
DELETE FROM t WHERE a%2=0;
SELECT count(*), sum(length(b)) FROM t;
ROLLBACK TO s2;
SELECT count(*), sum(length(b)) FROM t;
ROLLBACK TO s1;
SELECT count(*), sum(length(b)) FROM t;
UPDATE t SET b=b||'yy' WHERE a%7=0;
RELEASE s1;
COMMIT;
SELECT count(*), sum(length(b)), count(DISTINCT b) FROM t;
BEGIN;
UPDATE t SET b=printf('%0300d', a);
SAVEPOINT s3;
DELETE FROM t WHERE a>100;
ROLLBACK TO s3;
SELECT count(*), sum(length(b)) FROM t;
ROLLBACK;
SELECT count(*), sum(length(b)), count(DISTINCT b) FROM t;
PRAGMA integrity_check;
.open app.db
SELECT count(*), sum(length(b)), count(DISTINCT b) FROM t;
PRAGMA integrity_check;
