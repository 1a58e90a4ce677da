-- Savepoints: nested, released, rolled back, with the same name twice, and outside a transaction.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
SAVEPOINT one;
INSERT INTO t VALUES(1);
SAVEPOINT two;
INSERT INTO t VALUES(2);
ROLLBACK TO two;
INSERT INTO t VALUES(3);
RELEASE two;
SAVEPOINT one;
INSERT INTO t VALUES(4);
ROLLBACK TO one;
RELEASE one;
RELEASE one;
SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY a);
BEGIN;
INSERT INTO t VALUES(5);
SAVEPOINT s;
DELETE FROM t;
SELECT count(*) FROM t;
ROLLBACK TO s;
SELECT count(*) FROM t;
ROLLBACK;
RELEASE s;
SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY a);
.open app.db
SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY a);
PRAGMA integrity_check;
