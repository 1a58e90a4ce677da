"""The WAL-reset fault of SQLite 3.7.0 to 3.51.2 (sqlite.org/wal.html#walresetbug), in the one order of calls that it needs.

A passive checkpoint reads the header of the wal-index, and before it goes on, another connection resets the WAL and writes.
The checkpoint then marks as many frames of the new WAL as "in the database" as the old one had. Commits that come into that
range afterwards are read by nobody and copied by nobody.

The order is made by the one call that SQLite makes in between, xUnfetch of the database file: its entry in the table of
methods of that one open file is replaced. So this is the same for stock SQLite and for vwal.
"""

import ctypes
import ctypes.util
import sys

extension, database = sys.argv[1:]

OK, ROW, DONE = 0, 100, 101
OPEN_FLAGS = 0x2 | 0x4 | 0x40  # READWRITE, CREATE, URI
FCNTL_FILE_POINTER = 7
# sqlite3_io_methods: the version, 12 methods of version 1, 4 of version 2, xFetch, xUnfetch.
UNFETCH = 18
Unfetch = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)

sqlite = ctypes.CDLL(ctypes.util.find_library("sqlite3"))
sqlite.sqlite3_libversion.restype = ctypes.c_char_p
sqlite.sqlite3_errmsg.restype = ctypes.c_char_p
sqlite.sqlite3_column_int64.restype = ctypes.c_int64
for name in ("errmsg", "close", "step", "finalize"):
    getattr(sqlite, f"sqlite3_{name}").argtypes = [ctypes.c_void_p]
VERSION = tuple(int(part) for part in sqlite.sqlite3_libversion().decode().split("."))
FAULTY = (3, 7, 0) <= VERSION < (3, 51, 3) and VERSION not in ((3, 44, 6), (3, 50, 7))


class Connection:
    def __init__(self, uri):
        self.db = ctypes.c_void_p()
        code = sqlite.sqlite3_open_v2(uri.encode(), ctypes.byref(self.db), OPEN_FLAGS, None)
        assert code == OK, sqlite.sqlite3_errmsg(self.db)

    def run(self, sql):
        """The first column of the rows of one statement, as numbers."""
        statement, rows = ctypes.c_void_p(), []
        code = sqlite.sqlite3_prepare_v2(self.db, sql.encode(), -1, ctypes.byref(statement), None)
        while code in (OK, ROW):
            code = sqlite.sqlite3_step(statement)
            if code == ROW:
                rows.append(sqlite.sqlite3_column_int64(statement, 0))
        sqlite.sqlite3_finalize(statement)
        assert code == DONE, (sql, code, sqlite.sqlite3_errmsg(self.db))
        return rows

    def before_the_checkpoint_goes_on(self, action):
        """Call action once, where this connection's next checkpoint has read the header of the wal-index."""
        file = ctypes.POINTER(ctypes.c_void_p)()
        code = sqlite.sqlite3_file_control(self.db, b"main", FCNTL_FILE_POINTER, ctypes.byref(file))
        assert code == OK, code
        original = file[0]
        self.methods = (ctypes.c_void_p * 19).from_buffer_copy(ctypes.string_at(original, 19 * 8))
        # A file of version 2 has no xFetch and xUnfetch. Without mmap_size SQLite calls xUnfetch only.
        ctypes.c_int.from_buffer(self.methods).value = 3

        def unfetch(handle, offset, page):
            file[0] = original
            action()
            return OK

        self.unfetch = Unfetch(unfetch)
        self.methods[UNFETCH] = ctypes.cast(self.unfetch, ctypes.c_void_p)
        file[0] = ctypes.addressof(self.methods)

    def close(self):
        assert sqlite.sqlite3_close(self.db) == OK


def rows(first, last):
    return f"WITH RECURSIVE n(i) AS (VALUES({first}) UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i, randomblob(3000) FROM n"


def missing_rows(uri):
    """How many acknowledged rows a new connection misses: at once, after a checkpoint, and in the end."""
    writer, checkpointer = Connection(uri), Connection(uri)
    for db in (writer, checkpointer):
        db.run("PRAGMA journal_mode=WAL")
        db.run("PRAGMA wal_autocheckpoint=0")
    writer.run("CREATE TABLE t(id INTEGER PRIMARY KEY, body)")
    writer.run(f"INSERT INTO t {rows(1, 100)}")
    checkpointer.run("SELECT count(*) FROM t")
    # The checkpointer's copy of the header is older than this commit, so its checkpoint calls xUnfetch.
    writer.run(f"INSERT INTO t {rows(101, 110)}")
    assert writer.run("PRAGMA wal_checkpoint(PASSIVE)") == [0]

    resets = []
    checkpointer.before_the_checkpoint_goes_on(
        lambda: resets.append(writer.run("INSERT INTO t VALUES (1000, 'the first of the new WAL')"))
    )
    assert checkpointer.run("PRAGMA wal_checkpoint(PASSIVE)") == [0]
    assert resets == [[]], "the WAL was reset in the middle of the checkpoint"

    for i in range(1001, 1021):
        writer.run(f"INSERT INTO t VALUES ({i}, randomblob(3000))")
    acknowledged = {*range(1, 111), *range(1000, 1021)}
    missing = []
    for _ in range(2):
        reader = Connection(uri)
        missing.append(acknowledged - set(reader.run("SELECT id FROM t NOT INDEXED")))
        reader.close()
        assert writer.run("PRAGMA wal_checkpoint(PASSIVE)") == [0]
    # Somebody who builds on what it reads.
    other = Connection(uri)
    other.run("INSERT INTO t VALUES (2000, 'from another connection')")
    for db in (other, writer, checkpointer):
        db.close()
    last = Connection(uri)
    missing.append((acknowledged | {2000}) - set(last.run("SELECT id FROM t NOT INDEXED")))
    last.close()
    return [len(each) for each in missing]


stock = missing_rows("file:stock.db")
loader = Connection("file:loader?mode=memory")
sqlite.sqlite3_enable_load_extension(loader.db, 1)
assert sqlite.sqlite3_load_extension(loader.db, extension.encode(), None, None) == OK
vwal = missing_rows(f"file:{database}?vfs=vwal")
print("missing rows: stock", stock, "vwal", vwal)
# Where SQLite has the fault, it shows here: this is the order that it needs.
assert all(stock) if FAULTY else not any(stock), stock
assert vwal == [0, 0, 0], vwal
print("done with", ".".join(map(str, VERSION)))
