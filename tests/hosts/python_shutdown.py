"""sqlite3_shutdown() drops automatic extensions, and with them vwal's hook: a later open has it again."""

import sys

import apsw

extension, database = sys.argv[1:]
flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


def load():
    loader = apsw.Connection(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(extension)
    loader.close()


def connect(name):
    return apsw.Connection(f"file:{name}?vfs=vwal", flags)


def write(db, name):
    db.execute(f"CREATE TABLE IF NOT EXISTS {name}(a); INSERT INTO {name} VALUES(1)")
    return db.execute(f"SELECT vwal_frame_no() > 0, vwal_log_id() IS NOT NULL FROM {name}").fetchall()


load()
db = connect(database)
assert write(db, "before") == [(1, 1)]
db.close()

apsw.shutdown()
db = connect(database)
assert write(db, "after") == [(1, 1)]
db.close()

# A new database, and one in rollback mode, as the first that is opened after it.
for name, prepared in (("new.db", False), ("rollback.db", True)):
    if prepared:
        apsw.Connection(name).execute("CREATE TABLE t(a)")
    apsw.shutdown()
    db = connect(name)
    if prepared:
        assert db.execute("SELECT vwal_log_id() IS NOT NULL").get == 1
    assert write(db, "after") == [(1, 1)]
    assert db.pragma("journal_mode") == "wal"
    db.close()

# A wrong parameter is told in words again.
apsw.shutdown()
try:
    apsw.Connection(f"file:{database}?vfs=vwal&vwal_swop=1", flags)
except apsw.SQLError as error:
    assert "vwal_swop" in str(error), error
else:
    raise SystemExit("it was not refused")

# An attached database is virtual as well; and so it is after sqlite3_reset_auto_extension(), which does the same.
apsw.shutdown()
main = apsw.Connection(":memory:", flags)
main.execute(f"ATTACH 'file:{database}?vfs=vwal' AS other")
assert main.execute("SELECT count(*) FROM other.before").get == 1
main.close()

# Loading it once more makes it known to connections that are not opened through it.
apsw.shutdown()
load()
assert apsw.Connection(":memory:").execute("SELECT vwal_version() IS NOT NULL").get == 1
print("done with", apsw.sqlite_lib_version())
