"""Another VFS above vwal (apsw makes them of Python): it is refused, in words, and nothing is touched."""

import os
import sys

import apsw
import apsw.sqlite_extra

extension, database = sys.argv[1:]
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE

loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)


class File(apsw.VFSFile):
    """Hands everything on."""

    def __init__(self, name, flags, copied):
        # A copy is a name of which SQLite knows nothing: no parameters before it, no other names after it.
        super().__init__("vwal", name.filename() if copied and isinstance(name, apsw.URIFilename) else name, flags)


class Changing(File):
    """What encryption does: other bytes on the way down than above."""

    def xRead(self, amount, offset):
        return bytes(byte ^ 0x55 for byte in super().xRead(amount, offset))

    def xWrite(self, data, offset):
        super().xWrite(bytes(byte ^ 0x55 for byte in data), offset)


class Split(File):
    """What multiplex does: the part beyond a size goes elsewhere."""

    def __init__(self, name, flags, copied):
        super().__init__(name, flags, copied)
        self.rest = {}

    def xWrite(self, data, offset):
        if offset < 8192:
            super().xWrite(data, offset)
        else:
            self.rest[offset] = data

    def xRead(self, amount, offset):
        return super().xRead(amount, offset) if offset < 8192 else self.rest.get(offset, b"")[:amount]


class Above(apsw.VFS):
    def __init__(self, name, file, copied):
        self.file, self.copied = file, copied
        super().__init__(name, "vwal")

    def xOpen(self, name, flags):
        return self.file(name, flags, self.copied)


above = [
    Above(f"{file.__name__}-{'copied' if copied else 'handed-on'}", file, copied)
    for file in (File, Changing, Split)
    for copied in (False, True)
]
# Without any method of its own: apsw hands everything on in C.
above.append(apsw.VFS("bare", "vwal"))
# Of C, from SQLite: they build upon what is the default VFS when they are loaded.
apsw.set_default_vfs("vwal")
for c_vfs in ("vfsstat", "cksumvfs", "appendvfs"):
    apsw.sqlite_extra.load(loader, c_vfs)
    apsw.set_default_vfs("vwal")
apsw.set_default_vfs("unix")
names = ["bare", "cksmvfs", "vfslog", "apndvfs"] + [f"{kind}-{how}" for kind in ("File", "Changing", "Split") for how in ("copied", "handed-on")]
assert set(names) <= set(apsw.vfs_names())


def snapshot():
    """Every file here, with its bytes."""
    found = {}
    for at, _, files in os.walk("."):
        for file in files:
            path = os.path.join(at, file)
            with open(path, "rb") as opened:
                found[path] = opened.read()
        found[at] = None
    return found


def stock(path):
    db = apsw.Connection(path)
    db.execute("CREATE TABLE t(a); INSERT INTO t VALUES('stock')")
    return db


def refused(action, words):
    before = snapshot()
    try:
        action()
    except apsw.CantOpenError as error:
        assert words in str(error), error
    else:
        raise SystemExit("it was not refused")
    after = snapshot()
    assert after.keys() == before.keys(), after.keys() ^ before.keys()
    assert after == before, [path for path in after if after[path] != before[path]]


stock("rollback.db").close()
wal = stock("wal.db")
wal.pragma("journal_mode", "wal")
wal.execute("INSERT INTO t VALUES('in the WAL')")
main = apsw.Connection("file:main.db?vfs=vwal", flags)
main.execute("CREATE TABLE t(a)")
main.execute("SELECT * FROM t").fetchall()  # it is virtual now

for vfs in names:
    for name in ("new.db", "rollback.db", "wal.db"):
        # With the name of the VFS in the URI, and with it beside a plain name.
        refused(lambda: apsw.Connection(f"file:{name}?vfs={vfs}", flags), "another VFS")
        refused(lambda: apsw.Connection(name, flags, vfs), "another VFS")
        # All that SQLite says of an attached database is that it cannot be opened; the words are in its error log.
        refused(lambda: main.execute(f"ATTACH 'file:{name}?vfs={vfs}' AS other"), "unable to open database")

db = apsw.Connection("rollback.db")
assert db.pragma("journal_mode") == "delete"
db.close()
wal.close()

# The same database through vwal itself, and one more attached.
db = apsw.Connection(f"file:{database}?vfs=vwal", flags)
db.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1)")
db.execute("ATTACH 'file:wal.db?vfs=vwal' AS other")
assert db.execute("SELECT count(*) FROM other.t").get == 2
assert db.execute("SELECT count(*) FROM vwal_status").get == 2
# A virtual database is refused above as well, and stays what it is.
try:
    apsw.Connection(f"file:{database}?vfs=bare", flags)
except apsw.CantOpenError as error:
    assert "another VFS" in str(error), error
else:
    raise SystemExit("it was not refused")
assert db.execute("SELECT a FROM t").get == 1
db.close()
print("done with", apsw.sqlite_lib_version())
