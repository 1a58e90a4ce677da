-- One row per virtual database of the connection, and one per segment of its log.
.open file:app.db?vfs=vwal
PRAGMA page_size=1024;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
ATTACH 'two.db' AS two;
PRAGMA two.journal_mode=WAL;
CREATE TABLE two.t(a);
ATTACH ':memory:' AS mem;
ATTACH 'rollback.db' AS old;
CREATE TABLE old.t(a);
SELECT schema, path LIKE '%/app.db' OR path LIKE '%/two.db', page_size, db_size_pages, segment_count,
       log_bytes>0, storage IS NULL, last_error IS NULL FROM vwal_status ORDER BY schema;
SELECT log_id=vwal_log_id(schema), frame_no=vwal_frame_no(schema),
       durable_frame_no=vwal_durable_frame_no(schema), checkpointed_frame_no=vwal_checkpointed_frame_no(schema)
  FROM vwal_status ORDER BY schema;
SELECT count(DISTINCT log_id) FROM vwal_status;
SELECT name, type FROM pragma_table_info('vwal_status');
SELECT name, type FROM pragma_table_info('vwal_segments');
SELECT schema, start_frame_no, end_frame_no=vwal_frame_no(schema), state, bytes>0, path LIKE '%-wal/%.seg'
  FROM vwal_segments ORDER BY schema, start_frame_no;
INSERT INTO t VALUES(zeroblob(100000));
SELECT page_size*db_size_pages=(SELECT page_count*page_size FROM pragma_page_count, pragma_page_size)
  FROM vwal_status WHERE schema='main';
SELECT count(*) FROM vwal_status AS s JOIN vwal_segments AS g ON g.schema=s.schema
 WHERE s.frame_no BETWEEN g.start_frame_no AND g.end_frame_no;
DELETE FROM vwal_status;
INSERT INTO vwal_segments(schema) VALUES('main');
UPDATE vwal_status SET frame_no=0;
CREATE VIRTUAL TABLE mine USING vwal_status;
DETACH two;
SELECT schema FROM vwal_status;
SELECT count(*) FROM vwal_status('main');
SELECT name, type FROM pragma_table_info('vwal_processes');
SELECT schema, slot, pid>0, program<>'', since LIKE '____-__-__T__:__:__%Z' FROM vwal_processes;
DELETE FROM vwal_processes;
