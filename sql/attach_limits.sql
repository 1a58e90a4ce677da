-- A name that is taken, a file that cannot be, and detaching in a transaction.
PRAGMA journal_mode=WAL;
CREATE TABLE t(a);
ATTACH 'a.db' AS a;
ATTACH 'b.db' AS a;
ATTACH 'nodir/b.db' AS b;
BEGIN;
CREATE TABLE a.t(x);
DETACH a;
COMMIT;
DETACH a;
DETACH main;
