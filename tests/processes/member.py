"""A member that is driven step by step: it reads one request a line (a JSON text), and answers each with one line (a JSON list:
milliseconds, lines of text). A request is SQL, or begins with a full stop:

.open FILE PARAMS TIMEOUT   .close   .timeout MS   .data_version   .backup FILE PAGES   .go

With `host SOCKET` as its last arguments it serves members that are relays (relay.py) instead, each on a thread of its own: the
same requests, and all connections in one process.
"""

import faulthandler
import json
import os
import queue
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import errorlog
import sqlite3

faulthandler.register(signal.SIGUSR1, all_threads=True)
vfs, extension = sys.argv[1:3]
if extension:
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(extension)
    loader.close()


def shown(value):
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value)


class Session:
    """One connection. `next_request` returns None at the end, `send` takes bytes."""

    def __init__(self, next_request, send):
        self.next_request, self.send = next_request, send
        self.db = self.version = None

    def serve(self):
        while (request := self.next_request()) is not None:
            self.begun = time.monotonic()
            try:
                self.answer(self.done(request))
            except sqlite3.Error as error:
                self.answer([f"! {getattr(error, 'sqlite_errorname', type(error).__name__)} {error}"])
        if self.db:
            self.db.close()

    def answer(self, lines):
        took = int((time.monotonic() - self.begun) * 1000)
        self.send((json.dumps([took, lines]) + "\n").encode())

    def done(self, request):
        if not request.startswith("."):
            return self.rows(request)
        verb, *words = request.split(" ")
        if verb == ".open":
            name, params, timeout = words
            uri = f"file:{name}?vfs={vfs}&{params}"
            self.db = sqlite3.connect(uri, uri=True, timeout=int(timeout) / 1000, isolation_level=None)
            self.version = None
        elif verb == ".close":
            self.db.close()
            self.db = None
        elif verb == ".timeout":
            self.db.execute(f"PRAGMA busy_timeout={words[0]}").fetchall()
        elif verb == ".data_version":
            # The number itself means nothing, only whether it is another one.
            before, self.version = self.version, self.db.execute("PRAGMA data_version").fetchone()[0]
            return ["first" if before is None else "same" if before == self.version else "changed"]
        elif verb == ".backup":
            return self.backup(*words)
        else:
            return [f"! no request {request}"]
        return []

    def rows(self, sql):
        out = []
        statement = ""
        for part in sql.split(";"):
            statement += part
            if not statement.strip():
                statement = ""
            # Not every semicolon ends a statement: those of a trigger, or in a text, do not.
            elif sqlite3.complete_statement(statement + ";"):
                cursor = self.db.execute(statement)
                out += ["|".join(map(shown, row)) for row in cursor.fetchall()]
                statement = ""
            else:
                statement += ";"
        assert not statement.strip(), statement
        return out

    def backup(self, name, pages):
        """Copies the database; after the first step it answers, and waits for `.go`."""
        is_first = True

        def progress(status, remaining, total):
            nonlocal is_first
            if is_first:
                is_first = False
                self.answer([f"{remaining} of {total} remain"])
                assert self.next_request() == ".go"

        to = sqlite3.connect(f"file:{name}?vfs=unix", uri=True, isolation_level=None)
        self.db.backup(to, pages=int(pages), progress=progress, sleep=0)
        to.close()
        return ["copied"]


def listen(requests):
    for line in sys.stdin:
        requests.put(json.loads(line))
    # The test is over, however it ended.
    os._exit(0)


def serve_relay(relay):
    lines = relay.makefile("r")
    with relay:
        Session(lambda: json.loads(line) if (line := lines.readline()) else None, relay.sendall).serve()


requests = queue.SimpleQueue()
threading.Thread(target=listen, args=(requests,), daemon=True).start()
if sys.argv[3:4] == ["host"]:
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[4])
    server.listen()
    print("listening", flush=True)
    while True:
        relay, _ = server.accept()
        threading.Thread(target=serve_relay, args=(relay,), daemon=True).start()
Session(requests.get, lambda answer: os.write(1, answer)).serve()
