-- The two commands inside transactions: they neither hang nor disturb what is under way.
.open file:app.db?vfs=vwal
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
BEGIN;
SELECT sum(a) FROM t;
SELECT vwal_sync()=vwal_frame_no();
SELECT vwal_checkpoint()<=vwal_frame_no();
COMMIT;
BEGIN;
INSERT INTO t VALUES(2);
SELECT vwal_sync()=vwal_frame_no();
SELECT vwal_checkpoint()<=vwal_frame_no();
SELECT sum(a) FROM t;
ROLLBACK;
SELECT sum(a) FROM t;
SELECT DISTINCT vwal_checkpoint()<=vwal_frame_no() FROM t;
.connection 1
.open file:app.db?vfs=vwal
BEGIN;
SELECT sum(a) FROM t;
.connection 0
INSERT INTO t VALUES(4);
SELECT vwal_sync()=vwal_frame_no();
SELECT vwal_checkpoint()<=vwal_frame_no();
.connection 1
SELECT sum(a) FROM t;
COMMIT;
SELECT sum(a) FROM t;
.connection 0
SELECT vwal_checkpoint()=vwal_frame_no();
SELECT vwal_checkpointed_frame_no()=vwal_frame_no();
PRAGMA integrity_check;
