-- A read-only connection reads, also what another connection commits meanwhile, and cannot write.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open --readonly app.db
SELECT sum(a) FROM t;
INSERT INTO t VALUES(2);
PRAGMA user_version=5;
BEGIN IMMEDIATE;
.connection 0
INSERT INTO t VALUES(4);
.connection 1
SELECT sum(a) FROM t;
PRAGMA journal_mode;
PRAGMA query_only=ON;
.connection 0
.connection close 1
PRAGMA query_only=ON;
INSERT INTO t VALUES(8);
PRAGMA query_only=OFF;
INSERT INTO t VALUES(16);
SELECT sum(a) FROM t;
