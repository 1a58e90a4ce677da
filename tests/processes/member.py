"""A member that is driven step by step: it reads one request a line (a JSON text), and answers each with one line (a JSON list:
milliseconds, lines of text). A request is SQL, or begins with a full stop:

.open FILE PARAMS TIMEOUT   .close   .timeout MS   .data_version   .backup FILE PAGES   .go
"""

import faulthandler
import json
import os
import queue
import signal
import sqlite3
import sys
import threading
import time

faulthandler.register(signal.SIGUSR1, all_threads=True)
vfs, extension = sys.argv[1:3]
if extension:
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(extension)
    loader.close()

requests = queue.SimpleQueue()
db = None
version = None


def listen():
    for line in sys.stdin:
        requests.put(json.loads(line))
    # The test is over, however it ended.
    os._exit(0)


def shown(value):
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value)


def rows(sql):
    out = []
    statement = ""
    for part in sql.split(";"):
        statement += part
        if not statement.strip():
            statement = ""
        # Not every semicolon ends a statement: those of a trigger, or in a text, do not.
        elif sqlite3.complete_statement(statement + ";"):
            cursor = db.execute(statement)
            out += ["|".join(map(shown, row)) for row in cursor.fetchall()]
            statement = ""
        else:
            statement += ";"
    assert not statement.strip(), statement
    return out


def backup(name, pages):
    """Copies the database; after the first step it answers, and waits for `.go`."""
    is_first = True

    def progress(status, remaining, total):
        nonlocal is_first
        if is_first:
            is_first = False
            answer([f"{remaining} of {total} remain"])
            assert requests.get() == ".go"

    to = sqlite3.connect(f"file:{name}?vfs=unix", uri=True, isolation_level=None)
    db.backup(to, pages=int(pages), progress=progress, sleep=0)
    to.close()
    return ["copied"]


def done(request):
    global db, version
    if not request.startswith("."):
        return rows(request)
    verb, *words = request.split(" ")
    if verb == ".open":
        name, params, timeout = words
        uri = f"file:{name}?vfs={vfs}&{params}"
        db = sqlite3.connect(uri, uri=True, timeout=int(timeout) / 1000, isolation_level=None)
        version = None
    elif verb == ".close":
        db.close()
        db = None
    elif verb == ".timeout":
        db.execute(f"PRAGMA busy_timeout={words[0]}").fetchall()
    elif verb == ".data_version":
        # The number itself means nothing, only whether it is another one.
        before, version = version, db.execute("PRAGMA data_version").fetchone()[0]
        return ["first" if before is None else "same" if before == version else "changed"]
    elif verb == ".backup":
        return backup(*words)
    else:
        return [f"! no request {request}"]
    return []


def answer(lines):
    took = int((time.monotonic() - begun) * 1000)
    os.write(1, (json.dumps([took, lines]) + "\n").encode())


threading.Thread(target=listen, daemon=True).start()
while True:
    request = requests.get()
    begun = time.monotonic()
    try:
        answer(done(request))
    except sqlite3.Error as error:
        answer([f"! {getattr(error, 'sqlite_errorname', type(error).__name__)} {error}"])
