"""A process that is killed: Python's own sqlite3 module with the extension. It writes the ledger of ledger.rs with two
threads, reads it with a third, and says what child.rs says."""

import os
import random
import sqlite3
import sys
import threading
import time

synchronous, page_size, work, params, path = os.environ["CRASH_PLAN"].split("\n", 4)
has_storage, is_remote = "vwal_storage=" in params, "vwal_ack=remote" in params
KEPT, CELLS = 300, 40
speaking = threading.Lock()
# What the highest entry is that was acknowledged.
acknowledged = 0


def say(line):
    with speaking:
        os.write(1, f"{line} .\n".encode())


def chained(previous, k):
    mask = (1 << 64) - 1
    z = ((int(previous, 16) ^ (k << 32)) + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return f"{z ^ (z >> 31):016x}"


def body(text):
    seed = int(text, 16)
    length = seed // 16 % 9000 if seed % 16 == 0 else seed // 16 % 200
    return (text * (length // 16 + 1))[:length].encode()


def opened():
    # There is no busy handler yet while a connection is opened: see child.rs.
    until = time.monotonic() + 30
    while True:
        try:
            return sqlite3.connect(f"file:{path}?vfs=vwal&{params}", uri=True, timeout=30, isolation_level=None)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.001)


def connect():
    db = opened()
    db.execute(f"PRAGMA synchronous={synchronous}")
    db.execute("PRAGMA cache_size=10")
    db.execute("PRAGMA wal_autocheckpoint=50")
    return db


def one(db, sql, *arguments):
    return db.execute(sql, arguments).fetchone()


def last(db):
    return one(db, "SELECT k, hash FROM ledger ORDER BY k DESC LIMIT 1") or (0, "0" * 16)


def commit(db):
    global acknowledged
    db.execute("BEGIN IMMEDIATE")
    base = one(db, "SELECT vwal_frame_no()")[0]
    k, previous = last(db)
    k += 1
    text = chained(previous, k)
    db.execute("INSERT INTO ledger VALUES (?, ?, ?)", (k, text, body(text)))
    db.execute("DELETE FROM ledger WHERE k <= ?", (max(k - KEPT, 0),))
    filler = bytes([k % 256]) * (k * 37 % 500)
    db.execute("INSERT OR REPLACE INTO cell VALUES (?, ?, ?)", (k % CELLS, k, filler))
    log_id = one(db, "SELECT vwal_log_id()")[0]
    if has_storage:
        say(f"ends {log_id} {base} {k - 1}")
    say(f"attempt {k}")
    db.execute("COMMIT")
    if has_storage:
        say(f"durable {log_id} {one(db, 'SELECT vwal_durable_frame_no()')[0]}")
    if is_remote:
        say(f"stored {k}")
    with speaking:
        acknowledged = max(acknowledged, k)
    say(f"acknowledged {k} {base + 1}")


def write(until):
    db = connect()
    while time.monotonic() < until:
        commit(db)
    db.close()


def read(until):
    db = connect()
    seen = 0
    while time.monotonic() < until:
        floor = acknowledged
        db.execute("BEGIN")
        k, _ = last(db)
        time.sleep(random.random() / 500)
        count = one(db, "SELECT count(*) FROM ledger")[0]
        cells = one(db, "SELECT coalesce(sum(k), 0) FROM cell")[0]
        db.execute("COMMIT")
        if count != min(k, KEPT) or cells != sum(range(max(k - CELLS + 1, 0), k + 1)):
            say(f"\nwrong entry {k} is the last of {count}, the cells sum up to {cells}")
        if k < max(floor, seen):
            say(f"\nwrong a read transaction saw entry {k}, after {floor} was acknowledged and {seen} was seen")
        seen = k
    db.close()


def guarded(act, until):
    try:
        act(until)
    except BaseException as error:
        say(f"\nwrong {act.__name__}: {error!r}")
        raise


loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(sys.argv[1])
loader.close()
say("\nstarted")
try:
    db = connect()
    db.execute(f"PRAGMA page_size={page_size}")
    db.execute("CREATE TABLE IF NOT EXISTS ledger(k INTEGER PRIMARY KEY, hash TEXT NOT NULL, body BLOB)")
    db.execute("CREATE TABLE IF NOT EXISTS cell(id INTEGER PRIMARY KEY, k INTEGER NOT NULL, filler BLOB)")
    acknowledged = last(db)[0]
    db.close()
except BaseException as error:
    say(f"\nwrong open: {error!r}")
    time.sleep(60)
say("ready")
while True:
    until = time.monotonic() + random.random() / 20
    threads = [threading.Thread(target=guarded, args=(act, until)) for act in (write, write, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
