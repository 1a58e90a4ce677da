-- data_version changes when another connection commits, and only then.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
.connection 1
.open app.db
CREATE TEMP TABLE seen(v);
INSERT INTO seen SELECT data_version FROM pragma_data_version;
.connection 0
INSERT INTO t VALUES(1);
.connection 1
SELECT data_version<>(SELECT v FROM seen) FROM pragma_data_version;
UPDATE seen SET v=(SELECT data_version FROM pragma_data_version);
INSERT INTO t VALUES(2);
SELECT data_version<>(SELECT v FROM seen) FROM pragma_data_version;
.connection 0
PRAGMA wal_checkpoint(TRUNCATE);
.connection 1
SELECT count(*) FROM t;
SELECT data_version<>(SELECT v FROM seen) FROM pragma_data_version;
