-- dbstat reads every page of the database through the pager.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100)
  INSERT INTO t SELECT i, zeroblob(2000) FROM n;
SELECT pagetype, count(*), sum(ncell) FROM dbstat WHERE name='t' GROUP BY pagetype ORDER BY pagetype;
PRAGMA wal_checkpoint(TRUNCATE);
DELETE FROM t WHERE a>50;
SELECT pagetype, count(*), sum(ncell) FROM dbstat WHERE name='t' GROUP BY pagetype ORDER BY pagetype;
SELECT sum(pgsize)/1024 = (SELECT page_count-(SELECT freelist_count FROM pragma_freelist_count) FROM pragma_page_count) FROM dbstat;
