-- Full text search: FTS5 writes many small blobs into its shadow tables.
PRAGMA journal_mode=WAL;
CREATE VIRTUAL TABLE doc USING fts5(title, body);
INSERT INTO doc VALUES('log', 'a log that only grows at its end');
INSERT INTO doc VALUES('frame', 'one page of the database as a commit left it');
INSERT INTO doc VALUES('checkpoint', 'pages go from the log into the database');
SELECT title FROM doc WHERE doc MATCH 'database' ORDER BY title;
SELECT title FROM doc WHERE doc MATCH 'log AND grows';
SELECT highlight(doc, 1, '[', ']') FROM doc WHERE doc MATCH 'pag*' ORDER BY rowid;
UPDATE doc SET body='the log ends here' WHERE title='log';
DELETE FROM doc WHERE title='frame';
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
  INSERT INTO doc SELECT 'n'||i, 'number '||i||' word'||(i%10) FROM n;
SELECT count(*) FROM doc WHERE doc MATCH 'word7';
INSERT INTO doc(doc) VALUES('optimize');
INSERT INTO doc(doc) VALUES('integrity-check');
.open app.db
SELECT count(*) FROM doc WHERE doc MATCH 'word7';
SELECT title FROM doc WHERE doc MATCH 'ends';
PRAGMA integrity_check;
