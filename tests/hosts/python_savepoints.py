"""A commit after ROLLBACK TO over frames that were spilled and overwritten.

SQLite before 3.50 forgets to renew the checksums of such a commit: it asks for the checksum of a frame that was rolled back, goes
on from there, and writes headers without checksums. With stock SQLite this commit and all later ones are gone after a crash;
vwal has checksums of its own.
"""

import os
import shutil
import sqlite3
import sys

extension, database = sys.argv[1:]
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
loader.close()


def history(name, parameters, pages, small):
    """The rows that are acknowledged, and those that a copy of the files has, as a crash would leave them."""
    db = sqlite3.connect(f"file:{name}{parameters}", uri=True, isolation_level=None)
    for setting in ("page_size=4096", "journal_mode=WAL", "wal_autocheckpoint=0", f"cache_size={pages // 2}", "synchronous=FULL"):
        db.execute(f"PRAGMA {setting}").fetchall()
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body)")
    db.execute("INSERT INTO t VALUES (1, 'x')")
    db.execute("BEGIN")
    for id in range(2, 2 + small):
        db.execute("INSERT INTO t VALUES (?, zeroblob(3000))", (id,))
    db.execute("SAVEPOINT s")
    for id in range(10000, 10000 + pages):
        db.execute("INSERT INTO t VALUES (?, zeroblob(3000))", (id,))
    db.execute("UPDATE t SET body = zeroblob(2999) WHERE id >= ?", (10000 + pages // 2,))
    db.execute("ROLLBACK TO s")
    db.execute("UPDATE t SET body = 'y' WHERE id = 1")
    db.execute("COMMIT")
    for id in range(5000, 5005):
        db.execute("INSERT INTO t VALUES (?, 'later')", (id,))
    acknowledged = rows(db)
    shutil.copy(name, f"after-{name}")
    copy = shutil.copytree if os.path.isdir(f"{name}-wal") else shutil.copy
    copy(f"{name}-wal", f"after-{name}-wal")
    after = sqlite3.connect(f"file:after-{name}{parameters}", uri=True)
    survived = rows(after)
    after.close()
    db.close()
    for each in (name, f"after-{name}"):
        last = sqlite3.connect(f"file:{each}{parameters}", uri=True)
        assert last.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        last.close()
    return acknowledged, survived


def rows(db):
    return db.execute("SELECT id, CAST(substr(body, 1, 5) AS TEXT) FROM t ORDER BY id").fetchall()


# In the larger ones megabytes are cut off, so that they had left the memory of vwal for a segment.
for at, (pages, small) in enumerate([(300, 0), (1000, 0), (300, 60), (1000, 400)]):
    acknowledged, survived = history(f"stock{at}.db", "", pages, small)
    lost = len(acknowledged) - len(survived)
    assert (lost > 0) == (sqlite3.sqlite_version_info < (3, 50)), (pages, lost)
    expected = acknowledged
    acknowledged, survived = history(f"{at}{database}", "?vfs=vwal", pages, small)
    assert acknowledged == expected, pages
    assert survived == expected, pages
print("done with", sqlite3.sqlite_version)
