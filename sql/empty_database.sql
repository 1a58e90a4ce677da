-- Reading a database that has nothing in it, and closing it without a write.
SELECT count(*) FROM sqlite_schema;
PRAGMA page_count;
PRAGMA user_version;
PRAGMA integrity_check;
BEGIN;
SELECT count(*) FROM sqlite_schema;
COMMIT;
BEGIN IMMEDIATE;
ROLLBACK;
.open app.db
SELECT count(*) FROM sqlite_schema;
CREATE TABLE t(a);
SELECT name FROM sqlite_schema;
