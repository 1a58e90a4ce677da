-- The SQL functions on a virtual database: how the frame numbers move, and what the two commands give.
.open file:app.db?vfs=vwal
SELECT typeof(vwal_version()), vwal_version() GLOB '[0-9]*.[0-9]*.[0-9]*';
CREATE TABLE t(a);
CREATE TEMP TABLE was(log_id, frame_no);
INSERT INTO was SELECT vwal_log_id(), vwal_frame_no();
SELECT vwal_log_id() GLOB '????????-????-7???-[89ab]???-????????????', length(vwal_log_id());
SELECT vwal_log_id()=vwal_log_id('main'), vwal_log_id()=vwal_log_id(NULL), vwal_log_id()=vwal_log_id('MAIN');
SELECT typeof(frame_no) FROM was;
-- one page changes: one frame
INSERT INTO t VALUES(1);
SELECT vwal_frame_no()-frame_no FROM was;
-- no commit, no frame number
BEGIN;
INSERT INTO t VALUES(2);
SELECT vwal_frame_no()-frame_no FROM was;
ROLLBACK;
SELECT vwal_frame_no()-frame_no FROM was;
-- reading and a checkpoint of SQLite's do not move it
SELECT count(*) FROM t;
PRAGMA wal_checkpoint(PASSIVE);
SELECT vwal_frame_no()-frame_no FROM was;
SELECT vwal_checkpointed_frame_no()<=vwal_durable_frame_no(), vwal_durable_frame_no()<=vwal_frame_no();
PRAGMA synchronous=OFF;
INSERT INTO t VALUES(3);
SELECT vwal_sync()=vwal_frame_no();
SELECT vwal_durable_frame_no()=vwal_frame_no();
SELECT vwal_checkpoint()=vwal_frame_no();
SELECT vwal_checkpointed_frame_no()=vwal_frame_no();
SELECT vwal_checkpoint('main')=vwal_sync('main');
INSERT INTO t VALUES(4);
SELECT vwal_frame_no()-vwal_checkpointed_frame_no();
SELECT vwal_frame_no('main')-frame_no, vwal_log_id('main')=log_id FROM was;
PRAGMA wal_checkpoint(TRUNCATE);
SELECT vwal_frame_no()-vwal_checkpointed_frame_no();
-- misuse
SELECT vwal_frame_no('nosuch');
SELECT vwal_sync('nosuch');
SELECT vwal_log_id(1, 2);
