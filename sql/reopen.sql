-- Closed and opened again and again, with and without a checkpoint in between.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
INSERT INTO t VALUES(1, 'one');
.open app.db
PRAGMA journal_mode;
INSERT INTO t VALUES(2, 'two');
SELECT * FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
.open app.db
UPDATE t SET b=upper(b);
.open app.db
SELECT * FROM t;
BEGIN;
DELETE FROM t;
.open app.db
SELECT * FROM t;
DELETE FROM t WHERE a=1;
.open app.db
.open app.db
SELECT * FROM t;
PRAGMA integrity_check;
