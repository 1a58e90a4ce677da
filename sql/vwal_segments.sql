-- Segments are sealed by the swap policy, their ranges follow one another without a gap, and a drain frees them.
.open file:app.db?vfs=vwal&vwal_swap=frames>=8&vwal_checkpoint_age_ms=0
PRAGMA page_size=1024;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
INSERT INTO t VALUES(1, zeroblob(3000));
INSERT INTO t VALUES(2, zeroblob(3000));
INSERT INTO t VALUES(3, zeroblob(3000));
INSERT INTO t VALUES(4, zeroblob(3000));
INSERT INTO t VALUES(5, zeroblob(3000));
INSERT INTO t VALUES(6, zeroblob(3000));
INSERT INTO t VALUES(7, zeroblob(3000));
INSERT INTO t VALUES(8, zeroblob(3000));
INSERT INTO t VALUES(9, zeroblob(3000));
INSERT INTO t VALUES(10, zeroblob(3000));
INSERT INTO t VALUES(11, zeroblob(3000));
INSERT INTO t VALUES(12, zeroblob(3000));
SELECT count(*)>3, min(start_frame_no) FROM vwal_segments;
-- Only the last one may be one that is written to; and it is not, as soon as it is due.
SELECT count(*) FROM vwal_segments WHERE state='current' AND (end_frame_no<vwal_frame_no() OR end_frame_no-start_frame_no+1>=12);
SELECT count(*) FROM vwal_segments AS g
 WHERE start_frame_no>1 AND NOT EXISTS (SELECT 1 FROM vwal_segments WHERE end_frame_no=g.start_frame_no-1);
SELECT count(*) FROM vwal_segments WHERE state='sealed' AND end_frame_no-start_frame_no+1<8;
SELECT max(end_frame_no)=vwal_frame_no() FROM vwal_segments;
SELECT segment_count=(SELECT count(*) FROM vwal_segments), log_bytes<=(SELECT sum(bytes) FROM vwal_segments) FROM vwal_status;
SELECT vwal_checkpoint()=vwal_frame_no();
SELECT count(*) FROM vwal_segments WHERE state='sealed';
SELECT count(*), sum(length(b)) FROM t;
INSERT INTO t VALUES(100, 'after');
SELECT count(*), max(end_frame_no)=vwal_frame_no() FROM vwal_segments WHERE end_frame_no>=start_frame_no;
PRAGMA integrity_check;
