-- VACUUM refuses to run inside a transaction.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
BEGIN;
INSERT INTO t VALUES(1);
VACUUM;
COMMIT;
VACUUM;
SELECT * FROM t;
