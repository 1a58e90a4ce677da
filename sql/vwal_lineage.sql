-- The log id names one lineage of frame numbers: it outlives closing and checkpoints, and ends with WAL mode.
.open file:app.db?vfs=vwal
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
ATTACH ':memory:' AS was;
CREATE TEMP TABLE x(a);
.connection 1
.open file:notes.db?vfs=unix
ATTACH 'file:app.db?vfs=vwal' AS app;
CREATE TABLE was AS SELECT vwal_log_id('app') AS log_id, vwal_frame_no('app') AS frame_no;
.connection 0
.connection close 1
.open file:app.db?vfs=vwal
ATTACH 'file:notes.db?vfs=unix' AS notes;
SELECT vwal_log_id()=log_id, vwal_frame_no()=frame_no FROM notes.was;
SELECT vwal_checkpointed_frame_no()=frame_no FROM notes.was;
INSERT INTO t VALUES(2);
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(3);
VACUUM main;
SELECT vwal_log_id()=log_id, vwal_frame_no()>frame_no+2 FROM notes.was;
UPDATE notes.was SET frame_no=vwal_frame_no();
.open file:app.db?vfs=vwal
ATTACH 'file:notes.db?vfs=unix' AS notes;
SELECT vwal_log_id()=log_id, vwal_frame_no()=frame_no FROM notes.was;
PRAGMA main.journal_mode=DELETE;
PRAGMA main.journal_mode=WAL;
INSERT INTO t VALUES(4);
SELECT vwal_log_id()=log_id, vwal_frame_no()>0 FROM notes.was;
SELECT sum(a) FROM t;
PRAGMA main.integrity_check;
