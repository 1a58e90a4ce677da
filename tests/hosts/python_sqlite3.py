"""Python's own sqlite3 module on vwal: load the extension, write, close, reopen, checkpoint, read the status."""

import sqlite3
import sys

extension, database = sys.argv[1:]
uri = f"file:{database}?vfs=vwal"

# The extension is loaded once per process, on any connection.
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
loader.close()


def connect():
    return sqlite3.connect(uri, uri=True)


def one(db, sql, *arguments):
    return db.execute(sql, arguments).fetchone()


db = connect()
assert one(db, "PRAGMA journal_mode") == ("wal",)
with db:
    db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")
    db.executemany("INSERT INTO t(b) VALUES(?)", [(f"row {i}",) for i in range(1000)])
try:
    with db:
        db.execute("DELETE FROM t")
        raise KeyError
except KeyError:
    pass
assert one(db, "SELECT count(*), b FROM t WHERE a=7 OR a=8") == (2, "row 6")
log_id = one(db, "SELECT vwal_log_id()")
frame_no = one(db, "SELECT vwal_frame_no()")[0]
assert frame_no > 0

reader = connect()
assert one(reader, "SELECT count(*) FROM t") == (1000,)
with db:
    db.execute("UPDATE t SET b = 'new' WHERE a = 1")
assert one(reader, "SELECT b FROM t WHERE a=1") == ("new",)
reader.close()
db.close()

db = connect()
assert one(db, "SELECT count(*), max(a) FROM t") == (1000, 1000)
assert one(db, "SELECT vwal_log_id()") == log_id
assert one(db, "SELECT vwal_frame_no()")[0] > frame_no
with db:
    db.execute("INSERT INTO t(b) VALUES('more')")
assert one(db, "PRAGMA wal_checkpoint(TRUNCATE)") == (0, 0, 0)
status = one(
    db,
    "SELECT schema, path, log_id, frame_no=vwal_frame_no(), checkpointed_frame_no=frame_no, page_size, last_error"
    " FROM vwal_status",
)
assert status[0] == "main" and status[1].endswith(database) and status[2:] == (*log_id, 1, 1, 4096, None), status
assert one(db, "PRAGMA integrity_check") == ("ok",)

backup = sqlite3.connect("backup.db")
db.backup(backup, pages=10)
assert one(backup, "SELECT count(*) FROM t") == (1001,)
backup.close()

assert one(db, "PRAGMA journal_mode=DELETE") == ("delete",)
db.close()
plain = sqlite3.connect(database)
assert one(plain, "SELECT count(*) FROM t") == (1001,)
assert one(plain, "PRAGMA integrity_check") == ("ok",)
plain.close()
print("done with", sqlite3.sqlite_version)
