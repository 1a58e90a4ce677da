-- A view or a trigger in a database cannot reach what changes state or looks at files; it may ask for numbers.
.open file:app.db?vfs=vwal
CREATE TABLE t(a);
CREATE VIEW sneak_sync AS SELECT vwal_sync();
CREATE VIEW sneak_checkpoint AS SELECT vwal_checkpoint('main');
CREATE VIEW sneak_status AS SELECT path FROM vwal_status;
CREATE VIEW sneak_segments AS SELECT path FROM vwal_segments;
CREATE VIEW frame AS SELECT vwal_frame_no()>0 AS n;
SELECT * FROM sneak_sync;
SELECT * FROM sneak_checkpoint;
SELECT * FROM sneak_status;
SELECT * FROM sneak_segments;
SELECT n FROM frame;
CREATE TRIGGER sneak AFTER INSERT ON t BEGIN SELECT vwal_checkpoint(); END;
INSERT INTO t VALUES(1);
CREATE INDEX i ON t(vwal_frame_no());
CREATE TABLE d(a DEFAULT (vwal_sync()));
INSERT INTO d DEFAULT VALUES;
SELECT count(*) FROM t;
