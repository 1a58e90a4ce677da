-- A database that may not grow: the transaction fails, nothing else does.
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
PRAGMA max_page_count=20;
INSERT INTO t VALUES(zeroblob(5000));
INSERT INTO t VALUES(zeroblob(50000));
SELECT count(*) FROM t;
PRAGMA page_count;
INSERT INTO t VALUES(zeroblob(5000));
PRAGMA max_page_count=1000;
INSERT INTO t VALUES(zeroblob(50000));
SELECT count(*), sum(length(a)) FROM t;
PRAGMA integrity_check;
