-- A database is emptied and filled again: its pages are freed and reused.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE a AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) SELECT i, hex(i) AS h FROM n;
CREATE TABLE b AS SELECT * FROM a;
PRAGMA wal_checkpoint(TRUNCATE);
DROP TABLE a;
DROP TABLE b;
PRAGMA freelist_count;
PRAGMA integrity_check;
CREATE TABLE c AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1500) SELECT i, hex(i) AS h FROM n;
SELECT count(*), sum(i) FROM c;
DELETE FROM c;
VACUUM;
PRAGMA page_count;
.open app.db
PRAGMA page_count;
PRAGMA integrity_check;
