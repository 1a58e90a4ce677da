-- The very first transaction of a database is rolled back.
PRAGMA journal_mode=WAL;
BEGIN;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
ROLLBACK;
SELECT count(*) FROM sqlite_schema;
CREATE TABLE u(a);
INSERT INTO u VALUES(2);
SELECT name, (SELECT a FROM u) FROM sqlite_schema;
.open app.db
SELECT name, (SELECT a FROM u) FROM sqlite_schema;
PRAGMA integrity_check;
