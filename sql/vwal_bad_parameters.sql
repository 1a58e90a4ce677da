-- A parameter that is unknown or malformed fails the open: the message names it and says what is right.
.open file:app.db?vfs=vwal&vwal_swop=frames>=1
.open file:app.db?vfs=vwal&vwal_group_commit=maybe
.open file:app.db?vfs=vwal&vwal_sync_interval_ms=soon
.open file:app.db?vfs=vwal&vwal_sync_interval_ms=-1
.open file:app.db?vfs=vwal&vwal_swap=frames>=
.open file:app.db?vfs=vwal&vwal_swap=(frames>=1
.open file:app.db?vfs=vwal&vwal_swap=frames>=1%20xor%20size>=1
.open file:app.db?vfs=vwal&vwal_swap=
.open file:app.db?vfs=vwal&vwal_checkpoint_size=99999999999999999999
.open file:app.db?vfs=vwal&vwal_checkpoint_size=12parsecs
.open file:app.db?vfs=vwal&vwal_checkpoint_age_ms=1.5
.open file:app.db?vfs=vwal&vwal_queue_ms=
.open file:app.db?vfs=vwal&vwal_cache_size=1MiB
-- the failures left nothing behind, and parameters of others are not ours
.open file:app.db?vfs=vwal&mode=rwc&other=1
SELECT count(*) FROM sqlite_schema;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
-- a second connection with other values than the open log has
.connection 1
.open file:app.db?vfs=vwal&vwal_group_commit=off
.open file:app.db?vfs=vwal&vwal_group_commit=on
SELECT count(*) FROM t;
-- and an attached database
ATTACH 'file:two.db?vfs=vwal&vwal_swap=nonsense' AS two;
ATTACH 'file:two.db?vfs=vwal&vwal_swap=frames>=100' AS two;
PRAGMA two.journal_mode=WAL;
CREATE TABLE two.t(a);
SELECT schema FROM vwal_status;
