-- VACUUM INTO makes a copy that is an ordinary database in rollback mode, and refuses to overwrite one.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)
  INSERT INTO t SELECT i, hex(i) FROM n;
VACUUM INTO 'copy.db';
INSERT INTO t VALUES(5000, 'later');
VACUUM INTO 'copy.db';
ATTACH 'copy.db' AS copy;
PRAGMA copy.journal_mode;
SELECT count(*), sum(a) FROM copy.t;
SELECT count(*), sum(a) FROM main.t;
PRAGMA copy.integrity_check;
DETACH copy;
PRAGMA integrity_check;
