"""What the members of a group write, and what each read transaction has to find.

Table `line`: member, number and payload; the lines of a member are numbered from 1 without a gap. Table `account`: money is moved
between accounts, and its sum stays. The file `floors` has, for each member, the number of the line whose commit was acknowledged
last, as far as the test had heard: whoever reads that and then begins a transaction sees that line.
"""

import os
import sqlite3
import struct
import time
import zlib

MEMBERS, ACCOUNTS, BALANCE = 64, 20, 1000
PATIENCE = 60


class Wrong(Exception):
    """A rule of the ledger is broken."""


def payload(member, number):
    """Mostly short, sometimes of several pages."""
    seed = zlib.crc32(f"{member} {number}".encode())
    length = seed // 16 % (30000 if seed % 64 == 0 else 4000 if seed % 8 == 0 else 200)
    text = f"{seed:08x} is line {number} of member {member}; ".encode()
    return (text * (length // len(text) + 1))[:length]


def is_busy(error):
    # Python before 3.11 does not tell the code.
    code = getattr(error, "sqlite_errorcode", None)
    return "locked" in str(error) if code is None else code & 0xFF == 5


def connect(vfs, options):
    # A busy timeout can be set only after a connection is open, and opening may need a lock.
    until = time.monotonic() + PATIENCE
    while True:
        try:
            db = sqlite3.connect(
                f"file:app.db?vfs={vfs}&{options['params']}", uri=True, timeout=PATIENCE, isolation_level=None
            )
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.001)
    db.execute(f"PRAGMA synchronous={options['synchronous']}")
    db.execute("PRAGMA cache_size=10")
    db.execute(f"PRAGMA wal_autocheckpoint={options['checkpoint']}").fetchone()
    return db


def create(db, page_size):
    db.execute(f"PRAGMA page_size={page_size}")
    db.execute("PRAGMA journal_mode=WAL").fetchone()
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE line(member, number, sum, payload, PRIMARY KEY (member, number))")
    db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance)")
    db.executemany("INSERT INTO account VALUES (?, ?)", [(id, BALANCE) for id in range(ACCOUNTS)])
    db.execute("COMMIT")


def last(db, member):
    return db.execute("SELECT coalesce(max(number), 0) FROM line WHERE member = ?", (member,)).fetchone()[0]


def write(db, member, number, count, random):
    """A transaction's work: the next `count` lines of the member, and some transfers."""
    for at in range(number + 1, number + count + 1):
        text = payload(member, at)
        db.execute("INSERT INTO line VALUES (?, ?, ?, ?)", (member, at, zlib.crc32(text), text))
    for _ in range(random.randrange(4)):
        amount = random.randrange(100)
        for id, sign in zip(random.sample(range(ACCOUNTS), 2), (1, -1)):
            db.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (sign * amount, id))


class Reader:
    """Remembers what it has seen: nobody may see less later."""

    def __init__(self):
        self.floors = os.open("floors", os.O_RDONLY)
        self.seen = {}

    def check(self, db, samples, pause=0):
        """One read transaction. Returns the number of the last line of each member."""
        floors = struct.unpack(f"<{MEMBERS}Q", os.pread(self.floors, 8 * MEMBERS, 0))
        db.execute("BEGIN")
        found = self.look(db)
        for member, count, lowest, highest in found[1]:
            if (count, lowest) != (highest, 1):
                raise Wrong(f"member {member} has {count} lines from {lowest} to {highest}")
        highest = {member: highest for member, _, _, highest in found[1]}
        for member, floor in enumerate(floors):
            if highest.get(member, 0) < floor:
                raise Wrong(f"line {floor} of member {member} was acknowledged, {highest.get(member, 0)} is the last")
        for member, before in self.seen.items():
            if highest.get(member, 0) < before:
                raise Wrong(f"line {before} of member {member} was seen, now {highest.get(member, 0)} is the last")
        if found[0] != [(ACCOUNTS, ACCOUNTS * BALANCE)]:
            raise Wrong(f"the accounts have {found[0]}")
        for member, number in highest.items():
            self.compare(db, member, number - samples)
        if pause:
            time.sleep(pause)
            again = self.look(db)
            if again != found:
                raise Wrong(f"a snapshot has changed from {found} to {again}")
        db.execute("COMMIT")
        self.seen = highest
        return highest

    def look(self, db):
        accounts = db.execute("SELECT count(*), sum(balance) FROM account").fetchall()
        lines = db.execute("SELECT member, count(*), min(number), max(number) FROM line GROUP BY member")
        return accounts, lines.fetchall()

    def compare(self, db, member, above):
        lines = db.execute(
            "SELECT number, sum, payload FROM line WHERE member = ? AND number > ? ORDER BY number", (member, above)
        )
        for number, sum, text in lines.fetchall():
            if text != payload(member, number) or sum != zlib.crc32(text):
                raise Wrong(f"line {number} of member {member} has {len(text)} bytes {text[:50]!r} and the sum {sum:x}")
