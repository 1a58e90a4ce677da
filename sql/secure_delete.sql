-- secure_delete overwrites what is freed.
PRAGMA journal_mode=WAL;
PRAGMA secure_delete=ON;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
INSERT INTO t VALUES(1, 'canary'), (2, zeroblob(20000));
DELETE FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA freelist_count;
SELECT count(*) FROM t;
.open app.db
SELECT count(*) FROM t;
PRAGMA secure_delete=FAST;
INSERT INTO t VALUES(3, zeroblob(20000));
DELETE FROM t;
PRAGMA integrity_check;
