-- The only connection to the database is a read-only one.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.open --readonly app.db
SELECT sum(a) FROM t;
PRAGMA journal_mode;
DELETE FROM t;
PRAGMA integrity_check;
.open app.db
INSERT INTO t VALUES(2);
SELECT sum(a) FROM t;
.open --readonly missing.db
SELECT count(*) FROM sqlite_schema;
