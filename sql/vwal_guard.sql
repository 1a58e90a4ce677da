-- While the log is there, stock SQLite refuses the database: it can neither read stale pages nor write behind vwal.
.open file:app.db?vfs=vwal
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open file:app.db?vfs=unix
SELECT * FROM t;
INSERT INTO t VALUES(2);
PRAGMA journal_mode=DELETE;
.connection 0
INSERT INTO t VALUES(4);
-- closed: the database file holds everything, but the guard stays
.open :memory:
.connection 1
.open file:app.db?vfs=unix
SELECT * FROM t;
.open file:app.db?vfs=unix&immutable=1
SELECT sum(a) FROM t;
PRAGMA integrity_check;
.open file:app.db?vfs=vwal
SELECT sum(a) FROM t;
