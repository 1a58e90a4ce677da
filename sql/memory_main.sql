-- A main database in memory is left alone.
.open :memory:
PRAGMA journal_mode;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
SELECT * FROM t;
ATTACH 'file.db' AS f;
PRAGMA f.journal_mode=WAL;
CREATE TABLE f.t AS SELECT 2 AS a;
SELECT main.t.a, f.t.a FROM main.t, f.t;
PRAGMA f.wal_checkpoint(TRUNCATE);
DETACH f;
ATTACH 'file.db' AS f;
SELECT a FROM f.t;
PRAGMA f.journal_mode;
