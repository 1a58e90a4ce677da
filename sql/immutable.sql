-- immutable=1 reads the database file alone: no log, no locks, no writes.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.open file:app.db?immutable=1
SELECT sum(a) FROM t;
PRAGMA integrity_check;
INSERT INTO t VALUES(2);
.open app.db
INSERT INTO t VALUES(4);
SELECT sum(a) FROM t;
