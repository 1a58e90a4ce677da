-- Triggers: before, after, instead of, recursive, and one that refuses.
PRAGMA journal_mode=WAL;
PRAGMA recursive_triggers=ON;
CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER);
CREATE TABLE audit(what TEXT);
CREATE TRIGGER account_low BEFORE UPDATE ON account WHEN new.balance<0 BEGIN
  SELECT raise(ABORT, 'balance too low');
END;
CREATE TRIGGER account_audit AFTER UPDATE ON account BEGIN
  INSERT INTO audit VALUES(printf('%d: %d -> %d', new.id, old.balance, new.balance));
END;
CREATE VIEW rich AS SELECT id FROM account WHERE balance>=100;
CREATE TRIGGER rich_del INSTEAD OF DELETE ON rich BEGIN
  UPDATE account SET balance=0 WHERE id=old.id;
END;
INSERT INTO account VALUES(1, 100), (2, 50);
UPDATE account SET balance=balance-30 WHERE id=1;
UPDATE account SET balance=balance-80;
DELETE FROM rich;
UPDATE account SET balance=200 WHERE id=2;
DELETE FROM rich;
SELECT * FROM account;
SELECT * FROM audit;
CREATE TABLE countdown(n INTEGER);
CREATE TRIGGER down AFTER INSERT ON countdown WHEN new.n>0 BEGIN
  INSERT INTO countdown VALUES(new.n-1);
END;
INSERT INTO countdown VALUES(5);
SELECT group_concat(n) FROM (SELECT n FROM countdown ORDER BY rowid);
.open app.db
SELECT count(*) FROM audit;
PRAGMA integrity_check;
