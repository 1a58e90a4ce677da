"""Connections of Python's sqlite3, for the comparison of random SQL: one request per line of standard input, one answer per
line of standard output, both JSON. With an argument the extension of that name is loaded first."""

import json
import sqlite3
import sys


def text(value):
    return f"x'{value.hex()}'" if isinstance(value, bytes) else "NULL" if value is None else str(value)


def error(problem):
    return f"!{getattr(problem, 'sqlite_errorcode', 0)}: {problem}\n"


def run(db, sql):
    out = []
    try:
        # No text of the programs has a semicolon in it.
        for statement in filter(str.strip, sql.split(";")):
            for row in db.execute(statement):
                out.append("|".join(map(text, row)) + "\n")
    except sqlite3.Error as problem:
        out.append(error(problem))
    return "".join(out)


if len(sys.argv) > 1:
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(sys.argv[1])
    loader.close()
connections = {}
for line in sys.stdin:
    request = json.loads(line)
    number, answer = request["connection"], {"text": "", "in_transaction": False}
    if "open" in request:
        try:
            connections[number] = sqlite3.connect(request["open"], uri=True, timeout=0, isolation_level=None)
        except sqlite3.Error as problem:
            answer["text"] = error(problem)
    elif "sql" in request:
        answer["text"] = run(connections[number], request["sql"])
        answer["in_transaction"] = connections[number].in_transaction
    else:
        connections.pop(number).close()
    print(json.dumps(answer), flush=True)
