-- A connection that comes second, and whose first statement writes, while nobody else is in a transaction.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.open app.db
SELECT * FROM t;
.connection 1
.open app.db
INSERT INTO t VALUES(2);
.connection 2
.open --readonly app.db
SELECT sum(a) FROM t;
.connection 3
.open app.db
BEGIN IMMEDIATE;
INSERT INTO t VALUES(4);
ROLLBACK;
.connection 0
INSERT INTO t VALUES(8);
BEGIN IMMEDIATE;
COMMIT;
.connection 1
INSERT INTO t VALUES(16);
BEGIN IMMEDIATE;
ROLLBACK;
.connection 3
INSERT INTO t VALUES(32);
SELECT sum(a) FROM t;
.connection 2
SELECT sum(a) FROM t;
