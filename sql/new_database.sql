-- A new database takes its page size, auto_vacuum and encoding from what is said before the first table.
PRAGMA page_size=2048;
PRAGMA auto_vacuum=FULL;
PRAGMA encoding='UTF-16le';
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES('Grüße, 世界');
PRAGMA page_size;
PRAGMA auto_vacuum;
PRAGMA encoding;
SELECT a, length(a), hex(a) FROM t;
.open app.db
PRAGMA page_size;
PRAGMA auto_vacuum;
PRAGMA encoding;
PRAGMA journal_mode;
SELECT a FROM t;
PRAGMA integrity_check;
