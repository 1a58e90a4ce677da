-- JSON functions over stored documents, with an index on an expression.
PRAGMA journal_mode=WAL;
CREATE TABLE event(id INTEGER PRIMARY KEY, doc TEXT);
INSERT INTO event(doc) VALUES
  ('{"kind":"commit","pages":3,"tags":["a","b"]}'),
  ('{"kind":"checkpoint","pages":40}'),
  ('{"kind":"commit","pages":1,"tags":["b"]}');
CREATE INDEX event_kind ON event(json_extract(doc, '$.kind'));
SELECT id, json_extract(doc, '$.pages') FROM event WHERE json_extract(doc, '$.kind')='commit' ORDER BY id;
SELECT value, count(*) FROM event, json_each(event.doc, '$.tags') GROUP BY value ORDER BY value;
UPDATE event SET doc=json_set(doc, '$.pages', 41) WHERE id=2;
SELECT doc->>'$.pages', doc->'$.kind' FROM event WHERE id=2;
SELECT json_group_array(id) FROM event;
SELECT json_valid(doc), json_type(doc, '$.tags') FROM event ORDER BY id;
PRAGMA integrity_check;
