-- Values larger than a page, than the cache and than a segment of the log.
PRAGMA journal_mode=WAL;
PRAGMA cache_size=20;
CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
INSERT INTO t VALUES(1, zeroblob(1000000));
INSERT INTO t VALUES(2, zeroblob(8000000));
INSERT INTO t VALUES(3, CAST(printf('%.*c', 3000000, 'x') AS BLOB));
SELECT a, length(b), hex(substr(b, -2)) FROM t;
UPDATE t SET b=CAST(b AS BLOB)||x'ff' WHERE a<>2;
DELETE FROM t WHERE a=2;
PRAGMA freelist_count;
SELECT a, length(b), hex(substr(b, -2)) FROM t;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT a, length(b), hex(substr(b, -2)) FROM t;
.open app.db
SELECT a, length(b), hex(substr(b, -2)) FROM t;
PRAGMA integrity_check;
