-- Temporary tables and views live beside a database in WAL mode, and go with the connection.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
CREATE TEMP TABLE tt(a);
INSERT INTO t VALUES(1);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000)
  INSERT INTO tt SELECT i FROM n;
CREATE TEMP TRIGGER tr AFTER INSERT ON main.t BEGIN INSERT INTO tt VALUES(-new.a); END;
INSERT INTO t VALUES(2);
SELECT (SELECT sum(a) FROM t), (SELECT sum(a) FROM tt);
BEGIN;
INSERT INTO t VALUES(4);
DELETE FROM tt;
ROLLBACK;
SELECT (SELECT sum(a) FROM t), (SELECT sum(a) FROM tt);
PRAGMA temp_store=FILE;
CREATE TEMP TABLE tf AS SELECT a, zeroblob(1000) AS b FROM t;
SELECT count(*), sum(length(b)) FROM tf;
PRAGMA temp.journal_mode;
.open app.db
SELECT count(*) FROM t;
SELECT count(*) FROM tt;
