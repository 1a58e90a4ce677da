-- WAL mode cannot be left while another connection has the database open.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open app.db
SELECT sum(a) FROM t;
.connection 0
PRAGMA journal_mode=DELETE;
PRAGMA journal_mode;
INSERT INTO t VALUES(2);
.connection 1
SELECT sum(a) FROM t;
.connection 0
.connection close 1
PRAGMA journal_mode=DELETE;
PRAGMA journal_mode;
INSERT INTO t VALUES(4);
SELECT sum(a) FROM t;
PRAGMA integrity_check;
