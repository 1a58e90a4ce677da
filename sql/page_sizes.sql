-- Every page size: rows small and large, an index, deletions, a checkpoint, and the database opened again.

.print page size 512
.open p512.db
PRAGMA page_size=512;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(512+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p512.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 1024
.open p1024.db
PRAGMA page_size=1024;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(1024+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p1024.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 2048
.open p2048.db
PRAGMA page_size=2048;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(2048+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p2048.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 4096
.open p4096.db
PRAGMA page_size=4096;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(4096+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p4096.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 8192
.open p8192.db
PRAGMA page_size=8192;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(8192+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p8192.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 16384
.open p16384.db
PRAGMA page_size=16384;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(16384+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p16384.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 32768
.open p32768.db
PRAGMA page_size=32768;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(32768+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p32768.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;

.print page size 65536
.open p65536.db
PRAGMA page_size=65536;
PRAGMA journal_mode=WAL;
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB);
CREATE INDEX t_b ON t(b);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT i, printf('%05d', (i*7919)%1000), zeroblob(i*13) FROM n;
DELETE FROM t WHERE a%5=0;
UPDATE t SET c=zeroblob(65536+a) WHERE a%50=1;
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA wal_checkpoint(TRUNCATE);
INSERT INTO t VALUES(1000, 'last', x'00ff');
.open p65536.db
SELECT count(*), sum(a), sum(length(c)), min(b), max(b) FROM t;
PRAGMA page_size;
PRAGMA journal_mode;
PRAGMA integrity_check;
