"""A member of a group: it writes and checks the ledger of ledger.py by itself, and says one line for each thing that it does.

Its role is `writer`, `reader`, `short` (it opens, does one thing, closes, over and over), or `checker`, which does what it is told: `check`,
`check all`, `create SIZE`. All obey `close`. With `fork` in its options it loads the extension, forks, and is a reader; the child
it forked has the role. The child dies with it, or when it is told `kill child`.
"""

import ctypes
import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import errorlog
import sqlite3

import ledger

vfs, extension, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
member, role = options["member"], options["role"]
is_closing = False
child = 0
MODES = ["PASSIVE", "PASSIVE", "FULL", "RESTART", "TRUNCATE"]
PR_SET_PDEATHSIG = 1
# Stock SQLite before 3.50 loses commits in a crash after a `ROLLBACK TO` in a transaction larger than the cache.
HAS_SAVEPOINTS = vfs != "unix" or sqlite3.sqlite_version_info >= (3, 50)


def say(line):
    # Shorter than what a pipe takes as one piece, so that lines of two processes do not mix.
    os.write(1, f"{line[:3000]}\n".encode())


def listen():
    for line in sys.stdin:
        if line == "close\n":
            close()
        elif line == "kill child\n":
            os.kill(child, signal.SIGKILL)
        else:
            requests.append(line.strip())
    # The test is over, however it ended.
    os._exit(0)


def close(*_):
    global is_closing
    is_closing = True
    if child:
        try:
            os.kill(child, signal.SIGTERM)
        except ProcessLookupError:
            pass


def opened():
    say("opening")
    db = ledger.connect(vfs, options)
    say("ready")
    return db


def closed(db):
    say("closing")
    db.close()
    say("closed")


class Member:
    def __init__(self):
        self.reader = ledger.Reader()
        self.random = random.Random(options["seed"])
        # The last line of this member, once it is known.
        self.last = None

    def rest(self):
        time.sleep(self.random.random() * options["pace"] / 500)

    def commit(self, db):
        is_immediate = self.random.random() < 0.8
        db.execute("BEGIN IMMEDIATE" if is_immediate else "BEGIN")
        number = ledger.last(db, member)
        if self.last is not None and number != self.last:
            raise ledger.Wrong(f"own line {self.last} was the last, now it is {number}")
        self.last = number
        count = self.random.randrange(1, 6)
        try:
            if HAS_SAVEPOINTS and self.random.random() < 0.1:
                db.execute("SAVEPOINT s")
                ledger.write(db, member, number, count * 3, self.random)
                db.execute("ROLLBACK TO s")
            ledger.write(db, member, number, count, self.random)
        except sqlite3.OperationalError as error:
            # Who has begun to read cannot wait for a writer: its snapshot will be stale.
            if is_immediate or not ledger.is_busy(error):
                raise
            db.execute("ROLLBACK")
            return
        if self.random.random() < 0.1:
            db.execute("ROLLBACK")
            return
        say(f"attempts {member} {number + count}")
        db.execute("COMMIT")
        self.last = number + count
        say(f"acknowledged {member} {number + count}")

    def check(self, db):
        self.reader.check(db, 3, self.random.random() * options["pace"] / 500)

    def checkpoint(self, db):
        db.execute(f"PRAGMA wal_checkpoint({self.random.choice(MODES)})").fetchone()

    def act(self, db, is_writer):
        chance = self.random.random()
        if chance < 0.05:
            self.checkpoint(db)
        elif chance < 0.9 and is_writer:
            self.commit(db)
        else:
            self.check(db)
        say("watched" if child else "tick")

    def stay(self, is_writer):
        db = opened()
        while not is_closing:
            self.act(db, is_writer)
            self.rest()
        closed(db)

    def come_and_go(self):
        while not is_closing:
            db = opened()
            self.act(db, True)
            closed(db)
            self.rest()

    def obey(self):
        while not is_closing:
            if not requests:
                time.sleep(0.0005)
                continue
            request = requests.pop(0).split(" ")
            db = ledger.connect(vfs, options)
            if request[0] == "create":
                ledger.create(db, request[1])
            found = self.reader.check(db, 10 if request == ["check"] else 1 << 60)
            if request == ["check", "all"]:
                problems = [row[0] for row in db.execute("PRAGMA integrity_check").fetchall()]
                if problems != ["ok"]:
                    raise ledger.Wrong(f"the database has {problems}")
            db.close()
            say("found " + json.dumps(sorted(found.items())))


def forked():
    """Forks. Whether this is the child."""
    global child, role
    parent = os.getpid()
    signal.signal(signal.SIGTERM, close)
    child = os.fork()
    if child:
        role = "reader"
        return False
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    return True


def work():
    me = Member()
    if role == "checker":
        me.obey()
    elif role == "short":
        me.come_and_go()
    else:
        me.stay(role == "writer")


requests = []
try:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if extension:
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(extension)
        loader.close()
    if not (options["fork"] and forked()):
        threading.Thread(target=listen, daemon=True).start()
    work()
    if child:
        ended = 0
        while not ended:
            # Again: Python forgets signals that come while it still begins the child.
            os.kill(child, signal.SIGTERM)
            time.sleep(0.002)
            ended, status = os.waitpid(child, os.WNOHANG)
        if status not in (0, signal.SIGKILL):
            raise ledger.Wrong(f"the forked process ended with status {status}")
except BaseException as error:
    say(f"wrong member {member}, {role}: {error!r}"[:2000].replace("\n", " "))
    raise
finally:
    # Nothing else is to happen here, above all not in a child that was forked.
    sys.stderr.flush()
os._exit(0)
