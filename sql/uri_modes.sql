-- mode=ro, mode=rw and mode=rwc in a URI.
.open file:missing.db?mode=rw
.open file:made.db?mode=rwc
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.open file:made.db?mode=ro
SELECT * FROM t;
DELETE FROM t;
.open file:made.db?mode=rw
DELETE FROM t;
SELECT count(*) FROM t;
.open file:any.db?mode=memory
CREATE TABLE t(a);
PRAGMA journal_mode;
SELECT count(*) FROM t;
