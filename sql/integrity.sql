-- integrity_check and quick_check after much moving about, with a foreign key and a CHECK that do not hold.
PRAGMA page_size=512;
PRAGMA journal_mode=WAL;
CREATE TABLE p(id INTEGER PRIMARY KEY);
CREATE TABLE t(a INTEGER PRIMARY KEY, b, p REFERENCES p, CHECK(b<>'bad'));
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400)
  INSERT INTO t(a, b) SELECT (i*211)%401, hex(i)||zeroblob(i) FROM n;
UPDATE t SET a=a+1000 WHERE a%3=0;
DELETE FROM t WHERE a%4=0;
UPDATE t SET b=substr(b, 1, 10);
PRAGMA quick_check;
PRAGMA integrity_check;
PRAGMA foreign_keys=OFF;
UPDATE t SET p=99 WHERE a=1;
PRAGMA foreign_key_check;
PRAGMA ignore_check_constraints=ON;
UPDATE t SET b='bad' WHERE a=1;
PRAGMA ignore_check_constraints=OFF;
PRAGMA integrity_check;
UPDATE t SET b='good', p=NULL WHERE a=1;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA integrity_check;
PRAGMA freelist_count;
