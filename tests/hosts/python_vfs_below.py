"""A VFS below vwal that takes each read and write for one page, as those with checksums or encryption do.

It enciphers each page by its number and keeps a checksum of each write, so a write of two pages, or a read of half of one, is
noticed: SQLite itself never does that, but for the header of page 1. Like cksumvfs it writes into the buffer that it gets
(apsw cannot show that), and it wants its key from the URI, also for the handle of vwal's own threads.
"""

import os
import sys

import apsw

extension, database = sys.argv[1:]
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
PAGE = 1024
faults = []
pages_written = 0


def cipher(data, offset, key):
    start = offset % 7
    pad = (bytes(range(start, 256)) * (len(data) // (256 - start) + 1))[: len(data)]
    return bytes(a ^ b ^ key for a, b in zip(data, pad)) if offset % PAGE == 0 else data


class File(apsw.VFSFile):
    def __init__(self, name, flags):
        super().__init__("unix", name, flags)
        self.key = None
        if isinstance(name, apsw.URIFilename):
            self.key = name.uri_int("key", 0)
        if not self.key:
            faults.append(f"{name}: opened without its key")
            self.key = 0

    def xRead(self, amount, offset):
        if amount == PAGE or offset >= self.xFileSize() // PAGE * PAGE:
            return cipher(super().xRead(amount, offset), offset, self.key)
        # A part of a page, of which the whole has to be deciphered.
        at = offset // PAGE * PAGE
        if offset + amount > at + PAGE:
            faults.append(f"a read of {amount} bytes at {offset}")
        page = cipher(super().xRead(PAGE, at), at, self.key)
        return page[offset - at : offset - at + amount]

    def xWrite(self, data, offset):
        global pages_written
        if offset % PAGE != 0 or len(data) > PAGE or (len(data) < PAGE and offset < self.xFileSize() // PAGE * PAGE):
            faults.append(f"a write of {len(data)} bytes at {offset}")
        pages_written += 1
        super().xWrite(cipher(data, offset, self.key), offset)


class Below(apsw.VFS):
    def __init__(self):
        super().__init__("enciphered", "unix", makedefault=True)

    def xOpen(self, name, flags):
        if flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            return File(name, flags)
        return super().xOpen(name, flags)


below = Below()
loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
loader.close()


def connect(vfs, params=""):
    return apsw.Connection(f"file:{database}?vfs={vfs}&key=90{params}", flags)


storage = f"&vwal_storage=file://{os.path.abspath('storage')}&vwal_ship_interval_ms=10"
os.mkdir("storage")
db = connect("vwal", storage)
db.execute(f"PRAGMA page_size={PAGE}")
db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
for at in range(20):
    db.execute(
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t(b) SELECT zeroblob(200) FROM n"
    )
expected = db.execute("SELECT count(*), sum(a) FROM t").fetchall()
before = pages_written
assert db.execute("SELECT vwal_sync() > 0, vwal_checkpoint() = vwal_frame_no()").fetchall() == [(1, 1)]
assert pages_written - before > 200, "the pass wrote pages, each by itself"
db.execute("UPDATE t SET b = 'changed' WHERE a % 3 = 0")
changed = db.execute("SELECT count(*) FROM t WHERE b = 'changed'").get
db.close()
assert not faults, faults

# The database file is enciphered, and whole for who has the key, without vwal: after PRAGMA journal_mode=DELETE.
with open(database, "rb") as file:
    assert b"SQLite format" not in file.read()
db = connect("vwal", storage)
assert db.pragma("integrity_check") == "ok"
assert db.execute("SELECT count(*), sum(a) FROM t").fetchall() == expected
assert db.pragma("journal_mode", "delete") == "delete"
db.close()
db = connect("enciphered")
assert db.pragma("integrity_check") == "ok"
assert db.execute("SELECT count(*) FROM t WHERE b = 'changed'").get == changed
db.close()
assert not faults, faults
print("done with", apsw.sqlite_lib_version())
