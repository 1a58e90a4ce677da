-- What the SQL surface says of databases that are not virtual: NULL to a question, an error to a command, no row.
SELECT vwal_log_id() IS NULL, vwal_frame_no() IS NULL, vwal_durable_frame_no() IS NULL;
SELECT vwal_checkpointed_frame_no() IS NULL, vwal_log_id('temp') IS NULL;
SELECT vwal_sync();
SELECT vwal_checkpoint('temp');
SELECT count(*) FROM vwal_status;
SELECT count(*) FROM vwal_segments;
-- new, and not written to yet
.open file:new.db?vfs=vwal
PRAGMA journal_mode;
SELECT vwal_log_id() IS NULL, vwal_frame_no() IS NULL;
SELECT count(*) FROM vwal_status;
CREATE TABLE t(a);
SELECT vwal_log_id() IS NULL, vwal_frame_no() IS NULL;
SELECT count(*) FROM vwal_status;
-- back in rollback mode
PRAGMA journal_mode=DELETE;
SELECT vwal_log_id() IS NULL, vwal_frame_no() IS NULL;
SELECT count(*) FROM vwal_status;
SELECT vwal_sync();
-- stock SQLite's own WAL mode
.open file:stock.db?vfs=unix
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
SELECT vwal_log_id() IS NULL, vwal_frame_no() IS NULL;
SELECT count(*) FROM vwal_status;
SELECT vwal_checkpoint();
