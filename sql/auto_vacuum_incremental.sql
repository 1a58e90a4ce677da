-- auto_vacuum=INCREMENTAL keeps free pages until incremental_vacuum takes them.
PRAGMA page_size=1024;
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300)
  INSERT INTO t SELECT i, zeroblob(900) FROM n;
DELETE FROM t WHERE a>20;
PRAGMA page_count;
PRAGMA freelist_count;
PRAGMA incremental_vacuum(100);
PRAGMA page_count;
PRAGMA freelist_count;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA incremental_vacuum;
PRAGMA page_count;
PRAGMA freelist_count;
.open app.db
PRAGMA page_count;
SELECT count(*), sum(a) FROM t;
PRAGMA integrity_check;
