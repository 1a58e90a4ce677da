-- Every URI parameter with a good value.
.open file:a.db?vfs=vwal&vwal_group_commit=off&vwal_sync_interval_ms=50
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
SELECT a FROM t;
.open file:b.db?vfs=vwal&vwal_swap=size>=64KiB%20and%20(frames>=10%20or%20age>=1h)
CREATE TABLE t(a);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)
  INSERT INTO t SELECT zeroblob(1000) FROM n;
INSERT INTO t VALUES(1);
SELECT count(*) FROM t;
SELECT sum(state='current'), sum(state='sealed')>0 FROM vwal_segments;
.open file:c.db?vfs=vwal&vwal_checkpoint_size=1MiB&vwal_checkpoint_age_ms=0&vwal_queue_ms=0
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
SELECT a FROM t;
.open file:d.db?vfs=vwal&vwal_swap=frames>=1&vwal_group_commit=on
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
INSERT INTO t VALUES(2);
SELECT sum(a) FROM t;
SELECT count(*) FROM vwal_segments;
SELECT vwal_checkpoint()=vwal_frame_no();
SELECT count(*) FROM vwal_segments WHERE state='sealed';
