-- File names with spaces, quotes and letters beyond ASCII.
.open "with space.db"
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
INSERT INTO t VALUES(1);
ATTACH 'ünï-cödé-世界.db' AS u;
PRAGMA u.journal_mode=WAL;
CREATE TABLE u.t AS SELECT 2 AS a;
ATTACH 'quote''s.db' AS q;
PRAGMA q.journal_mode=WAL;
CREATE TABLE q.t AS SELECT 4 AS a;
ATTACH '100%25?#.db' AS odd;
PRAGMA odd.journal_mode=WAL;
CREATE TABLE odd.t AS SELECT 8 AS a;
SELECT main.t.a, u.t.a, q.t.a, odd.t.a FROM main.t, u.t, q.t, odd.t;
.open "with space.db"
ATTACH 'ünï-cödé-世界.db' AS u;
SELECT main.t.a, u.t.a FROM main.t, u.t;
PRAGMA u.integrity_check;
