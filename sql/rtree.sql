-- An R-tree, whose nodes are rewritten in place.
PRAGMA journal_mode=WAL;
CREATE VIRTUAL TABLE box USING rtree_i32(id, x0, x1, y0, y1);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400)
  INSERT INTO box SELECT i, i%20, i%20+1, i/20, i/20+1 FROM n;
SELECT count(*), sum(id) FROM box WHERE x0>=5 AND x1<=8 AND y0>=3 AND y1<=9;
DELETE FROM box WHERE id%3=0;
SELECT count(*), sum(id) FROM box WHERE x0>=5 AND x1<=8 AND y0>=3 AND y1<=9;
.open app.db
SELECT count(*), sum(id) FROM box;
SELECT rtreecheck('box');
