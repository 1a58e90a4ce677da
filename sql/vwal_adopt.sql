-- Existing databases become virtual when they are opened: from rollback mode, and from stock SQLite's WAL mode.
.open file:rollback.db?vfs=unix
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300)
  INSERT INTO t SELECT i, zeroblob(i) FROM n;
.open file:rollback.db?vfs=vwal
PRAGMA journal_mode;
SELECT vwal_log_id() IS NOT NULL;
SELECT count(*), sum(length(b)) FROM t;
INSERT INTO t VALUES(1000, 'x');
.open file:stockwal.db?vfs=unix
PRAGMA page_size=8192;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.open file:stockwal.db?vfs=vwal
PRAGMA journal_mode;
SELECT vwal_log_id() IS NOT NULL;
SELECT page_size FROM vwal_status;
INSERT INTO t VALUES(2);
SELECT sum(a) FROM t;
-- somebody else has it open: busy, and nothing is touched
.open file:inuse.db?vfs=unix
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
.connection 1
.open file:inuse.db?vfs=vwal
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(2);
SELECT sum(a) FROM t;
PRAGMA journal_mode;
.open file:rollback.db?vfs=vwal
SELECT count(*), sum(length(b)) FROM t;
.connection 1
.open file:inuse.db?vfs=vwal
SELECT sum(a) FROM t;
