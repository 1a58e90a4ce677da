-- The fields of the database header, in a transaction and after a reopen.
PRAGMA journal_mode=WAL;
PRAGMA user_version=7;
PRAGMA application_id=1447121228;
CREATE TABLE t(a);
PRAGMA user_version;
PRAGMA application_id;
BEGIN;
PRAGMA user_version=8;
PRAGMA user_version;
ROLLBACK;
PRAGMA user_version;
PRAGMA schema_version;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA user_version=-2147483648;
.open app.db
PRAGMA user_version;
PRAGMA application_id;
PRAGMA schema_version;
PRAGMA data_version;
PRAGMA integrity_check;
