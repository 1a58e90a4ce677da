-- journal_mode=DELETE leaves an ordinary database, which stock SQLite opens, writes, and hands back.
.open file:app.db?vfs=vwal
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)
  INSERT INTO t SELECT i, hex(i) FROM n;
UPDATE t SET b='changed' WHERE a%10=0;
PRAGMA journal_mode=DELETE;
.open file:app.db?vfs=unix
PRAGMA journal_mode;
SELECT count(*), sum(a), sum(length(b)) FROM t;
PRAGMA integrity_check;
INSERT INTO t VALUES(5000, 'by stock SQLite');
VACUUM;
PRAGMA journal_mode=WAL;
INSERT INTO t VALUES(5001, 'by stock SQLite, in WAL mode');
.open file:app.db?vfs=vwal
PRAGMA journal_mode;
SELECT vwal_log_id() IS NOT NULL;
SELECT count(*), sum(a), sum(length(b)) FROM t;
INSERT INTO t VALUES(5002, 'by vwal');
PRAGMA integrity_check;
