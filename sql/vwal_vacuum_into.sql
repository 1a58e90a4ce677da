-- VACUUM INTO and a rollback-mode copy are ordinary files: no log beside them, readable by stock SQLite.
.open file:app.db?vfs=vwal
CREATE TABLE t(a);
INSERT INTO t VALUES(1),(2),(3);
VACUUM INTO 'copy.db';
ATTACH 'file:copy.db?vfs=unix' AS copy;
PRAGMA copy.journal_mode;
SELECT sum(a) FROM copy.t;
SELECT vwal_log_id('copy') IS NULL;
PRAGMA copy.integrity_check;
INSERT INTO copy.t VALUES(4);
SELECT sum(a) FROM main.t;
