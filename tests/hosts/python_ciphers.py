"""SQLite3 Multiple Ciphers: ordinary databases work, and a key is refused instead of a database destroyed."""

import os
import sys

import apsw

extension, database = sys.argv[1:]
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
assert apsw.vfs_names()[0] == "multipleciphers-unix", apsw.vfs_names()

encrypted = apsw.Connection("encrypted.db")
encrypted.pragma("key", "secret")
encrypted.execute("CREATE TABLE t(a); INSERT INTO t VALUES('secret')")
encrypted.close()
with open("encrypted.db", "rb") as file:
    before = file.read()

loader = apsw.Connection(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
loader.close()


def connect(name, params=""):
    return apsw.Connection(f"file:{name}?vfs=vwal{params}", flags)


def refused(action, words):
    try:
        action()
    except apsw.Error as error:
        assert words in str(error), error
    else:
        raise SystemExit(f"{words}: it was not refused")


db = connect(database)
db.execute("CREATE TABLE t(a); INSERT INTO t VALUES('open')")
assert db.execute("SELECT a, vwal_frame_no() > 0 FROM t").fetchall() == [("open", 1)]
refused(lambda: db.pragma("key", "secret"), "not supported by the VFS")
refused(lambda: db.pragma("rekey", "secret"), "not supported by the VFS")
assert db.pragma("integrity_check") == "ok"
db.close()

for key in ("key=secret", "textkey=secret", "hexkey=736563726574"):
    refused(lambda: connect("new.db", f"&{key}"), "not supported by vwal")
assert not os.path.exists("new.db-wal")
db = connect("encrypted.db")
refused(lambda: db.execute("SELECT * FROM t"), "not a database")
refused(lambda: db.execute("CREATE TABLE u(a)"), "not a database")
db.close()
assert not os.path.exists("encrypted.db-wal")
with open("encrypted.db", "rb") as file:
    assert file.read() == before
print("done with", apsw.sqlite_lib_version())
