-- Recursive common table expressions and window functions over stored rows.
PRAGMA journal_mode=WAL;
CREATE TABLE node(id INTEGER PRIMARY KEY, parent INTEGER, weight INTEGER);
INSERT INTO node VALUES(1,NULL,5),(2,1,3),(3,1,4),(4,2,1),(5,2,2),(6,3,7);
WITH RECURSIVE tree(id, path) AS (
  SELECT id, printf('%d', id) FROM node WHERE parent IS NULL
  UNION ALL SELECT node.id, path||'/'||node.id FROM node JOIN tree ON node.parent=tree.id)
SELECT path FROM tree ORDER BY path;
SELECT id, sum(weight) OVER (ORDER BY id), rank() OVER (ORDER BY weight DESC),
       lag(weight, 1, 0) OVER (ORDER BY id) FROM node ORDER BY id;
SELECT id, first_value(id) OVER (PARTITION BY parent ORDER BY weight), ntile(2) OVER (ORDER BY id)
  FROM node ORDER BY id;
SELECT sum(weight) FILTER (WHERE id%2) OVER (ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM node ORDER BY id;
