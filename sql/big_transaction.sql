-- A transaction of many thousand pages, rolled back once and then committed.
PRAGMA journal_mode=WAL;
PRAGMA cache_size=50;
CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER, c TEXT);
CREATE INDEX t_b ON t(b);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60000)
  INSERT INTO t SELECT i, (i*7919)%60013, printf('%0100d', i) FROM n;
SELECT count(*), sum(b) FROM t;
ROLLBACK;
SELECT count(*), sum(b) FROM t;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60000)
  INSERT INTO t SELECT i, (i*7919)%60013, printf('%0100d', i) FROM n;
UPDATE t SET c='' WHERE a%100=0;
COMMIT;
SELECT count(*), sum(b), sum(length(c)) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT count(*), sum(b), sum(length(c)) FROM t INDEXED BY t_b WHERE b<1000;
.open app.db
SELECT count(*), sum(b), sum(length(c)) FROM t;
PRAGMA integrity_check;
