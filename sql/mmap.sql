-- mmap_size is harmless: what is written after the mapping, before and after a checkpoint and a VACUUM, is all seen.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
PRAGMA mmap_size=100000000;
PRAGMA cache_size=5;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
  INSERT INTO t SELECT i, printf('%0300d', i) FROM n;
PRAGMA wal_checkpoint(TRUNCATE);
UPDATE t SET b='short' WHERE a%2;
SELECT sum(length(b)) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT sum(length(b)) FROM t;
DELETE FROM t WHERE a>250;
VACUUM;
SELECT sum(length(b)) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, zeroblob(100000));
SELECT sum(length(b)) FROM t;
PRAGMA integrity_check;
PRAGMA mmap_size=0;
SELECT sum(length(b)) FROM t;
