"""apsw, which brings an SQLite of its own, on vwal: load the extension, write, close, reopen, checkpoint, status."""

import sys

import apsw

extension, database = sys.argv[1:]
uri = f"file:{database}?vfs=vwal"
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE

loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
loader.close()
assert "vwal" in apsw.vfs_names()


def connect():
    return apsw.Connection(uri, flags=flags)


def one(db, sql, *arguments):
    return db.execute(sql, arguments).fetchone()


db = connect()
assert one(db, "PRAGMA journal_mode") == ("wal",)
with db:
    db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
    db.executemany("INSERT INTO t(b) VALUES(?)", [(bytes(i),) for i in range(1000)])
try:
    with db:
        db.execute("DELETE FROM t")
        with db:  # a savepoint
            db.execute("INSERT INTO t VALUES(1, 'x')")
        raise KeyError
except KeyError:
    pass
assert one(db, "SELECT count(*), sum(length(b)) FROM t") == (1000, 499500)

# Incremental BLOB I/O writes pages behind the back of SQL.
with db:
    with db.blob_open("main", "t", "b", 1000, True) as blob:
        blob.seek(500)
        blob.write(b"vwal")
assert one(db, "SELECT substr(b, 501, 4) FROM t WHERE a=1000") == (b"vwal",)

# The WAL hook counts the frames of SQLite's own numbering.
frames = []
db.set_wal_hook(lambda connection, schema, pages: frames.append(pages) or apsw.SQLITE_OK)
with db:
    db.execute("UPDATE t SET b = zeroblob(9) WHERE a = 1")
assert frames and frames[0] > 0
db.set_wal_hook(None)

log_id = one(db, "SELECT vwal_log_id()")[0]
segments = db.execute("SELECT * FROM vwal_segments").fetchall()
assert segments and segments[-1][3] == "current", segments
db.close()

db = connect()
assert one(db, "SELECT count(*), substr(b, 501, 4) FROM t WHERE a=1000") == (1, b"vwal")
with db:
    db.execute("INSERT INTO t(b) VALUES('more')")
assert db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE) == (0, 0)
status = one(
    db, "SELECT schema, log_id, frame_no=checkpointed_frame_no, page_size, last_error FROM vwal_status"
)
assert status == ("main", log_id, 1, 4096, None), status
assert one(db, "PRAGMA integrity_check") == ("ok",)

copy = apsw.Connection("copy.db")
with copy.backup("main", db, "main") as backup:
    while not backup.done:
        backup.step(7)
assert one(copy, "SELECT count(*) FROM t") == (1001,)
copy.close()
db.close()
print("done with", apsw.sqlite_lib_version())
