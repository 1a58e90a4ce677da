-- ALTER TABLE, generated columns, STRICT tables, partial indexes, dropped tables, and a rollback of all of it.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c AS (length(b)) STORED);
INSERT INTO t(b) VALUES('one'),('three');
ALTER TABLE t ADD COLUMN d DEFAULT 'new';
ALTER TABLE t RENAME COLUMN b TO word;
ALTER TABLE t RENAME TO words;
CREATE INDEX long_words ON words(word) WHERE c>3;
SELECT * FROM words ORDER BY a;
ALTER TABLE words DROP COLUMN d;
CREATE TABLE s(i INTEGER) STRICT;
INSERT INTO s VALUES('text');
BEGIN;
DROP TABLE words;
CREATE TABLE words(x);
SELECT count(*) FROM words;
ROLLBACK;
SELECT * FROM words ORDER BY a;
.open app.db
SELECT type, name, sql FROM sqlite_schema ORDER BY name;
PRAGMA integrity_check;
