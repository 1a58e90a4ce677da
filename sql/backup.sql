-- The backup API out of a database in WAL mode, into a new file, over an existing one, and back.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
  INSERT INTO t SELECT i, hex(i) FROM n;
.backup copy.db
INSERT INTO t VALUES(1000, 'later');
.connection 1
.open copy.db
PRAGMA page_size;
SELECT count(*), sum(a) FROM t;
INSERT INTO t VALUES(2000, 'in the copy');
SELECT count(*), sum(a) FROM t;
PRAGMA integrity_check;
.connection 0
.connection close 1
.backup copy.db
.connection 1
.open copy.db
SELECT count(*), sum(a) FROM t;
DELETE FROM t WHERE a>10;
.connection 0
.restore copy.db
SELECT count(*), sum(a) FROM t;
PRAGMA integrity_check;
INSERT INTO t VALUES(3000, 'restored');
.open app.db
SELECT count(*), sum(a) FROM t;
PRAGMA page_size;
PRAGMA integrity_check;
