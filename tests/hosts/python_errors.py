"""What the shim refuses: wrong parameters, and files that are no database. `.ci/asan` runs this."""

import os
import random
import sqlite3
import sys

extension, database = sys.argv[1:]

loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
loader.close()


def connect(parameters="", name=database):
    return sqlite3.connect(f"file:{name}?vfs=vwal{parameters}", uri=True)


def refused(*arguments):
    try:
        db = connect(*arguments)
        db.execute("SELECT * FROM sqlite_master").fetchall()
        db.close()
    except (sqlite3.Error, MemoryError):
        return
    raise SystemExit(f"{arguments} was not refused")


refused("&vwal_swp=1")
refused("&vwal_swap=")
refused("&vwal_queue_ms=many")
refused("&vwal_swap=" + "frames>=7 " * 500)
refused("".join(f"&vwal_{at}={'x' * at}" for at in range(100)))
refused("", "missing/directory/app.db")
with open("noise.db", "wb") as file:
    file.write(random.Random(1).randbytes(8192))
refused("", "noise.db")
os.mkfifo("fifo.db")
refused("", "fifo.db")

right = "&vwal_swap=frames%3E%3D9&vwal_queue_ms=11&vwal_checkpoint_size=64KiB"
db = connect(right)
db.executescript("CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t VALUES(1, 'x');")
db.close()

db = connect()
assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
assert db.execute("SELECT b FROM t WHERE a=1").fetchall() == [("x",)]
assert db.execute("PRAGMA vwal_last_error").fetchall() == [("",)]
db.close()
print("done with", sqlite3.sqlite_version)
