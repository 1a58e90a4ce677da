-- The same database twice on one connection: a second handle, with its own view and its own locks.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
ATTACH 'app.db' AS same;
INSERT INTO main.t VALUES(1);
SELECT count(*) FROM same.t;
INSERT INTO same.t VALUES(2);
SELECT count(*) FROM main.t;
BEGIN;
INSERT INTO main.t VALUES(3);
INSERT INTO same.t VALUES(4);
COMMIT;
SELECT sum(a) FROM same.t;
DETACH same;
SELECT sum(a) FROM t;
PRAGMA integrity_check;
