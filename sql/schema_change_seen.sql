-- A connection notices that another one changed the schema and the data.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open app.db
SELECT * FROM t;
.connection 0
ALTER TABLE t ADD COLUMN b DEFAULT 'b';
CREATE TABLE u(x);
.connection 1
SELECT * FROM t;
INSERT INTO u VALUES(1);
DROP TABLE t;
.connection 0
SELECT * FROM t;
SELECT * FROM u;
PRAGMA integrity_check;
