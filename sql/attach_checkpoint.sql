-- Checkpoints of one attached database, and of all of them.
PRAGMA journal_mode=WAL;
ATTACH 'two.db' AS two;
PRAGMA two.journal_mode=WAL;
CREATE TABLE main.t(a);
CREATE TABLE two.t(a);
PRAGMA main.wal_checkpoint(TRUNCATE);
PRAGMA two.wal_checkpoint(TRUNCATE);
INSERT INTO two.t VALUES(1);
PRAGMA two.wal_checkpoint;
PRAGMA main.wal_checkpoint;
INSERT INTO main.t VALUES(2);
INSERT INTO two.t VALUES(4);
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA two.wal_checkpoint;
ATTACH 'plain.db' AS plain;
CREATE TABLE plain.t(a);
PRAGMA plain.wal_checkpoint;
SELECT (SELECT a FROM main.t), (SELECT sum(a) FROM two.t);
