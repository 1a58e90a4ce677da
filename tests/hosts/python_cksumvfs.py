"""cksumvfs, SQLite's VFS for checksums (apsw brings it): it takes each write for one page, and writes into its buffer."""

import os
import sys

import apsw
import apsw.sqlite_extra

extension, database = sys.argv[1:]
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
apsw.sqlite_extra.load(loader, "cksumvfs")
loader.load_extension(extension)
assert apsw.vfs_names()[0] == "cksmvfs", apsw.vfs_names()
FILL = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO t(b) SELECT zeroblob(100 + i%99) FROM n"


def connect(vfs, params=""):
    return apsw.Connection(f"file:{database}?vfs={vfs}{params}", flags)


def checksums(db):
    """How many pages of the file have a right checksum (1) and how many a wrong one (0)."""
    size, found = db.pragma("page_size"), {}
    with open(database, "rb") as file:
        for _ in range(db.pragma("page_count")):
            right = db.execute("SELECT verify_checksum(?)", (file.read(size),)).get
            found[right] = found.get(right, 0) + 1
    return found


storage = f"&vwal_storage=file://{os.path.abspath('storage')}&vwal_ship_interval_ms=10"
os.mkdir("storage")
db = connect("vwal", storage)
db.reserve_bytes(reserve=8)
db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
db.execute(FILL)
assert db.execute("SELECT vwal_sync() > 0, vwal_checkpoint() = vwal_frame_no()").fetchall() == [(1, 1)]
db.execute("UPDATE t SET b = 'changed' WHERE a % 7 = 0")
assert db.pragma("integrity_check") == "ok"
db.close()

# The database file alone, with cksumvfs alone: each page has its checksum.
for name in (database, database + "-wal"):
    os.rename(name, "away-" + name)
with open("away-" + database, "rb") as source, open(database, "wb") as target:
    target.write(source.read())
db = connect("cksmvfs", "&immutable=1")
pages = checksums(db)
assert list(pages) == [1] and pages[1] > 60, pages
assert db.pragma("integrity_check") == "ok"
assert db.execute("SELECT count(*) FROM t WHERE b = 'changed'").get == 3000 // 7
db.close()
os.remove(database)
for name in (database, database + "-wal"):
    os.rename("away-" + name, name)

# It goes on, and back to an ordinary database.
db = connect("vwal", storage)
db.execute("DELETE FROM t WHERE a % 2; VACUUM")
db.execute(FILL)
assert db.pragma("journal_mode", "delete") == "delete"
db.execute("INSERT INTO t(b) VALUES('last')")
db.close()
db = connect("cksmvfs")
assert list(checksums(db)) == [1]
assert db.pragma("integrity_check") == "ok"
assert db.execute("SELECT count(*) FROM t").get == 4501
db.close()
print("done with", apsw.sqlite_lib_version())
