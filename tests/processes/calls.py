"""Reads, or commits, so many times between two marks in its trace: files that nobody has, which it tries to remove."""

import os
import sqlite3
import sys

vfs, extension, what, times = *sys.argv[1:4], int(sys.argv[4])
if extension:
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(extension)
    loader.close()
db = sqlite3.connect(f"file:app.db?vfs={vfs}", uri=True, timeout=60, isolation_level=None)
db.execute("PRAGMA synchronous=NORMAL")
SQL = {"read": "SELECT n FROM t WHERE id = ?", "commit": "UPDATE t SET n = n + 1 WHERE id = ?"}[what]


def mark(name):
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass


def work(count):
    for at in range(count):
        db.execute(SQL, (at * 7919 % 1000 + 1,)).fetchall()


work(1000)
mark("/vwal-test-the-work-begins")
work(times)
mark("/vwal-test-the-work-ends")
db.close()
